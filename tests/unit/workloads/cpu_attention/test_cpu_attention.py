"""Attention on a CPU: rows as wide as the longest context are told from rows of the context."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from oom_suite.doors import workload
from oom_suite.subjects.families.vllm.cpu_attention import on_a_layer
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.cpu_attention import step

KNOWN = workload("cpu-attention")
SMALL = KNOWN.scenario("small").sizes

SOURCE = """
class Attention:
    def forward_mqa(self, q, kv, positions, output):
        metadata = get_forward_context().attn_metadata
        window = metadata[self.swa_cache_layer.prefix]
        kind = DeepseekV4FlashMLAMetadata | None
        places = torch.arange(self.max_model_len // self.compress_ratio)
        seen.append((window.block_size, metadata[self.prefix].block_table.shape, len(places)))
        torch.ops._C.flash_mla_with_kvcache_cpu(output, q)
"""


def peak_bytes(call, sizes):
    """Peak requested bytes of a call with inputs of these sizes."""

    def made(sizes, device):
        inputs = step.build(sizes, device)
        return lambda: call(**inputs)

    return ShadowLane(Path(__file__).parent).run(made, sizes).peak().num_bytes


def by_the_server(q, max_model_len, compress_ratio, **_):
    return torch.empty(q.shape[0], max_model_len // compress_ratio, device=q.device)


def by_the_context(q, block_table, **_):
    return torch.empty(q.shape[0], block_table.shape[1] * 2, device=q.device)


@pytest.mark.parametrize(("call", "grown"), [(by_the_server, 16 * 4), (by_the_context, 0)])
def test_a_row_for_the_longest_context_grows_with_it(call, grown):
    """One float32 more for each of 16 tokens where 128 tokens more are possible."""
    longer = SMALL | {"max_model_len": SMALL["max_model_len"] + 128}
    peaks = [peak_bytes(call, sizes) for sizes in (SMALL, longer)]
    assert grown == peaks[1] - peaks[0]


def test_the_method_is_called_on_a_layer_of_the_workload_and_its_kernel_writes():
    module = ModuleType("toyllm.cpu")
    module.seen = []
    exec(SOURCE, module.__dict__)
    inputs = step.build(SMALL, "cpu")
    output = torch.ones_like(inputs["output"])
    on_a_layer(module.Attention.forward_mqa)(**inputs | {"output": output})
    assert [(256, (1, 4), 32)] == module.seen
    assert 0 == output.count_nonzero()


def test_tokens_are_the_last_of_a_context_that_the_server_allows():
    settled = KNOWN.settle(SMALL | {"max_model_len": 8})
    assert (8, 8) == (settled["context_len"], settled["num_tokens"])
    positions = step.build(SMALL, "cpu")["positions"]
    assert (1008, 1023, 16) == (int(positions[0]), int(positions[-1]), len(positions))
