"""DeepSeek-V4's attention on a CPU: the slots that each token attends to, and attention."""
