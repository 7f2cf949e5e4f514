"""What was found of commits, as lines."""

from __future__ import annotations

from dataclasses import replace

from oom_suite.records import Verdict
from oom_suite.records.commits import CommitSearch, Finding, Judged, Place, Step
from oom_suite.report.commits import answer_lines, search_lines, step_line

PLACE = Place("a.py", 7, "gather", "pool", 1024.0)
BAD = Judged((Finding("f", "decode", Verdict.FAIL, "grows", "8*pool", 32, (PLACE,)),))
AS = "decode for generic, small: pool=4; bad is growth in pool"
GOOD = Judged((Finding("f", "decode", Verdict.PASS, "kept", "8*tokens", 16),))
BROKEN = Judged(problem="it does not import")


def step(title, judged, end=""):
    return Step(title[0] * 40, title, judged, 1.26, end)


def test_repair_is_told_as_one():
    """The first good commit, the last bad one, and the line that was guilty before."""
    bad, good = step("b bad", BAD, "bad"), step("g good", GOOD, "good")
    broken = step("x broken", BROKEN)
    found = CommitSearch(good, bad, (broken,), (good, bad, broken), True, diff=("-old", "+new"))
    assert [
        "3 commits were judged:",
        "  PASS          g good, the good end (1.3 s): kept",
        "  FAIL          b bad, the bad end (1.3 s): grows",
        "  INCONCLUSIVE  x broken (1.3 s): it does not import",
        "",
        "first good commit: g good",
        "  the last bad one: b bad",
        "  - decode: 8*pool (peak 32 B)",
        "  + decode: 8*tokens (peak 16 B)",
        "  blame    a.py:7 (gather) 1,024 bytes per pool",
        "  diff     -old",
        "           +new",
        "  ? x broken may be it instead; it could not be judged: it does not import",
    ] == list(search_lines(found))


def test_exact_configuration_and_every_change_are_told():
    """Once each; a step that is known from before says so instead of its seconds."""
    finding = Finding("f", "decode", Verdict.FAIL, "grows", judged_as=AS)
    bad = replace(step("b bad", Judged((finding,)), "bad"), is_kept=True)
    found = CommitSearch(
        *(bad, step("g good", GOOD), (), (bad, bad), False),
        turns=(("r==1", "r==2"), ("r==3", "r==4")),
        noun="release",
        made_with="torch 2.13.0",
    )
    assert [
        "2 releases were judged:",
        *["  FAIL          b bad, the bad end (known from before): grows"] * 2,
        f"judged: {AS}",
        "with torch 2.13.0",
        "",
        "it changed between r==1 and r==2",
        "it changed between r==3 and r==4",
        "first bad release: b bad",
    ] == list(search_lines(found))[:9]


def test_probe_shows_the_good_end_s_law_beside_its_own():
    """Where it is another."""
    end = step("g good", GOOD, "good")
    assert [
        "FAIL f: grows",
        "  law      8*pool (peak 32 B)",
        "  blame    a.py:7 (gather) 1,024 bytes per pool",
        "  good     8*tokens (peak 16 B), at g good",
        "  diff     +new",
    ] == list(answer_lines(BAD, end, ("+new",)))
    assert ["PASS f: kept", "  law      8*tokens (peak 16 B)"] == list(answer_lines(GOOD, end, ()))


def test_what_was_not_judged_is_one_line():
    assert ["INCONCLUSIVE it does not import"] == list(answer_lines(BROKEN, None, ()))


def test_title_of_a_commit_cannot_forge_a_line():
    """Its author wrote it."""
    assert "\n" not in step_line(step("g \x1b[31m\n::error::x", GOOD))
    assert "\x1b" not in step_line(step("g \x1b[31m", GOOD))
