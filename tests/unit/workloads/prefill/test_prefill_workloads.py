"""The prefill's workloads: their promises tell a workspace of the chunk from one of the server."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.prefill import step

WORKSPACE = workload("prefill-workspace")
ATTENTION = workload("sparse-prefill")


def peak_bytes(build, call, sizes):
    """Peak requested bytes of a call with inputs of these sizes."""

    def made(sizes, device):
        inputs = build(sizes, device)
        return lambda: call(**inputs)

    return ShadowLane(Path(__file__).parent).run(made, sizes).peak().num_bytes


def by_the_server(q, max_model_len, max_num_batched_tokens, compress_ratio, **_):
    rows = max_model_len // compress_ratio + max_num_batched_tokens
    return torch.empty(4, rows, 512, dtype=torch.bfloat16, device=q.device)


def by_the_chunk(q, query_lens_cpu, seq_lens_cpu, block_table, compress_ratio, **_):
    rows = block_table.shape[1] * 256 // compress_ratio + q.shape[0]
    return torch.empty(rows, 512, dtype=torch.bfloat16, device=q.device)


@pytest.mark.parametrize(
    ("call", "bytes_a_token"),
    [(by_the_server, 1024), (by_the_chunk, 0)],
    ids=["by the server", "by the chunk"],
)
def test_a_workspace_of_the_server_grows_with_the_longest_context(call, bytes_a_token):
    """Four rows of 1 KiB for four tokens of it; that of the chunk has none."""
    sizes = WORKSPACE.scenario("small").sizes
    longer = sizes | {"max_model_len": sizes["max_model_len"] + 64}
    peaks = [peak_bytes(step.build_workspace, call, each) for each in (sizes, longer)]
    assert 64 * bytes_a_token == peaks[1] - peaks[0]


def test_the_bound_of_a_step_has_room_for_all_indices_and_for_no_rows_of_all_tokens():
    """A token that a step can have: 2,564 bytes of indices fit; four rows of 1 KiB do not."""
    sizes = WORKSPACE.scenario("chunk").sizes | {"max_num_batched_tokens": 1 << 30}
    bound = WORKSPACE.contract.at_most(sizes)
    assert 2564 * (1 << 30) < bound < 4096 * (1 << 30)


@pytest.mark.parametrize("name", ["prefill-reservation", "prefill-reservation-rocm"])
def test_a_profile_run_may_reserve_by_the_longest_context_by_design(name):
    known = workload(name)
    assert {"max_model_len", "max_num_batched_tokens"} == set(known.by_design)
    assert ("num_blocks",) == known.contract.independent_of


def gathers_rows_of_the_width(q, kv, indices, topk_length, **_):
    return kv[indices.flatten().clamp_min(0)].float()


def gathers_what_is_used(q, kv, indices, topk_length, **_):
    longest = int(topk_length[0].item())
    return kv[indices[..., :longest].flatten().clamp_min(0)].float()


@pytest.mark.parametrize(
    ("call", "fits"), [(gathers_rows_of_the_width, False), (gathers_what_is_used, True)]
)
def test_rows_for_unused_indices_exceed_the_bound_of_attention(call, fits):
    """16 of 8,192 indices are used."""
    sizes = ATTENTION.scenario("c128a").sizes | {"width": 8192, "used": 16}
    took = peak_bytes(step.build_attention, call, sizes)
    assert fits == (took <= ATTENTION.contract.at_most(sizes))


def test_no_more_indices_are_used_than_there_are():
    assert 128 == ATTENTION.settle({"width": 128, "used": 144})["used"]


def test_a_step_stays_within_what_the_server_allows():
    """At most four requests, contexts no longer than the longest, and the tokens of one step."""
    sizes = WORKSPACE.scenario("chunk").sizes
    wild = {"num_prefills": 9, "max_model_len": 2048, "max_num_batched_tokens": 256}
    settled = WORKSPACE.settle(sizes | wild)
    assert (4, 2048, 64) == tuple(
        settled[axis] for axis in ("num_prefills", "context_len", "query_len")
    )
    assert WORKSPACE.settle(sizes | {"num_prefills": 4, "max_num_batched_tokens": 3}) is None


def test_the_plans_are_there_twice_and_say_the_same():
    """On the device and on the CPU: two requests of 64 new tokens after 192 others."""
    inputs = step.build_workspace(WORKSPACE.scenario("small").sizes | {"num_prefills": 2}, "cpu")
    assert [0, 64, 128] == inputs["query_start_loc"].tolist()
    assert [[256, 256], [64, 64], [191, 191]] == [
        inputs[f"{name}_cpu"].tolist() for name in ("seq_lens", "query_lens", "gather_lens")
    ]
    assert (128, 512) == tuple(inputs["topk_indices"].shape)
