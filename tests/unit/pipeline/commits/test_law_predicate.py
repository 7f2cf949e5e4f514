"""What a law predicate makes of laws: the axis that is asked for, and what there was before."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from oom_suite.doors import workload
from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import compare
from oom_suite.pipeline.commits.kept import judged_of, judged_to_json
from oom_suite.pipeline.commits.predicate import (
    DEVICE,
    LawPredicate,
    in_axes,
    refuse_mixed,
)
from oom_suite.pipeline.settings import Settings, silent
from oom_suite.records import Law, Polynomial, Verdict
from oom_suite.records.commits import Finding, Judged, Place
from oom_suite.records.lock import Change, Entry
from oom_suite.subjects import parse

DECODE = workload("decode-swa")
SIZES = dict(DECODE.scenario("small").sizes)


def entry(**coefficients):
    """A law with these coefficients; two underscores stand between the axes of a product."""
    terms = {tuple(name.split("__")): value for name, value in coefficients.items()}
    order = tuple(axis.name for axis in DECODE.axes)
    law = Law((Polynomial.of(terms, order),), SIZES)
    return Entry("f.py:decode", DECODE.name, "generic", "small", law)


def bare(num_bytes):
    """A law of a constant."""
    return replace(entry(), law=Law((Polynomial.of({(): num_bytes}),), SIZES))


def changed(before, now):
    return compare(before, now, DECODE)


BEFORE = entry(num_tokens=8)


@pytest.mark.parametrize(
    ("now", "axes", "change"),
    [
        (entry(num_tokens=9), ["num_tokens"], Change.GREW),
        (entry(num_tokens=8, swa_num_blocks=1), ["num_tokens"], Change.SAME),
        (entry(num_tokens=8, swa_num_blocks=1), ["swa_num_blocks"], Change.GREW),
        (entry(num_tokens=8, num_tokens__swa_num_blocks=1), ["num_tokens"], Change.GREW),
        (entry(num_tokens=9, swa_num_blocks=1), ["num_tokens"], Change.GREW),
        (entry(num_tokens=8), ["num_tokens"], Change.SAME),
        (entry(num_tokens=7), ["num_tokens"], Change.SHRANK),
    ],
    ids=["more", "other-axis", "the-other", "product", "both", "same", "less"],
)
def test_growth_counts_in_the_asked_axis_alone(now, axes, change):
    """The first of two regressions does not hide the second, nor the second the first."""
    assert change is in_axes(changed(BEFORE, now), axes, BEFORE.law, now.law).change


def held(found):
    """The same law, found around one value of num_tokens alone."""
    return replace(found, law=replace(found.law, held={"num_tokens": SIZES["num_tokens"]}))


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        (BEFORE, held(bare(9 * SIZES["num_tokens"])), Change.GREW),
        (BEFORE, held(bare(8 * SIZES["num_tokens"])), Change.UNDECIDED),
        (BEFORE, held(entry(swa_num_blocks=99)), Change.UNDECIDED),
        (held(bare(3)), held(bare(4)), Change.UNDECIDED),
        (held(bare(4)), held(bare(4)), Change.SAME),
    ],
    ids=["larger", "as-large", "in-another-axis", "never-known", "as-it-was"],
)
def test_axis_without_a_polynomial_is_never_taken_for_no_growth(before, now, change):
    """Around one value its growth is a constant: that is larger, or nothing can be told."""
    seen = in_axes(changed(before, now), ["num_tokens"], before.law, now.law)
    assert change is seen.change, seen.reason


def predicate(**asked):
    cases = [(parse("full_dequant"), Settings("small", SIZES, DECODE))]
    return LawPredicate((), (), lambda: cases, **asked)


def test_law_that_has_the_axis_at_the_good_end_is_what_others_are_held_to():
    """It would fail alone; a subject that could not be judged there stays so."""
    failing = Finding("f", "decode", Verdict.FAIL, "grows", entries={DEVICE: BEFORE})
    open_ = Finding("f", "decode-swa", Verdict.INCONCLUSIVE, "raised")
    judged = predicate(axis="num_tokens").as_baseline(Judged((failing, open_)))
    assert [Verdict.PASS, Verdict.INCONCLUSIVE] == [each.verdict for each in judged.findings]
    assert [True, False] == [each.is_baseline for each in judged.findings]


def test_whole_contract_has_no_such_end():
    """What breaks it at the good end is not good."""
    failing = Judged((Finding("f", "decode", Verdict.FAIL, "grows", entries={DEVICE: BEFORE}),))
    assert failing == predicate().as_baseline(failing)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"axis": "num_token"}, "unknown axis 'num_token': .* did you mean 'num_tokens'?"),
        ({"at_most": "3 GB"}, "unknown unit 'GB'"),
        ({"lockfile": "none.toml"}, "none.toml"),
    ],
    ids=["axis", "bound", "lockfile"],
)
def test_what_cannot_be_asked_is_no_verdict(tmp_path, monkeypatch, asked, said):
    """Nothing is run, and the reason is one line."""
    monkeypatch.chdir(tmp_path)
    judged = predicate(**asked).judge(None, silent)
    assert (Verdict.INCONCLUSIVE, ()) == (judged.verdict, judged.findings)
    assert re.search(said, judged.reason), judged.reason


@pytest.mark.parametrize(
    "asked",
    [
        {"axis": "a", "at_most": "b"},
        {"axis": "a", "test": "t"},
        {"at_most": "b", "test": "t"},
        {"at_most": "b", "locked": True},
        {"test": "t", "locked": True},
        {"axis": "a", "at_most": "b", "locked": True},
    ],
    ids=" ".join,
)
def test_two_questions_at_once_are_refused(asked):
    """One line names both."""
    with pytest.raises(UsageError, match="are different questions: ask one of them"):
        refuse_mixed(**{"axis": "", "at_most": "", "test": "", "locked": False, **asked})


@pytest.mark.parametrize("axis", ["", "num_tokens"])
def test_one_question_is_asked(axis):
    """An axis may be looked at in a comparison with the lockfile."""
    refuse_mixed(axis, "", "", locked=True)
    refuse_mixed(axis, "", "", locked=False)


def test_what_was_judged_comes_back_as_it_was_kept():
    """With laws that can be compared, guilty lines and all."""
    place = Place("a.py", 3, "f", "num_tokens", 8.5)
    law = replace(BEFORE, scenario_bytes={"small": 3}, versions={"torch": "2.13.0"})
    findings = (
        Finding("f", "decode", Verdict.PASS, "why", "8*num_tokens", 32, (place,), {DEVICE: law}),
        Finding("g", "", Verdict.FAIL, "why not", is_baseline=True),
    )
    written = json.dumps(judged_to_json(Judged(findings)))
    assert Judged(findings) == judged_of(json.loads(written))
