"""The rows of a sparse prefill's chunk as a workload: its promise, its inputs, its answer."""
