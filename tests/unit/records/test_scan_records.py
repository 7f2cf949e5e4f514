"""Rows of a scan: what is the same from release to release, and what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oom_suite.records.scan import Found, ScanRow, Unit, changes, exit_code, stretches

PLACE = ("indexer", "plain", "rocm:gfx942")
RELEASES = ("toy==1", "toy==2", "toy==3")


def row(subject, found=Found.PASS, peak_bytes=64, law="8*n", regimes=("8*n", "64")):
    return ScanRow(Unit(subject, *PLACE), found, "because", law, regimes, peak_bytes)


def test_a_row_comes_back_from_json_as_it_was():
    whole = replace(
        row("toy==1"),
        by_design={"width": "it must"},
        where="a.py:3 (f)",
        notes=("a stand-in ran",),
        next_command="oom-suite bisect",
        elapsed_s=1.5,
    )
    assert whole == ScanRow.from_json(whole.to_json())
    assert dict(whole.by_design) == ScanRow.from_json(whole.to_json()).by_design


def test_a_key_tells_a_unit_from_every_other_one():
    unit = Unit("toy==1", *PLACE)
    assert "toy==1 | indexer | plain | rocm:gfx942" == unit.key
    others = [replace(unit, **{name: "other"}) for name in ("subject", "workload", "scenario")]
    assert 4 == len({unit.key, *(other.key for other in others)})


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (row("toy==2", Found.FAIL), "broken"),
        (row("toy==2", Found.ABSENT, None, "", ()), "went"),
        (row("toy==2", Found.INCONCLUSIVE), "unclear"),
        (row("toy==2", peak_bytes=65), "grew"),
        (row("toy==2", peak_bytes=63), "shrank"),
        (row("toy==2", regimes=("8*n", "65")), "law"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind_of_change_is_told(after, kind):
    (found,) = changes([row("toy==1"), after], RELEASES)
    assert (PLACE, kind, "toy==1", "toy==2") == (
        found.place,
        found.kind,
        found.before.unit.subject,
        found.after.unit.subject,
    )


def test_a_cure_and_code_that_came_are_the_other_way_round():
    rows = [row("toy==1", Found.ABSENT), row("toy==2", Found.FAIL), row("toy==3")]
    assert ["came", "cured"] == [one.kind for one in changes(rows, RELEASES)]


def test_formulas_in_another_order_are_the_same_law():
    assert () == changes([row("toy==1"), row("toy==2", regimes=("64", "8*n"))], RELEASES)


def test_a_stretch_ends_where_something_differs_and_where_a_release_is_missing():
    """Rows come in the order in which units ended, which is any."""
    rows = [row("toy==3", Found.FAIL), row("toy==1"), row("toy==2")]
    found = stretches(rows, RELEASES)
    assert [("toy==1", "toy==2"), ("toy==3",)] == [one.subjects for one in found]
    apart = stretches([row("toy==3"), row("toy==1")], RELEASES)
    assert [("toy==1",), ("toy==3",)] == [one.subjects for one in apart]
    assert "toy==2" == found[0].row.unit.subject


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ((Found.PASS, Found.ABSENT), 0),
        ((Found.INCONCLUSIVE, Found.PASS), 3),
        ((Found.INCONCLUSIVE, Found.FAIL), 1),
        ((), 0),
    ],
)
def test_what_is_broken_counts_before_what_is_unclear_and_absence_not_at_all(found, code):
    assert code == exit_code(row("toy==1", one) for one in found)
