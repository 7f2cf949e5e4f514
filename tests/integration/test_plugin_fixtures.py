"""The fixtures of this repository: what they give, on the CPU."""

from __future__ import annotations

import pytest
import torch

from fixtures import decode_call as decode_call_module
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.caches import PATTERNS, dequantize
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.step import LAYER_KINDS, oracle, tolerance


def test_decode_call_has_every_layer_kind_with_every_pattern():
    """Named a second time, because the workload's own cannot be read without torch."""
    assert (LAYER_KINDS, set(PATTERNS)) == (
        decode_call_module.LAYER_KINDS,
        set(decode_call_module.PATTERNS),
    )


def test_decode_call_is_a_call_with_a_known_answer(decode_call, oom_device):
    """A built-in writes what the oracle computes, on the device asked for."""
    assert oom_device.type == decode_call["q"].device.type
    BUILTINS["token_gather"](**decode_call)
    expected = oracle(decode_call)
    error = (decode_call["output"].cpu().double() - expected).abs()
    assert bool((error <= tolerance(decode_call, expected)).all())


@pytest.mark.parametrize("decode_call", [{"num_tokens": 0}, {"num_heads": 16}], indirect=True)
def test_decode_call_takes_a_tests_own_options(decode_call):
    """The fields of `StepOptions`."""
    assert tuple(decode_call["q"].shape) in {(0, 8, 512), (3, 16, 512)}


def test_paged_kv_cache_is_as_large_as_the_scenario(paged_kv_cache, scenario, oom_device):
    """Pages lie as vLLM lays them; the blocks that are read hold keys."""
    swa = paged_kv_cache.swa
    assert scenario.sizes["swa_num_blocks"] == swa.blocks.shape[0]
    assert FP8_DS_MLA_V4.padded_block_bytes(swa.blocks.shape[1]) == swa.blocks.stride(0)
    assert scenario.sizes["referenced_blocks"] == len(swa.referenced)
    assert (paged_kv_cache.layer_kind == "swa_only") == (paged_kv_cache.extra is None)
    row = swa.blocks[swa.referenced[-1]].reshape(1, -1).cpu()
    assert bool(torch.isfinite(dequantize(row, swa.blocks.shape[1], FP8_DS_MLA_V4)).all())


def test_subject_and_scenario_follow_the_options(subject, scenario, pytestconfig):
    """One test for each subject."""
    from oom_suite.pytest_plugin import OPTIONS

    options = pytestconfig.stash[OPTIONS]
    assert subject in options.subjects
    assert options.scenario == scenario


@pytest.mark.parametrize("subject", ["mine"])
def test_a_test_may_name_its_own_subjects(subject):
    """Then the options' are not added."""
    assert subject == "mine"


class TestOwnFixture:
    """A nearer fixture of the same name is left alone."""

    @pytest.fixture
    def subject(self):
        """One of the test's own."""
        return "nearer"

    def test_a_nearer_fixture_wins(self, subject):
        """It has no parameter, and gets none."""
        assert subject == "nearer"
