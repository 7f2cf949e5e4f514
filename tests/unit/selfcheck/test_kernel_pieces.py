"""A kernel with another function in place of one that it calls, and the kernel itself after it."""

from __future__ import annotations

import pytest
import torch

from oom_suite.selfcheck.faults.kernel_pieces import GATHER, _variant, planted
from oom_suite.workloads.sparse_mla.kernels import dispatch

ON_CPU = torch.empty(1)


@pytest.fixture
def module(monkeypatch):
    """The module of the kernel, where Triton does the call and runs nothing."""
    pytest.importorskip("triton", reason="needs the extra `triton`")
    monkeypatch.setattr(dispatch, "takes_triton", lambda tensor: True)
    from oom_suite.workloads.sparse_mla.kernels.on_triton import gather

    return gather


def test_a_piece_takes_the_place_of_a_function_at_any_depth_and_no_other_does(module):
    """`places` is called by a function that the kernel calls; the rest is the kernel's own."""
    from oom_suite.selfcheck.faults import in_triton

    whole = module.gather_sparse_kernel
    with planted(ON_CPU, GATHER, places="page_in_int32"):
        rows = module.gather_sparse_kernel.fn.__globals__["_store_rows"]
        assert rows.fn.__globals__["places"] is in_triton.page_in_int32
        assert rows.fn.__code__ is module._store_rows.fn.__code__
        assert [] == dispatch._fast
    assert whole is module.gather_sparse_kernel
    assert module._store_rows.fn.__globals__["places"] is module.places
    assert dispatch._fast


def test_a_kernel_is_pieced_together_once(module):
    """It would be compiled anew for each call."""
    made = [_variant(*GATHER, (("places", "page_in_int32"),)) for _ in range(2)]
    assert made[0] is made[1]


def test_a_piece_that_no_function_has_is_refused(module):
    """A fault that is planted nowhere would be no fault."""
    with (
        pytest.raises(LookupError, match=r"gather\.gather_sparse_kernel calls no places_of"),
        planted(ON_CPU, GATHER, places_of="page_in_int32"),
    ):
        pass


def test_where_torch_does_the_call_nothing_is_planted(monkeypatch):
    """On a CPU without Triton's interpreter, where Triton may not even be installed."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with planted(ON_CPU, GATHER, no_such="piece"):
        assert dispatch._fast
