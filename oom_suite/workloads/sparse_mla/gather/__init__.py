"""The gather of tokens by slot as a workload: its axes and promise, its inputs, its answer."""
