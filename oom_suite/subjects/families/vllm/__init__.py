"""Finds vLLM's own sources (a release, a tree, the installed one) and loads its decode file."""
