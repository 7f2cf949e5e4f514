"""The profile runs of vLLM's releases, as formulas in a server's flags."""

from __future__ import annotations

import pytest
from packaging.version import Version

from oom_suite import doors
from oom_suite.subjects.families.vllm.profiles import PROFILES

FLAGS = {
    "max_model_len": 131_072,
    "max_num_batched_tokens": 8192,
    "max_num_seqs": 256,
    "next_n": 1,
    "num_blocks": 32_768,
    "num_heads": 8,
    "index_heads": 64,
    "index_topk": 512,
    "window_tokens": 128,
}
GATHERED = 4 * (32_768 + 128 + 8192) * 512 * 2
KEYS = 132 * 40 * 131_072 // 4
MIB = 1 << 20


def step(release, name, backend="rocm"):
    profile = next(p for p in PROFILES if (p.release, p.backend) == (release, backend))
    return next(each for each in profile.steps if each.name == name)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: f"{p.release}-{p.backend}")
def test_every_step_has_a_box_of_its_workload(profile):
    """Sizes are whole, least before most, and of the workload's own names, at any flags."""
    known = doors.workloads()
    for each in profile.steps:
        workload = known[each.workload]
        own = {axis.name for axis in workload.axes} | set(workload.scenario().sizes)
        sizes = {axis: (least(FLAGS), most(FLAGS)) for axis, least, most in each.box}
        assert sizes.keys() <= own
        assert all(1 <= least <= most for least, most in sizes.values()), sizes
        assert {axis.name for axis in workload.axes} <= sizes.keys()
        assert each.num_bytes(FLAGS) >= 0


def test_the_releases_are_in_order_and_each_once():
    """Both paths know the same releases."""
    rocm, cuda = ([p.release for p in PROFILES if p.backend == b] for b in ("rocm", "cuda"))
    assert rocm == cuda == sorted(set(rocm), key=Version)


@pytest.mark.parametrize(
    ("release", "name", "backend", "num_bytes"),
    [
        ("0.21.0", "decode-c4a", "rocm", 264 * 10 * 131_072),
        ("0.22.1", "decode-c4a", "rocm", 0),
        ("0.23.0", "decode-c4a", "rocm", 512 * MIB),
        ("0.33.0", "decode-c4a", "rocm", 512 * MIB),
        ("0.30.0", "indexer-decode", "rocm", 512 * MIB),
        ("0.33.0", "indexer-decode", "rocm", 512 * MIB + KEYS),
        ("0.22.0", "prefill-workspace", "rocm", GATHERED),
        ("0.29.0", "prefill-workspace", "rocm", 512 * MIB + 8192 * 32_768 * 4),
        ("0.30.0", "prefill-workspace", "rocm", 512 * MIB + KEYS),
        ("0.21.0", "prefill-workspace", "cuda", 512 * MIB + KEYS + MIB),
        ("0.33.0", "prefill-workspace", "cuda", 512 * MIB + GATHERED + 8192 * 641 * 4),
    ],
)
def test_what_the_profile_run_takes(release, name, backend, num_bytes):
    """The figures at one server's flags, counted by hand from the releases' sources."""
    assert step(release, name, backend).num_bytes(FLAGS) == num_bytes


def test_longer_contexts_gather_fewer_keys_from_0_32_on():
    """Above 262,144 tokens the factor is 2 where it was 5."""
    long = {**FLAGS, "max_model_len": 524_288}
    before, after = (
        step(v, "prefill-workspace", "cuda").num_bytes(long) for v in ("0.31.0", "0.32.0")
    )
    assert (before, after) == (
        512 * MIB + 132 * 10 * 524_288 + MIB,
        512 * MIB + 4 * (131_072 + 128 + 8192) * 1024 + 8192 * 641 * 4,
    )


def test_the_first_release_pads_heads_to_64():
    """0.21.0 decodes eight heads as 64; later releases do not."""
    heads = {v: step(v, "decode-c4a").box[3] for v in ("0.21.0", "0.22.0")}
    assert {v: (axis, most(FLAGS)) for v, (axis, _, most) in heads.items()} == {
        "0.21.0": ("num_heads", 64),
        "0.22.0": ("num_heads", 8),
    }


def test_speculation_makes_more_tokens_of_a_step():
    """A token and the guessed ones for each request, and no more than a step can have."""
    tokens = step("0.33.0", "decode-c4a").box[2]
    assert [tokens[2]({**FLAGS, "next_n": n}) for n in (1, 2, 64)] == [256, 512, 8192]
