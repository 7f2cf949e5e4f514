"""The gate's second promise: no law outgrows what the repository has locked.

`pytest tests/gate --oom-locked oom-laws.toml`; without the option there is nothing to hold.
"""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
def test_law_has_not_grown(oom_check, subject, workload):
    """Every term of the law is covered by the lockfile's."""
    oom_check.locked(subject, workload=workload)
