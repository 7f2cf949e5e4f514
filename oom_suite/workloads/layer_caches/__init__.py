"""The caches of a model's layers, filled by one prompt: all of it, a window of it, fixed room."""
