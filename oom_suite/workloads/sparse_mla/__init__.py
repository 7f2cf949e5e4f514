"""Sparse MLA decode of DeepSeek-V4 over paged caches."""
