"""What each case of unusual indices and lens makes of a step, entry by entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import paged_sums
import pytest
import torch
from paged_sums import BARE, BLOCK_SIZE, FACETS

from oom_suite.records.workload import Pool
from oom_suite.safety.index_cases import (
    CHANGES,
    IMPOSSIBLE,
    OPTIONAL,
    VALID,
    IndexCase,
    _counting_entry,
    cases_of,
    make_case,
)
from oom_suite.safety.steps import Target, variants_of
from oom_suite.workloads.sparse_mla.workload import DECODE

BLOCKS = Pool("pool", "indices", "lens", names="blocks")
SLOTS = Pool("pool", "indices", "lens", names="slots")
NAMED = {case.name: case for case in CHANGES}


def step(lens=(3, 5, 8)):
    """Five blocks of four tokens; three rows of three indices."""
    return {
        "pool": torch.zeros(5, 4, 2),
        "indices": torch.tensor([[0, 1, 2], [3, 4, 0], [1, 2, 3]], dtype=torch.int32),
        "lens": torch.tensor(lens, dtype=torch.int32),
    }


def changed(name, pool=SLOTS, **others):
    made = step(**others)
    NAMED[name].change(made, pool)
    return made


@pytest.mark.parametrize(
    ("pool", "lens", "entry"),
    [
        (SLOTS, (3, 2, 3), (1, 1)),
        (SLOTS, (3, 1, 3), (0, 1)),
        (SLOTS, (1, 1, 2), (2, 1)),
        (SLOTS, (0, 1, 0), (1, 0)),
        (SLOTS, (0, 0, 0), (0, 0)),
        (BLOCKS, (9, 5, 9), (1, 1)),
        (BLOCKS, (9, 4, 9), (0, 1)),
        (BLOCKS, (4, 4, 5), (2, 1)),
        (BLOCKS, (4, 3, 2), (0, 0)),
        (replace(SLOTS, lens=""), (0, 0, 0), (1, 1)),
        (replace(BLOCKS, lens=""), (0, 0, 0), (1, 1)),
    ],
)
def test_the_entry_that_is_made_impossible_is_one_that_counts(pool, lens, entry):
    """The second of the second row, or of the first long enough; else the first of the longest."""
    assert entry == _counting_entry(step(lens), pool)


def test_an_entry_of_one_column_alone_counts_where_no_row_is_longer():
    made = step((1, 1, 1))
    made["indices"] = made["indices"][:, :1]
    assert (0, 0) == _counting_entry(made, replace(SLOTS, lens=""))


@pytest.mark.parametrize(
    ("name", "pool", "value"),
    [
        ("slot -2", SLOTS, -2),
        ("slot -2**31", SLOTS, -(2**31)),
        ("slot one beyond the pool", SLOTS, 20),
        ("slot one beyond the pool", BLOCKS, 5),
        ("slot 2**31-1", BLOCKS, 2**31 - 1),
    ],
)
def test_one_index_becomes_one_that_the_pool_does_not_have(name, pool, value):
    """All the others stay."""
    expected = step()["indices"]
    expected[1, 1] = value
    made = changed(name, pool, lens=(8, 8, 8))
    assert expected.tolist() == made["indices"].tolist()
    assert [8, 8, 8] == made["lens"].tolist()


@pytest.mark.parametrize(
    ("name", "slots", "blocks"),
    [
        ("lens one beyond the width", 4, 13),
        ("lens far beyond the width", 12, 48),
        ("lens -1", -1, -1),
    ],
)
def test_lens_become_ones_that_no_row_has(name, slots, blocks):
    """A row names three slots, or the twelve of three blocks."""
    assert [slots] * 3 == changed(name, SLOTS)["lens"].tolist()
    made = changed(name, BLOCKS)
    assert [blocks] * 3 == made["lens"].tolist()
    assert step()["indices"].tolist() == made["indices"].tolist()
    without = step()
    NAMED[name].change(without, replace(SLOTS, lens=""))
    assert [3, 5, 8] == without["lens"].tolist()


@pytest.mark.parametrize(
    ("name", "dtypes", "strides"),
    [
        ("int64 indices", (torch.int64, torch.int32), (3, 1)),
        ("int64 lens", (torch.int32, torch.int64), (3, 1)),
        ("strided indices", (torch.int32, torch.int32), (6, 2)),
        ("column-major indices", (torch.int32, torch.int32), (1, 3)),
    ],
)
def test_values_stay_where_only_their_layout_or_type_changes(name, dtypes, strides):
    made = changed(name)
    assert step()["indices"].tolist() == made["indices"].tolist()
    assert [3, 5, 8] == made["lens"].tolist()
    assert dtypes == (made["indices"].dtype, made["lens"].dtype)
    assert strides == made["indices"].stride()


def test_between_strided_indices_stand_other_indices_of_the_pool():
    """Code that takes them to be dense reads indices of another row, and nothing outside."""
    indices = changed("strided indices")["indices"]
    beside = indices.as_strided((3, 3), indices.stride(), indices.storage_offset() + 1)
    assert step()["indices"].flip(0).tolist() == beside.tolist()


def test_the_changes_are_these_and_these_alone():
    optional = ["int64 indices", "int64 lens", "strided indices", "column-major indices"]
    assert [(name, OPTIONAL) for name in optional] == [
        (one.name, one.expects) for one in CHANGES[:4]
    ]
    assert {IMPOSSIBLE} == {one.expects for one in CHANGES[4:]}
    assert [
        "slot -2", "slot -2**31", "slot one beyond the pool", "slot 2**31-1",
        "lens one beyond the width", "lens far beyond the width", "lens -1",
    ] == [one.name for one in CHANGES[4:]]  # fmt: skip


def test_a_workloads_own_cases_come_with_the_changes_the_required_ones_first():
    device = torch.device("cpu")
    own = variants_of(DECODE).index_variants(DECODE, device, "generic")
    required = [one.name for one in own if one.is_required]
    others = [one.name for one in own if not one.is_required]
    cases = cases_of(DECODE, device, "generic")
    assert [*required, *others, *(one.name for one in CHANGES)] == [one.name for one in cases]
    kinds = [VALID] * len(required) + [OPTIONAL] * (len(others) + 4) + [IMPOSSIBLE] * 7
    assert kinds == [one.expects for one in cases]


def sums(call=None):
    workload = replace(BARE, **FACETS)
    return Target(call, Path(__file__).parent, workload, torch.device("cpu"))


@pytest.mark.parametrize(
    ("change", "sane"),
    [
        (lambda table: table.fill_(7), 7),
        (lambda table: table.fill_(8), -1),
        (lambda table: table.fill_(-1), -1),
        (lambda table: table.fill_(-2), -1),
        (lambda table: table.fill_(0), 0),
    ],
    ids=["the last", "one beyond", "padding", "below", "the first"],
)
def test_an_index_that_the_pool_does_not_have_is_padding_to_the_oracle(change, sane):
    """Of eight blocks; the step itself keeps what it was given."""
    case = IndexCase("x", IMPOSSIBLE, change=lambda s, pool: change(s["table"]))
    _, made, ignored = make_case(sums(), case)
    assert {sane} == set(ignored["table"].flatten().tolist())
    assert change(torch.zeros(1)).tolist() == made["table"].flatten()[:1].tolist()


@pytest.mark.parametrize(("given", "sane"), [(-1, 0), (0, 0), (1, 1), (12, 12), (13, 12)])
def test_a_length_that_no_row_has_is_the_nearest_that_one_has(given, sane):
    """Three blocks of four tokens are twelve."""
    assert 12 == 3 * BLOCK_SIZE
    case = IndexCase("x", IMPOSSIBLE, change=lambda s, pool: s["lens"].fill_(given))
    _, made, ignored = make_case(sums(), case)
    assert ([given] * 3, [sane] * 3) == (made["lens"].tolist(), ignored["lens"].tolist())


def test_a_case_without_a_change_is_its_variant_or_the_usual_step():
    variant, made, sane = make_case(sums(), IndexCase("x", VALID))
    assert "three rows" == variant.name
    assert list(paged_sums.LENS) == made["lens"].tolist() == sane["lens"].tolist()
    own = replace(variant, name="own")
    assert "own" == make_case(sums(), IndexCase("x", VALID, variant=own))[0].name


def test_a_pool_without_lens_has_none_to_change():
    pools = (replace(FACETS["pools"][0], lens=""),)
    workload = replace(BARE, **{**FACETS, "pools": pools})
    target = replace(sums(), workload=workload)
    _, made, sane = make_case(target, NAMED["lens -1"])
    assert list(paged_sums.LENS) == made["lens"].tolist() == sane["lens"].tolist()
