"""How a prefill of vLLM's attention is called: each form of it, on a layer that is made up."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from oom_suite.subjects.families.vllm.prefill import (
    combined_indices,
    reservation_alone,
    workspace_alone,
)
from oom_suite.workloads.prefill.step import build_workspace
from oom_suite.workloads.prefill.workload import PREFILL_WORKSPACE

INPUTS = build_workspace(PREFILL_WORKSPACE.scenario("small").sizes, "cpu")

SOURCE = """
class Attention:
    {decorator}
    def _forward_prefill(self, {layer}q, positions, compressed_k_cache, swa_k_cache, output,
                         attn_metadata, swa_metadata):
        plan = swa_metadata.get_prefill_chunk_plan(4, self.PREFILL_CHUNK_SIZE)
        dequantize_and_gather_k_cache(compressed_k_cache, block_size=attn_metadata.block_size)
        indices, lens = combine_topk_swa_indices(
            q, swa_metadata.query_start_loc, None, None, {read}.window_size, 4, 512, 0, 0)
        first, _, _ = flash_mla_sparse_fwd(q=q, out=output)
        seen.append((plan, tuple(indices.shape), {read}.max_model_len))

    def forward_mqa(self, q, kv, positions, output):
        seen.append(get_forward_context().attn_metadata)
"""


class Planned:
    """Stands for the release's metadata, which plans chunks itself."""

    def get_prefill_chunk_plan(self, compress_ratio, prefill_chunk_size):
        return self.prefill_seq_lens_cpu.tolist(), compress_ratio, prefill_chunk_size


@pytest.fixture
def released(monkeypatch):
    """A function that makes a release's module, whose attention notes what it was given."""

    def released(decorator="", layer="", read="self"):
        plans = ModuleType("toyllm.v1.attention.backends.mla.sparse_swa")
        plans.DeepseekSparseSWAMetadata = Planned
        monkeypatch.setitem(sys.modules, plans.__name__, plans)
        module = ModuleType("toyllm.attention")
        module.seen = []
        source = SOURCE.format(decorator=decorator, layer=layer, read=read)
        exec(source, module.__dict__)
        return module

    return released


@pytest.mark.parametrize("passes_layer", [False, True], ids=["method", "classmethod"])
def test_a_prefill_is_called_on_a_layer_of_the_workload(released, passes_layer):
    """Releases that pass the layer, and those whose method is its own; output is written."""
    form = ("@classmethod", "layer, ", "layer") if passes_layer else ()
    module = released(*form)
    output = torch.ones_like(INPUTS["output"])
    workspace_alone(module.Attention._forward_prefill)(**INPUTS | {"output": output})
    assert [(([256], 4, 4), (64, 640), 1024)] == module.seen
    assert 0 == output.count_nonzero()


def test_a_profile_run_has_no_metadata(released):
    module = released()
    reservation_alone(module.Attention.forward_mqa)(**INPUTS)
    assert [None] == module.seen


def test_indices_are_written_where_room_is_given():
    """Otherwise there is int32 room for the window and the top-k in whole 128s."""
    room = (torch.zeros(1), torch.zeros(1))
    counts = (None, None, None, 128, 4, 513, 0, 0)
    assert room is combined_indices(INPUTS["topk_indices"], *counts, out=room)
    indices, lens = combined_indices(INPUTS["topk_indices"], *counts)
    assert ((64, 768), (64,), torch.int32) == (tuple(indices.shape), tuple(lens.shape), lens.dtype)
