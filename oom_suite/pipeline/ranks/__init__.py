"""The ranks of a tensor-parallel group: each is measured on its own device, the worst is judged."""
