"""What a target is, by each of its spellings."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.targets.target import DEFAULT, TARGETS, label, target, targets
from oom_suite.units import GIB, MIB


@pytest.mark.parametrize(
    ("text", "name", "memory_bytes"),
    [
        ("rocm:gfx942", "rocm:gfx942", 256 * GIB - 16 * MIB),
        ("mi300x", "rocm:gfx942", 192 * GIB - 16 * MIB),
        ("gfx950", "rocm:gfx950", 288 * GIB - 16 * MIB),
        ("H100", "cuda:sm_90", 81559 * MIB),
        ("CUDA:SM_90", "cuda:sm_90", 143771 * MIB),
        ("generic", "generic", 256 * GIB),
        ("cpu", "cpu", 0),
    ],
)
def test_a_spelling_names_a_target_and_its_memory(text, name, memory_bytes):
    found = target(text)
    assert (name, memory_bytes) == (found.name, found.memory_bytes)


@pytest.mark.parametrize(
    ("text", "capability"),
    [("H200", (9, 0)), ("B200", (10, 0)), ("MI300X", (9, 4)), ("gfx950", (9, 5))],
)
def test_capability_is_in_the_architecture(text, capability):
    assert capability == target(text).capability


def test_an_unknown_target_names_the_nearest():
    with pytest.raises(UsageError, match="MI300X"):
        target("MI300")


def test_names_and_aliases_are_all_different():
    names = [name.lower() for one in TARGETS for name in (one.name, *one.aliases)]
    assert sorted(set(names)) == sorted(names)
    assert DEFAULT in names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MI325X", "rocm:gfx942"),
        ("gfx942", "rocm:gfx942"),
        ("mi300x", "MI300X (rocm:gfx942)"),
        ("H100", "H100 (cuda:sm_90)"),
        ("H200", "cuda:sm_90"),
        ("generic", "generic"),
    ],
)
def test_reports_name_a_device_only_where_its_memory_is_its_own(text, expected):
    assert expected == label(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("H200", ("H200",)),
        ("H200, gfx942", ("H200", "gfx942")),
        ("gfx942,H200,MI325X,rocm:gfx942", ("gfx942", "H200")),
        ("MI300X,MI325X", ("MI300X", "MI325X")),
    ],
)
def test_several_targets_are_listed_once_in_their_order(text, expected):
    assert expected == targets(text)
