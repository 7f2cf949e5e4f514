"""Workloads: what is run, whoever runs it."""
