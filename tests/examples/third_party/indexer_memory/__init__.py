"""Workloads and subjects for oom-suite: the indexers of vLLM and sglang."""
