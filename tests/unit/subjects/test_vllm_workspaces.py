"""The workspace that stands in for vLLM's: its bytes, and that it belongs to one call."""

from __future__ import annotations

import pytest
import torch

from oom_suite.errors import StubUsedError
from oom_suite.subjects.families.vllm.indexer import dispatched
from oom_suite.subjects.families.vllm.supplied import aiter_ops
from oom_suite.subjects.families.vllm.workspaces import Workspace, with_own_workspace, workspace
from oom_suite.subjects.loading import Given
from oom_suite.subjects.stubs import StubLog

CPU = torch.device("cpu")


def test_parts_begin_at_multiples_of_256_bytes():
    """One float and 65 floats: 256 and 512 bytes; the views are writable apart."""
    made = Workspace(CPU)
    one, more = made.get_simultaneous(((1,), torch.float32), ((5, 13), torch.float32))
    assert 256 == more.data_ptr() - one.data_ptr()
    assert 768 == one.untyped_storage().nbytes()
    assert (5, 13) == tuple(more.shape)


def test_a_buffer_is_made_again_where_it_is_too_small_alone():
    made = Workspace(CPU)
    (first,) = made.get_simultaneous(((256,), torch.uint8))
    (same,) = made.get_simultaneous(((255,), torch.uint8))
    (larger,) = made.get_simultaneous(((257,), torch.uint8))
    assert first.data_ptr() == same.data_ptr()
    assert 512 == larger.untyped_storage().nbytes()


def test_each_call_has_its_own_and_outside_of_calls_there_is_none():
    """So that no call's law depends on the calls before it."""
    current = workspace(Given("generic", StubLog()))["current_workspace_manager"]
    found = with_own_workspace(lambda q: current())
    q = torch.zeros(1)
    assert found(q=q) is not found(q=q)
    with pytest.raises(StubUsedError, match="current_workspace_manager"):
        current()


def test_aiter_is_off_and_has_nothing_else():
    switches = aiter_ops(Given("gfx942", StubLog()))["rocm_aiter_ops"]
    assert (False, False) == (switches.is_enabled(), switches.is_rdna_aiter_enabled())
    with pytest.raises(AttributeError):
        _ = switches.triton_sparse_mla_fwd


@pytest.mark.parametrize("takes_ratio", [False, True])
def test_the_dispatcher_is_called_by_its_own_names(takes_ratio):
    """The ratio is given where a release takes it; the schedule is None."""

    def older(q_fp8, kv, weights, lens, tables, schedule_metadata, max_model_len):
        return schedule_metadata, max_model_len, None

    def newer(
        q_fp8, kv, weights, lens, tables, schedule_metadata, max_model_len, *, compress_ratio
    ):
        return schedule_metadata, max_model_len, compress_ratio

    names = ("q", "kv_cache", "weights", "context_lens", "block_tables")
    call = dispatched(newer if takes_ratio else older)
    given = dict.fromkeys(names, torch.zeros(1))
    assert (None, 64, 4 if takes_ratio else None) == call(**given, max_model_len=64)
