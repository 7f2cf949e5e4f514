"""Commands that are more than a call: `law`, `lock`, and what `check --locked` does."""
