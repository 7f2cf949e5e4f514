"""DeepSeek-V4's attention on a CPU as a workload. No torch.

Source: vLLM 0.33.0 `vllm/models/deepseek_v4/cpu/cpu_sparse.py:554`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Convention, Polynomial, Scenario, Workload
from oom_suite.records.workload import Entry
from oom_suite.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUND = Polynomial.of(
    {("num_tokens", "context_len"): 1, ("num_tokens",): 16 * KIB, (): MIB},
    order=("num_tokens", "context_len"),
)
"""What a step may take beside its output: places of what it attends to.

A token attends to its window and, at 128 tokens a key, to a key for so many of its context: 128
bytes for each, or one byte a token of the context; and 128 bytes for each slot of the window.
"""


def _settle(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
    """The same sizes with a context that the server allows, and no more tokens than it has."""
    context = min(sizes["context_len"], sizes["max_model_len"])
    return {**sizes, "context_len": context, "num_tokens": min(sizes["num_tokens"], context)}


def _scenario(
    name: str, num_blocks: int, num_tokens: int, context_len: int, max_len: int, summary: str
) -> Scenario:
    sizes = {
        "num_blocks": num_blocks,
        "num_tokens": num_tokens,
        "num_heads": 64,
        "context_len": context_len,
        "compress_ratio": 128,
        "max_model_len": max_len,
    }
    return Scenario(name, sizes, summary)


CPU_ATTENTION = Workload(
    name="cpu-attention",
    axes=(
        Axis("num_blocks", step=64, far=(64, 1 << 16), unit="block"),
        Axis("num_tokens", step=16, far=(16, 1024), lower=16, unit="token"),
        Axis("context_len", step=256, far=(1024, 65_536), lower=256, unit="token"),
        Axis("max_model_len", step=256, far=(8192, 1 << 20), lower=256, unit="token"),
    ),
    builder="oom_suite.workloads.cpu_attention.step:build",
    contract=Contract(independent_of=("num_blocks", "max_model_len"), at_most=BOUND),
    settle=_settle,
    convention=Convention(
        (
            "q",
            "output",
            "positions",
            "token_to_request",
            "block_table",
            "swa_k_cache",
            "compressed_k_cache",
            "attn_sink",
            "window_size",
            "compress_ratio",
            "max_model_len",
        ),
        output="output",
    ),
    scenarios={
        one.name: one
        for one in (
            _scenario("c128a", 4096, 2048, 8192, 1 << 20, "2,048 tokens of a prompt of 8,192"),
            _scenario("small", 64, 16, 1024, 4096, "16 tokens of a prompt of 1,024"),
        )
    },
    entries={
        "vllm": Entry(
            file="vllm/models/deepseek_v4/cpu/cpu_sparse.py",
            functions=("DeepseekV4CPUAttention.forward_mqa",),
            what="attention of DeepSeek-V4 on a CPU",
            first_release="0.30.0",
            adapt="oom_suite.subjects.families.vllm.cpu_attention:on_a_layer",
            beside=("vllm/models/deepseek_v4/cpu/cpu_utils.py",),
            stubs=("transformers",),
        )
    },
    is_scanned_alone=True,
    made_for="cpu",
)
"""Attention of some tokens of a request, in a layer with a key for 128 tokens.

It has no oracle: the kernel that attends is a stand-in that writes zeros.
"""


@hookimpl
def oom_workloads() -> list[Workload]:
    """The one."""
    return [CPU_ATTENTION]
