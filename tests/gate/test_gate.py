"""The regression gate: does the code under test keep its peak from growing with the pool?

`pytest tests/gate --oom-subject vllm==0.21.0` fails, `--oom-subject vllm==0.33.0` passes. Without
the option the built-ins are judged: the bug among them passes when it is found again.
"""

from __future__ import annotations

from oom_suite.pytest_plugin import OPTIONS

WORKLOADS = ("decode", "decode-swa")


def pytest_generate_tests(metafunc):
    metafunc.parametrize("workload", WORKLOADS)
    metafunc.parametrize("lane", metafunc.config.stash[OPTIONS].lanes)


def test_peak_keeps_its_contract(oom_check, subject, workload, lane):
    """The peak depends on what a step references and not on the pool, and fits the budget."""
    oom_check(subject, workload=workload, lane=lane)
