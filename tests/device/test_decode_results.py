"""The built-ins compute on the GPU what the float64 oracle computes."""

from __future__ import annotations

import pytest

from oom_suite.subjects import builtin_names

pytestmark = pytest.mark.oom_device


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_agrees_with_the_oracle(name, decode_call):
    """Every layer kind and index pattern, within what bf16 allows."""
    from oom_suite.workloads.sparse_mla.builtins import BUILTINS
    from oom_suite.workloads.sparse_mla.step import oracle, tolerance

    BUILTINS[name](**decode_call)
    expected = oracle(decode_call)
    error = (decode_call["output"].cpu().double() - expected).abs()
    assert bool((error <= tolerance(decode_call, expected)).all())
