"""A prefill of DeepSeek-V4's sparse attention: the workspace it gathers keys in, and attention."""
