"""Memory-safety and OOM regression suite for the tensor code that serves large language models."""
