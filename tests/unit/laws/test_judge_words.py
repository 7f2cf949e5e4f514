"""Every way a judgement can go, from evidence made by hand, and its words."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from heap import SCENARIO, Code, stack_of

from oom_suite.laws.bound import Excess
from oom_suite.laws.derivation import Change, Derivation, Violation
from oom_suite.laws.evidence import Dependence
from oom_suite.laws.fit import Regime
from oom_suite.laws.judge import judge
from oom_suite.laws.words import grouped, join, listed, moved_from
from oom_suite.records import Axis, Contract, Law, Polynomial, Verdict, Workload

START = {"pool": 100, "other": 200, "tokens": 4, "block_size": 64}
BOUND = Polynomial.of({("tokens",): 1000})


def workload(independent_of=("pool", "other"), at_most=BOUND):
    return Workload(
        name="code",
        axes=(
            Axis("pool", 64, (64, 4096), unit="block"),
            Axis("other", 64, (64, 4096), unit="block"),
            Axis("tokens", 1, (1, 128), unit="token"),
        ),
        builder="",
        contract=Contract(independent_of=independent_of, at_most=at_most),
    )


def regime(line="rows", **terms):
    """`regime(pool=3, bytes=1)`: one line holds all of it."""
    held = Polynomial.of({() if name == "bytes" else (name,): c for name, c in terms.items()})
    site = (("op", stack_of(line)), 0)
    return Regime(held, site, ((site, held),))


def law_of(*regimes, **others):
    return Law(tuple(one.polynomial for one in regimes), {**START, **others}, num_runs=9)


COMPARED = {"pool": (64, 4096), "other": (64, 4096)}


def derivation(*regimes, **others):
    trace = Code()(SCENARIO)
    regimes = regimes or (regime(tokens=8),)
    return Derivation(law_of(*regimes), regimes, trace, **{"compared": COMPARED, **others})


def change(*regimes, predicted_bytes=1, actual_bytes=2, **moved):
    return Change(moved, predicted_bytes, actual_bytes, law_of(*regimes, **moved), regimes)


def judged(found, **contract):
    judgement = judge(found, workload(**contract))
    return judgement.verdict, judgement.reason


def test_words_are_joined_and_numbers_grouped():
    assert ["", "a", "a and b", "a, b and c"] == [join("abc"[:number]) for number in range(4)]
    assert "num_tokens=4, pool=4,096" == listed({"num_tokens": 4, "pool": 4096})
    assert ["82,048", "0.125", "-3", "1,234.5"] == [
        grouped(Fraction(one)) for one in ("82048", "1/8", "-3", "2469/2")
    ]
    moved = {"pool": 1, "other": 200, "tokens": 5, "extra": 7}
    assert {"pool": 1, "tokens": 5} == moved_from(START, {**START, **moved})
    assert {"pool": 1} == moved_from(START, {**START, **moved}, without=["tokens"])


@pytest.mark.parametrize(
    ("contract", "reason"),
    [
        ({}, "independent of pool and other, within its bound"),
        ({"independent_of": ()}, "within its bound"),
        ({"at_most": None}, "independent of pool and other"),
        ({"independent_of": (), "at_most": None}, "nothing is promised"),
    ],
)
def test_a_pass_says_what_was_kept(contract, reason):
    judgement = judge(derivation(), workload(**contract))
    assert (Verdict.PASS, reason, (), ()) == (
        judgement.verdict,
        judgement.reason,
        judgement.blame,
        judgement.notes,
    )


@pytest.mark.parametrize(
    ("others", "where"),
    [
        ({"irregular": {"tokens": "it jumps"}}, ", not proved in tokens"),
        ({"irregular": {"pool": "it jumps"}}, ", not proved"),
        ({"exceptions": ({**START, "tokens": 5, "block_size": 32},)},
         ", not proved in tokens and block_size"),
        ({"elsewhere": (change(regime(tokens=9), tokens=7, pool=1),),
          "irregular": {"block_size": "it jumps"}}, ", not proved in block_size and tokens"),
    ],
)  # fmt: skip
def test_a_bound_that_was_checked_and_not_proved_is_noted_with_its_axes(others, where):
    """Those that must not matter anyway are not named."""
    judgement = judge(derivation(**others), workload())
    assert "independent of pool and other, within its bound at every run" == judgement.reason
    assert f"bound checked at 9 sizes{where}" == judgement.notes[-1]
    unbound = judge(derivation(**others), workload(at_most=None))
    assert not any("bound checked" in note for note in unbound.notes)


@pytest.mark.parametrize(
    ("predicted", "actual", "said"),
    [
        (1000, 2000, " (2,000 bytes, where the first law says 1,000)"),
        (0, 2000, " (2,000 bytes, where the first law says 0)"),
        (-1, 2000, " (2,000 bytes, where the first law says no whole number)"),
        (2000, 2000, ""),
    ],
)
def test_another_law_is_noted_with_what_the_first_says_there(predicted, actual, said):
    there = change(
        regime(tokens=9), predicted_bytes=predicted, actual_bytes=actual, tokens=1024, pool=1
    )
    notes = judge(derivation(elsewhere=(there,)), workload()).notes
    assert f"another law holds at tokens=1,024, pool=1: 9*tokens{said}" == notes[0]


def test_sizes_without_a_law_are_counted_and_the_first_is_named():
    first, second = {**START, "tokens": 1024, "pool": 1}, {**START, "tokens": 2}
    for others, number in (((first,), "1 more size"), ((first, second), "2 more sizes")):
        notes = judge(derivation(exceptions=others), workload()).notes
        assert f"the peak is not the law's at {number}, the first pool=1, tokens=1,024" == notes[0]


def test_refusals_are_noted_by_the_one_that_moved_least():
    far = ({**START, "pool": 1, "tokens": 9}, "far")
    near = ({**START, "tokens": 1024}, "near")
    assert ("could not be run at tokens=1,024: near",) == (
        judge(derivation(refused=(near,)), workload()).notes
    )
    assert ("could not be run at tokens=1,024: near (and at 2 more)",) == (
        judge(derivation(refused=(far, near, far)), workload()).notes
    )
    itself = (dict(START), "not twice")
    assert ("could not be run at the scenario: not twice (and at 1 more)",) == (
        judge(derivation(refused=(near, itself)), workload()).notes
    )


@pytest.mark.parametrize(
    ("regimes", "reason"),
    [
        ([regime(pool=1)], "peak grows with pool (1 byte per block)"),
        ([regime(other=3, pool=2)],
         "peak grows with pool (2 bytes per block) and other (3 bytes per block)"),
        ([regime(tokens=8), regime(pool=1)],
         "peak grows with pool (1 byte per block), hidden by other allocations until pool=32"),
        ([regime(tokens=8), regime(bytes=7), regime(pool=1)],
         "peak grows with pool (1 byte per block), hidden by other allocations until pool=32"),
        ([regime(bytes=1 << 61), regime(pool=1)],
         "peak grows with pool (1 byte per block), where no other allocation hides it"),
    ],
)  # fmt: skip
def test_growth_is_told_with_its_slopes_and_from_where_on_it_is_the_peak(regimes, reason):
    assert (Verdict.FAIL, reason) == judged(derivation(*regimes))


def test_growth_in_a_law_found_elsewhere_is_told_with_its_sizes_and_lines():
    """The first law that grows; one that does not is passed over."""
    places = (
        change(regime(tokens=3), tokens=3),
        change(regime("guilty", pool=2), tokens=1024),
        change(regime("later", pool=9), tokens=5),
    )
    judgement = judge(derivation(elsewhere=places), workload())
    assert "peak grows with pool (2 bytes per block) at tokens=1,024" == judgement.reason
    (blame,) = judgement.blame
    assert ("guilty", 200, "pool", 2.0) == (
        blame.function,
        blame.bytes,
        blame.axis,
        blame.bytes_per_unit,
    )
    assert 3 == len(judgement.notes)
    assert Verdict.PASS is judge(derivation(elsewhere=places[:1]), workload()).verdict


def test_state_between_calls_is_inconclusive():
    assert (Verdict.INCONCLUSIVE, "the code keeps state between calls: 1 first, 2 later") == (
        judged(derivation(unsteady="1 first, 2 later"))
    )


def dependence(before_bytes, after_bytes, *sites, num_rises=1, axes=("pool",), **moved):
    before, after = {**START, "pool": 64, **moved}, {**START, "pool": 4096, **moved}
    named = tuple(((("op", stack_of(line)), 0), *held) for line, *held in sites)
    return Dependence(axes, before, after, before_bytes, after_bytes, named, num_rises)


@pytest.mark.parametrize(
    ("shown", "verdict", "reason"),
    [
        (dependence(1000, 2000, ("line", 5, 1005)), Verdict.FAIL,
         "peak depends on pool: 1,000 bytes at pool=64, 2,000 at pool=4,096"),
        (dependence(1000, 999, axes=("pool", "other"), tokens=1), Verdict.FAIL,
         ("peak depends on pool and other: 1,000 bytes at pool=64, other=200, "
         "999 at pool=4,096, other=200 (with tokens=1)")),
        (dependence(7, 7), Verdict.INCONCLUSIVE,
         "the order of allocations depends on pool, and with other sizes the peak may"),
        (dependence(7, 7, ("up", 1, 3), ("most", 9, 5), ("less", 0, 1)), Verdict.INCONCLUSIVE,
         "an allocation below the peak depends on pool: 9 bytes at pool=64, 5 at pool=4,096"),
        (dependence(7, 7, ("up", 1000, 3000), num_rises=2), Verdict.FAIL,
         ("an allocation below the peak keeps growing with pool: 1,000 bytes at pool=64, "
         "3,000 at pool=4,096")),
    ],
)  # fmt: skip
def test_runs_that_differ_are_told_by_their_peaks_or_by_what_changes_most(shown, verdict, reason):
    judgement = judge(derivation(dependences=(shown, dependence(1, 2))), workload())
    assert (verdict, reason) == (judgement.verdict, judgement.reason)
    assert len(shown.sites) == len(judgement.blame)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"compared": {"pool": (64, 4096)}}, "other could not be varied from 200"),
        ({"compared": {"pool": (64,), "other": (1, 2)}}, "pool could not be varied from 100"),
        ({"compared": {**COMPARED, "pool": ()}, "fixed": {"pool": "it refuses", "other": "no"}},
         "pool could not be varied from 100: it refuses"),
        ({"unseen": {"other": (("aten::sort", stack_of("sort")), ("aten::topk", ()))}},
         (f"aten::sort at {stack_of('sort')[0]} takes unseen scratch and is given more bytes as "
         "other grows")),
        ({"unseen": {"pool": (("aten::topk", ()),)}},
         "aten::topk takes unseen scratch and is given more bytes as pool grows"),
    ],
)  # fmt: skip
def test_what_keeps_independence_from_being_shown_is_inconclusive(others, reason):
    assert (Verdict.INCONCLUSIVE, reason) == judged(derivation(**others))
    assert Verdict.PASS is judged(derivation(**others), independent_of=())[0]


def test_a_run_over_the_bound_is_told_at_the_sizes_that_the_bound_speaks_of():
    """The smallest of them, and the lines of that run."""
    traces = [Code(lambda heap, s: heap.alloc("rows", 5000))({**SCENARIO, **START})]
    over = Violation({**START, "tokens": 1024}, 5000, 4000, traces[0])
    found = derivation(violations=(over, replace(over, peak_bytes=9999)))
    judgement = judge(found, workload())
    assert (
        Verdict.FAIL,
        "peak exceeds its bound: 5,000 bytes at tokens=1,024, allowed 4,000",
    ) == (judgement.verdict, judgement.reason)
    assert ["rows"] == [blame.function for blame in judgement.blame]


def excess(number, runnable, sizes=True):
    there = {**START, "tokens": number} if sizes else None
    squares = Polynomial.of({("tokens", "tokens"): 1})
    held = regime("squares", tokens=1)
    whole = replace(held, polynomial=squares, live=((held.site, squares),))
    return Excess(whole, BOUND, there, runnable)


@pytest.mark.parametrize("is_global", [True, False])
def test_a_law_over_the_bound_at_sizes_too_large_to_run_fails_where_it_holds_everywhere(is_global):
    """Sizes that were run, or none at all, show nothing; the first that do are told."""
    excesses = (excess(2000, True), excess(3000, False), excess(4000, False))
    others = {} if is_global else {"irregular": {"block_size": "it jumps"}}
    judgement = judge(derivation(excesses=excesses, **others), workload())
    if is_global:
        assert (
            Verdict.FAIL,
            "peak exceeds its bound: 9,000,000 bytes at tokens=3,000, allowed 3,000,000",
        ) == (judgement.verdict, judgement.reason)
        (blame,) = judgement.blame
        assert ("squares", 9_000_000) == (blame.function, blame.bytes)
    else:
        assert (
            Verdict.INCONCLUSIVE,
            (
                "the bound may break at tokens=3,000, too large to run: the law found at smaller "
                "sizes, tokens**2, says so there and may not hold"
            ),
        ) == (judgement.verdict, judgement.reason)


@pytest.mark.parametrize("one", [excess(2000, True), excess(0, False, sizes=False)])
def test_a_bound_neither_proved_nor_broken_is_inconclusive_where_the_law_holds_everywhere(one):
    """Elsewhere it was checked at every run, which is what a pass then says."""
    assert (Verdict.INCONCLUSIVE, "cannot show tokens**2 <= 1000*tokens") == (
        judged(derivation(excesses=(one,)))
    )
    irregular = {"block_size": "it jumps"}
    assert Verdict.PASS is judged(derivation(excesses=(one,), irregular=irregular))[0]


def test_what_was_shown_comes_before_what_is_unclear_and_growth_before_all():
    """The order of all decisions, each with those that come after it."""
    trace = Code(lambda heap, s: heap.alloc("rows", 5000))({**SCENARIO, **START})
    over = Violation(START, 5000, 4000, trace)
    shown = [
        ("elsewhere", (change(regime(pool=2), tokens=5),), "peak grows with"),
        ("unsteady", "1 first", "the code keeps state"),
        ("dependences", (dependence(1, 2),), "peak depends on"),
        ("compared", {}, "pool could not be varied"),
        ("violations", (over,), "peak exceeds"),
        ("excesses", (excess(3000, False),), "the bound may break"),
    ]
    for number, (_, _, words) in enumerate(shown):
        others = {name: value for name, value, _ in shown[number:]}
        found = derivation(irregular={"block_size": "it jumps"}, **others)
        assert judge(found, workload()).reason.startswith(words)
