"""A subject's life: its order, its steps, and what is said of them."""

from __future__ import annotations

import json
from itertools import count

import pytest

from fixtures.results import MADE, checked, write_results
from oom_suite.history.life import TermChange, lines_of, lives
from oom_suite.history.reading import read_files
from oom_suite.history.show import life_json, life_lines, step_lines, summary_lines


@pytest.fixture
def recorded(tmp_path):
    """`recorded(result, made_at=..., torch=...)`: as it is read from a file of its own."""
    numbers = count()

    def make(result, hour=1, commit=None, **made):
        made = {"made_at": f"2026-11-28T{hour:02}:00:00+00:00", **made}
        if commit is not None:
            at = f"2026-11-27T{commit:02}:00:00+00:00"
            tree = {"commit": f"{commit:02}" * 20, "dirty": False, "committed_at": at}
            made["working_tree"] = tree
        path = write_results(tmp_path / f"{next(numbers)}.json", [result], **made)
        return read_files([str(path)])[0].results[0]

    return make


def steps_of(*results):
    (life,) = lives(results)
    return [
        (step.direction, step.before.num_bytes, step.after.num_bytes, step.terms)
        for step in life.steps
    ]


def test_a_law_that_stays_has_no_step(recorded):
    """However often and of however many commits."""
    assert [] == steps_of(*(recorded(checked(), hour=n, commit=n) for n in range(1, 5)))


def test_a_new_term_is_a_step_at_the_result_that_has_it_first(recorded):
    healthy, grown = "4*num_tokens", "65536*num_blocks + 4*num_tokens"
    found = steps_of(
        recorded(checked(healthy, 400), commit=1),
        recorded(checked(healthy, 400), commit=2),
        recorded(checked(grown, 66000), commit=3),
        recorded(checked(grown, 66000), commit=4),
    )
    assert [("grew", 400, 66000, (TermChange("", "65536*num_blocks"),))] == found


def test_one_byte_is_a_step_and_none_is_none(recorded):
    assert [("grew", 800, 801, (TermChange("8", "9"),))] == steps_of(
        recorded(checked("8", 800), hour=1), recorded(checked("9", 801), hour=2)
    )
    assert [] == steps_of(recorded(checked("8", 800), hour=1), recorded(checked("8", 800), hour=2))


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("8*a", "16*a", [("8*a", "16*a")]),
        ("8*a + 4*b", "4*b", [("8*a", "")]),
        ("a*b + 8", "a*b + c**2 + 8", [("", "c**2")]),
        ("8*a - 4*b", "8*a + 4*b", [("- 4*b", "4*b")]),
        ("1/3*a + 2.5*b", "2/3*a + 2.5*b", [("1/3*a", "2/3*a")]),
        ("8", "8*a", [("8", ""), ("", "8*a")]),
        ("1.5e+20*a", "2.5e+20*a", [("1.5e+20*a", "2.5e+20*a")]),
    ],
)
def test_terms_are_compared_by_their_axes(recorded, was, now, expected):
    ((_, _, _, terms),) = steps_of(
        recorded(checked(was, 1), hour=1), recorded(checked(now, 2), hour=2)
    )
    assert expected == [(each.was, each.now) for each in terms]


def test_a_law_that_changed_with_the_same_peak_is_a_step_too(recorded):
    """Another formula wins at sizes that nobody has run yet."""
    more = checked(law={"regimes": [{"text": "8*num_blocks"}, {"text": "9*num_tokens"}]})
    (life,) = lives([recorded(checked(), hour=1), recorded(more, hour=2)])
    (step,) = life.steps
    assert ("changed", (), 1) == (step.direction, step.terms, step.num_other_formulas)
    assert [
        "changed: another law with the same peak, aaaaaaaaaa -> aaaaaaaaaa",
        "1 formula for other sizes came or went",
    ] == list(step_lines(step))


def test_formulas_in_another_order_are_the_same_law(recorded):
    texts = ["8*a", "4*b", "2*c"]
    orders = ([texts[0], texts[1], texts[2]], [texts[0], texts[2], texts[1]])
    given = [checked(law={"regimes": [{"text": t} for t in order]}) for order in orders]
    (life,) = lives([recorded(given[0], hour=1), recorded(given[1], hour=2)])
    assert () == life.steps


def test_what_kernels_take_inside_is_part_of_the_law(recorded):
    inside = [{"op": "aten::sort", "at_most": "16*a", "where": "d.py:1 (f)"}]
    moved = [{**inside[0], "where": "d.py:9 (f)"}]
    given = [checked(), checked(inside=inside), checked(inside=moved)]
    (life,) = lives([recorded(each, hour=n) for n, each in enumerate(given, 1)])
    (step,) = life.steps
    assert ("+ at most 16*a inside aten::sort",) == step.inside


def test_releases_are_in_their_own_order_whenever_they_were_judged(recorded):
    """0.9.0 is older than 0.21.0, whichever was judged first."""
    given = [
        recorded(checked(num_bytes=n, subject=f"vllm=={version}"), hour=hour)
        for hour, (version, n) in enumerate([("0.33.0", 1), ("0.21.0", 2), ("0.9.0", 1)], 1)
    ]
    (life,) = lives(given)
    assert ["0.9.0", "0.21.0", "0.33.0"] == [each.release for each in life.results]
    assert ["grew", "shrank"] == [step.direction for step in life.steps]


def test_commits_are_in_the_order_of_their_own_time(recorded):
    """An old commit that is judged later is not late."""
    late = recorded(checked(num_bytes=1), hour=9, commit=1)
    early = recorded(checked(num_bytes=2), hour=1, commit=2)
    assert [("grew", 1, 2, ())] == steps_of(early, late)


