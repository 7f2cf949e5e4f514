"""Decode steps with one planted fault each, and healthy ones that only look odd.

They show that the detectors see: `oom_suite.selfcheck.faults.catalog` lists them with what each
must be called, and ``oom-suite selfcheck`` runs them all. Every function here takes the fourteen
keywords of `oom_suite.workloads.sparse_mla.builtins`.
"""
