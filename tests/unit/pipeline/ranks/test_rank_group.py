"""Which rank a process is, which GPU it has, and how many heads it takes."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.ranks.group import Group, heads_of_a_rank, own_gpu

TORCHRUN = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture(autouse=True)
def _without_a_callers_list(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_torchruns_variables_give_the_place():
    assert Group(5, 1, 8, 2) == Group.of(TORCHRUN)


@pytest.mark.parametrize(
    ("environ", "seen"),
    [({}, "RANK is not set"), ({**TORCHRUN, "LOCAL_RANK": "x"}, "LOCAL_RANK is 'x'")],
)
def test_outside_torchrun_one_line_says_what_to_run(environ, seen):
    """It names the variable and the command."""
    with pytest.raises(UsageError) as refused:
        Group.of(environ)
    assert (
        f"ranks are started by torchrun, and {seen}: run torchrun --standalone "
        "--nproc-per-node N -m oom_suite ranks SUBJECT..."
    ) == str(refused.value)


@pytest.mark.parametrize(("local_rank", "expected"), [(0, "6"), (1, "3")])
def test_a_rank_has_its_entry_of_the_callers_list(local_rank, expected):
    """By its number on this machine, and not indexed into the machine."""
    group = Group(local_rank, local_rank, 2, 2)
    environ = {"CUDA_VISIBLE_DEVICES": "6,3"}
    assert {"CUDA_VISIBLE_DEVICES": expected} == own_gpu(group, "cuda", environ)


def test_a_cpu_needs_no_variable():
    assert {} == own_gpu(Group(0, 0, 2, 2), "cpu", {"CUDA_VISIBLE_DEVICES": "6"})


@pytest.mark.parametrize("local_rank", [0, 1])
def test_more_ranks_than_gpus_are_refused_on_every_rank(local_rank):
    """On the one that would have had a GPU too: the others would wait for it."""
    with pytest.raises(UsageError) as refused:
        own_gpu(Group(local_rank, local_rank, 2, 2), "cuda", {"CUDA_VISIBLE_DEVICES": "6"})
    expected = (
        "2 ranks need as many GPUs, and CUDA_VISIBLE_DEVICES tells of 1: start fewer ranks; "
        "CUDA_VISIBLE_DEVICES names the GPUs to use"
    )
    assert expected == str(refused.value)


@pytest.mark.parametrize(
    ("device", "hint"),
    [
        ("cuda:1", "; each rank's own GPU is chosen for it"),
        ("hip", "; torch calls AMD's devices cuda too"),
        ("tpu", ""),
    ],
)
def test_another_device_is_refused(device, hint):
    with pytest.raises(UsageError) as refused:
        own_gpu(Group(0, 0, 1, 1), device, {})
    assert f"unknown device {device!r}: choose cpu or cuda{hint}" == str(refused.value)


@pytest.mark.parametrize(
    ("heads_total", "model", "world_size", "expected"),
    [
        (None, None, 8, "64 heads (DeepSeek-V4-Flash), 8 on each rank"),
        (None, "DeepSeek-V4-Pro", 8, "128 heads (DeepSeek-V4-Pro), 16 on each rank"),
        (6, None, 6, "6 heads (--heads-total), 1 on each rank"),
    ],
)
def test_heads_are_split_evenly(heads_total, model, world_size, expected):
    """And it is said whose they are."""
    assert expected == str(heads_of_a_rank(heads_total, model, world_size))


@pytest.mark.parametrize(
    ("heads_total", "model", "world_size", "expected"),
    [
        (7, None, 2, "7 heads (--heads-total) do not divide by 2 ranks: choose a number"),
        (2, None, 4, "2 heads (--heads-total) do not divide by 4 ranks: choose a number"),
        (None, None, 3, "64 heads (DeepSeek-V4-Flash) do not divide by 3 ranks: choose"),
        (8, "DeepSeek-V4-Pro", 2, "--heads-total 8 and --model DeepSeek-V4-Pro both set"),
    ],
)
def test_heads_that_do_not_divide_are_refused(heads_total, model, world_size, expected):
    with pytest.raises(UsageError) as refused:
        heads_of_a_rank(heads_total, model, world_size)
    assert str(refused.value).startswith(expected)
