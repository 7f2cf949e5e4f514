"""The maps between logical and physical blocks that flex attention over a paged cache needs."""