def test_two_places_that_take_turns_are_no_steps(recorded):
    """A matrix of two torches, each with its own figure, on every commit."""
    given = [
        recorded(checked(num_bytes=n), hour=commit, commit=commit, torch=torch)
        for commit in range(1, 5)
        for torch, n in (("2.11.0", 1), ("2.13.0", 2))
    ]
    (life,) = lives(given)
    (step,) = life.steps
    assert ("grew", ("torch 2.11.0 -> 2.13.0",)) == (step.direction, step.places)
    grown = recorded(checked(num_bytes=7), hour=9, commit=9, torch="2.11.0")
    (life,) = lives([*given, grown])
    assert [(1, 2), (1, 7)] == [(s.before.num_bytes, s.after.num_bytes) for s in life.steps]


def test_what_was_not_judged_is_no_step_and_hides_none(recorded):
    """A commit that does not import, between a healthy and a grown one."""
    broken = checked(law=None, peak_requested_bytes=None, verdict="INCONCLUSIVE")
    found = steps_of(
        recorded(checked(num_bytes=1), commit=1),
        recorded(broken, commit=2),
        recorded(checked(num_bytes=2), commit=3),
    )
    assert [("grew", 1, 2, ())] == found


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        (100.0, 110.0, []),
        (100.0, 110.1, ["slower: 800 B 100.0 us -> 800 B 110.1 us"]),
        (110.0, 100.0, []),
        (110.1, 100.0, ["faster: 800 B 110.1 us -> 800 B 100.0 us"]),
        (100.0, None, []),
    ],
)
def test_a_time_is_a_step_where_it_differs_by_more_than_a_tenth(recorded, was, now, expected):
    """Less is noise."""
    given = [checked(elapsed_us=was), checked(elapsed_us=now)]
    (life,) = lives([recorded(each, hour=n) for n, each in enumerate(given, 1)])
    assert expected == [next(step_lines(step)).partition(",")[0] for step in life.steps]


@pytest.mark.parametrize(
    "other",
    [
        {"workload": "gather"},
        {"target": "cuda:sm_90"},
        {"scenario": "production"},
        {"sizes": {"num_blocks": 101}},
        {"lane": "measure"},
        {"target": "cpu"},
        {"subject": "other.py:decode"},
    ],
    ids=str,
)
def test_other_sizes_targets_and_workloads_are_other_lives(recorded, other):
    assert 2 == len(lives([recorded(checked()), recorded(checked(num_bytes=9, **other))]))


def test_lines_are_those_that_are_blamed_or_hold_the_terms_that_changed():
    blame = {"file": "d.py", "line": 7, "function": "f", "bytes_per_unit": 65536.0, "axis": "n"}
    assert ("d.py:7 (f) 65,536 bytes per n",) == lines_of({"blame": [blame]}, ())
    terms = [
        {"text": "8*a", "lines": [{"where": "d.py:1 (f)"}, {"where": None}]},
        {"text": "4*b", "lines": [{"where": "d.py:2 (f)"}]},
    ]
    assert ("d.py:1 (f) 8*a",) == lines_of({"terms": terms}, [TermChange("", "8*a")])
    assert ("d.py:3 (f)",) == lines_of({"where": "d.py:3 (f)"}, ())
    assert () == lines_of({}, [TermChange("", "8*a")])


def test_a_life_is_shown_with_its_law_and_each_step_below_its_result(recorded):
    given = [
        recorded(checked("4*b + 8", 4096), commit=1),
        recorded(checked("4*b + 8", 4096), hour=2, commit=1),
        recorded(checked("8*a + 4*b", 8192, verdict="FAIL"), hour=3, commit=2, torch="2.13.1"),
    ]
    (life,) = lives(given)
    assert [
        "decode.py:decode: workload decode, generic, scenario small",
        "  2026-11-28  0101010101  PASS          4.00 KiB  4*b + 8  and 1 more until 2026-11-28",
        "  2026-11-28  0202020202  FAIL          8.00 KiB",
        "      grew: 4.00 KiB -> 8.00 KiB, 0101010101 -> 0202020202",
        "      - 8",
        "      + 8*a",
        "      torch 2.13.0+cpu -> 2.13.1",
        "  law now  8*a + 4*b",
    ] == list(life_lines(life))
    (line,) = summary_lines([life])
    what = "decode.py:decode  workload decode, generic, scenario small"
    assert f"{what}  3 results  1 step  8.00 KiB at 0202020202" == line


def test_only_steps_leaves_out_what_is_as_before(recorded):
    given = [recorded(checked(num_bytes=1 + n // 4), commit=n) for n in range(1, 8)]
    (life,) = lives(given)
    shown = [line.split()[1] for line in life_lines(life, only_steps=True) if "PASS" in line]
    assert ["01" * 5, "04" * 5] == shown


def test_json_has_every_result_and_what_each_step_is_between(recorded):
    (life,) = lives([recorded(checked("8*a", 1), commit=1), recorded(checked("9*a", 2), commit=2)])
    found = json.loads(json.dumps(life_json(life)))
    first, second = found["results"]
    assert ("decode.py:decode", {"num_blocks": 100}) == (found["subject"], found["sizes"])
    assert ({"formulas": ["8*a"], "inside": []}, 1, MADE["torch"]) == (
        *(first["law"], first["num_bytes"], first["torch"]),
    )
    (step,) = found["steps"]
    assert (first["key"], second["key"], "grew") == (
        *(step["before"], step["after"], step["direction"]),
    )
    assert [{"was": "8*a", "now": "9*a"}] == step["terms"]
