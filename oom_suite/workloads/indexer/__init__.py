"""The logits of the lightning indexer, which choose the keys that sparse attention reads."""
