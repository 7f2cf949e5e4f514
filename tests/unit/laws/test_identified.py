"""A proved law that exact runs are held against, and what makes the law be fitted all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from symbolic_code import SIZES, WORKLOAD, exact, symbolic

from oom_suite.errors import LaneError
from oom_suite.laws.derive import derive
from oom_suite.laws.identified import follows, may_say_all, tells
from oom_suite.laws.judge import judge
from oom_suite.laws.proof import prove
from oom_suite.records import Axis, Contract, Polynomial, Unseen, Verdict
from oom_suite.records.symbolic import Formula, Guard, Hints, Quantity

BOTH_FREED = [("alloc", 0), ("alloc", 1), ("free", 0), ("free", 1)]
HEALTHY = [{("tokens",): 1024}, {("tokens", "tokens"): 2, (): 512}]
GROWING = [{("tokens",): 1024}, {("pool",): 8, ("tokens",): 4}]
HIDDEN = [{("tokens",): 1, ("pool",): 1}, {("tokens",): 1024, ("pool",): 2}]


class Both:
    """Code as symbols and as exact runs, which take what `more` says of a size besides."""

    def __init__(self, requests, more=lambda sizes: 0, events=BOTH_FREED, **others):
        self.requests, self.more, self.events, self.others = requests, more, events, others
        self.asked = []

    def symbolic(self, hints):
        return symbolic(hints, self.requests, self.events, **self.others)

    def exact(self, sizes):
        self.asked.append(dict(sizes))
        sums = [int(Polynomial.of(terms, ())(sizes)) for terms in self.requests]
        sums[-1] += self.more(sizes)
        return exact(sizes, sums, self.events)

    def proof(self, workload=WORKLOAD):
        return prove(self.symbolic, lambda: None, workload, SIZES)


def both_ways(code, workload=WORKLOAD):
    """The derivation with the proof and the one without, and the runs that each has made."""
    found = []
    for proof in (code.proof(workload), None):
        code.asked = []
        derivation = derive(code.exact, workload, SIZES, lambda proof=proof: proof)
        found.append((derivation, code.asked))
    return found


def is_fitted(few, many):
    """Whether the proof has spared no run."""
    return set(map(str, many)) == set(map(str, few))


def in_words(derivation, workload):
    """What a reader sees of it: all but how many runs were made."""
    judgement = judge(derivation, workload)
    return judgement, replace(derivation.law, num_runs=0), derivation.regimes


@pytest.mark.parametrize("requests", [HEALTHY, GROWING, HIDDEN])
def test_a_proved_law_that_runs_follow_is_judged_as_a_fitted_one_from_fewer_runs(requests):
    """Law, regimes with their lines, verdict and reason are the same."""
    (proved, few), (fitted, many) = both_ways(Both(requests))
    assert in_words(fitted, WORKLOAD) == in_words(proved, WORKLOAD)
    assert len(few) < len(many)


def test_runs_are_those_that_a_fitted_law_is_checked_on():
    """The scenario twice, every far value of each axis, and all axes moved at once."""
    code = Both(HEALTHY)
    (_, few), (_, many) = both_ways(code)
    assert SIZES == few[0] == few[-1]
    assert {64, 640, 4096} <= {sizes["pool"] for sizes in few}
    assert {1, 4, 128} <= {sizes["tokens"] for sizes in few}
    assert all(sizes in many for sizes in few)


def every_size():
    code = Both(HEALTHY)
    (_, few), _ = both_ways(code)
    return [sizes for number, sizes in enumerate(few) if sizes not in few[:number]]


@pytest.mark.parametrize("planted", every_size(), ids=str)
def test_one_byte_that_the_proof_does_not_have_brings_the_fit_back(planted):
    """Planted at any one of the sizes that are run: all that is said is the fit's own."""
    code = Both(HEALTHY, more=lambda sizes: int(sizes == planted))
    (proved, few), (fitted, many) = both_ways(code)
    assert in_words(fitted, WORKLOAD) == in_words(proved, WORKLOAD)
    assert is_fitted(few, many)


@pytest.mark.parametrize("far", [64, 4096])
def test_growth_with_the_pool_that_symbols_do_not_show_fails(far):
    """Code that does other things with plain numbers than with symbols is not believed."""
    code = Both(HEALTHY, more=lambda sizes: int(sizes["pool"] == far))
    (proved, _), _ = both_ways(code)
    assert Verdict.FAIL is judge(proved, WORKLOAD).verdict


def with_guard(formula):
    return {"guards": (Guard(Formula(formula)),)}


@pytest.mark.parametrize(
    "others",
    [
        with_guard("tokens < 10**9"),
        {"quantities": (Quantity("found", "what data decides", None, (Formula("tokens"),)),)},
        {"specialised": {"tokens": (4, None)}},
    ],
    ids=["a branch that was not tried", "what data decides", "a number"],
)
def test_a_proof_with_a_condition_is_fitted(others):
    code = Both(HEALTHY, **{k: v for k, v in others.items() if k != "specialised"})
    if "specialised" in others:
        plain = code.symbolic
        code.symbolic = lambda hints: replace(plain(hints), **others)
    (_, few), (_, many) = both_ways(code)
    assert many == few


@pytest.mark.parametrize(("beyond", "is_spared"), [(HEALTHY, True), (GROWING, False)])
def test_a_branch_with_another_law_is_a_condition(beyond, is_spared):
    """One with the same law on its other side is none."""
    code = Both(HEALTHY)

    def run(hints):
        is_large = hints.sizes["pool"] > 100
        guard = Guard(Formula("pool > 100" if is_large else "pool <= 100"))
        return symbolic(hints, HEALTHY if is_large else beyond, BOTH_FREED, guards=(guard,))

    code.symbolic = run
    (_, few), (_, many) = both_ways(code)
    assert is_spared == (not is_fitted(few, many))


def test_a_contract_that_runs_over_it_decide_is_fitted():
    """Which of them is named does not depend on a proof; at exactly the bound none is."""
    bound = Polynomial.of({("tokens",): 1024, ("tokens", "tokens"): 2, (): 512}, ("tokens",))
    for less, verdict in ((0, Verdict.PASS), (1, Verdict.FAIL)):
        limit = bound - Polynomial.of({(): less})
        contract = Contract(independent_of=("pool",), at_most=limit)
        workload = replace(WORKLOAD, contract=contract)
        (proved, few), (fitted, many) = both_ways(Both(HEALTHY), workload)
        assert in_words(fitted, workload) == in_words(proved, workload)
        assert is_fitted(few, many) == (verdict is Verdict.FAIL)
        assert verdict is judge(proved, workload).verdict


def test_bytes_below_the_peak_that_follow_the_pool_are_fitted():
    """How often they rise is what the verdict rests on."""
    below = [{("tokens",): 1}, {("pool",): 2}, {("pool",): 4096}]
    events = [("alloc", 1), ("free", 1), ("alloc", 0), ("free", 0), ("alloc", 2), ("free", 2)]
    free = replace(WORKLOAD, contract=Contract())
    (_, few), (_, many) = both_ways(Both(below, events=events), free)
    assert len(few) < len(many), "nothing is promised of the pool"
    cover = [{("pool",): 2}, {("tokens",): 10**6}]
    events = [("alloc", 0), ("free", 0), ("alloc", 1), ("free", 1)]
    (proved, _), (fitted, _) = both_ways(Both(cover, events=events))
    assert in_words(fitted, WORKLOAD) == in_words(proved, WORKLOAD)
    assert Verdict.FAIL is judge(proved, WORKLOAD).verdict


def test_a_probe_that_is_refused_brings_the_fit_and_its_note_back():
    code = Both(HEALTHY)
    plain = code.exact

    def run(sizes):
        if sizes["tokens"] == 128:
            raise LaneError("too many")
        return plain(sizes)

    code.exact = run
    (proved, _), (fitted, _) = both_ways(code)
    assert in_words(fitted, WORKLOAD) == in_words(proved, WORKLOAD)
    assert any("too many" in note for note in judge(proved, WORKLOAD).notes)


def test_code_that_keeps_state_is_seen_to():
    """The second run at the scenario takes less: what the first has made is there."""
    code = Both(HEALTHY)
    plain, seen = code.exact, []

    def run(sizes):
        seen.append(sizes)
        is_again = sizes == SIZES and seen.count(SIZES) > 1
        return plain(sizes) if not is_again else exact(sizes, [8, 8], BOTH_FREED)

    derivation = derive(run, WORKLOAD, SIZES, code.proof)
    assert "the same sizes gave" in derivation.unsteady


AXES = ("pool", "tokens")
AT = [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (2, 2)]


def told(requests, at):
    sizes = [dict(zip(AXES, point, strict=True)) for point in at]
    return tells(symbolic(Hints(SIZES), requests), sizes, AXES)


def test_as_many_independent_sizes_as_terms_tell_every_coefficient():
    """Six for a polynomial of degree two in two axes; with one less, another fits as well."""
    terms = [(), ("pool",), ("tokens",), ("pool", "pool"), ("pool", "tokens"), ("tokens",) * 2]
    whole = [dict.fromkeys(terms, 1)]
    assert told(whole, AT)
    assert not told(whole, AT[:-1])
    on_a_line = [(number, number) for number in range(1, 20)]
    assert not told(whole, on_a_line)
    assert told([{("pool",): 1}], on_a_line)


def test_an_axis_at_two_values_tells_no_polynomial():
    """Of degree two, which is as high as one may be: three values tell it."""
    assert told([{("pool",): 1}], [(1, 1), (2, 2), (3, 3)])
    assert not told([{("pool",): 1}], [(1, 1), (2, 2), (3, 2)])


RUN = exact(SIZES, [4096, 544], BOTH_FREED)
PROVED = symbolic(Hints(SIZES), HEALTHY, BOTH_FREED)


@pytest.mark.parametrize(
    "run",
    [
        exact(SIZES, [4096, 545], BOTH_FREED),
        exact(SIZES, [4096, 544], BOTH_FREED, lines=[0, 2]),
        exact(SIZES, [4096, 544], BOTH_FREED[:2]),
        exact(SIZES, [4096, 544], [BOTH_FREED[at] for at in (0, 2, 1, 3)]),
        exact(SIZES, [4096], [("alloc", 0), ("free", 0)]),
        replace(RUN, host=RUN),
        replace(RUN, pinned=RUN),
        replace(RUN, unrecorded=("a thread",)),
        replace(RUN, unseen=(Unseen("aten::sort", (), 1, "sorts"),)),
    ],
    ids=["a byte", "a line", "kept", "order", "fewer", "host", "pinned", "a thread", "unseen"],
)
def test_a_run_that_differs_in_anything_does_not_follow(run):
    assert follows(PROVED, RUN)
    assert not follows(PROVED, run)


def test_a_request_of_no_bytes_is_in_no_exact_run():
    proved = symbolic(Hints(SIZES), [{("tokens",): 8, (): -32}, {(): 512}], BOTH_FREED)
    run = exact(SIZES, [512], [("alloc", 0), ("free", 0)], lines=[1])
    assert follows(proved, run)


def test_an_axis_that_is_held_is_no_symbol():
    """What is no axis is a number in every run."""
    assert may_say_all(replace(PROVED, hints=Hints(SIZES, ("block_size",))), WORKLOAD)
    assert not may_say_all(replace(PROVED, hints=Hints(SIZES, ("tokens",))), WORKLOAD)
    assert not may_say_all(replace(PROVED, is_cut=True), WORKLOAD)
    assert not may_say_all(replace(PROVED, host=PROVED), WORKLOAD)
    assert not may_say_all(symbolic(Hints(SIZES), [{("other",): 8}]), WORKLOAD)


def test_an_axis_that_no_probe_moves_alone_is_fitted():
    """Its promise rests on runs that differ in nothing else."""
    near = replace(WORKLOAD, axes=(Axis("pool", step=64, far=(640,)), WORKLOAD.axes[1]))
    (proved, few), (fitted, many) = both_ways(Both(HEALTHY), near)
    assert in_words(fitted, near) == in_words(proved, near)
    assert is_fitted(few, many)


FALLING = [{("tokens",): 1024, ("pool", "tokens"): -1, ("pool",): 8}]


@pytest.mark.parametrize(
    ("requests", "rising"),
    [(GROWING, {"pool", "tokens"}), (HEALTHY, {"tokens"}), (FALLING, set())],
    ids=["both", "one", "neither, for sure"],
)
def test_a_peak_rises_for_ever_where_nothing_is_taken_away_in_a_proved_regime(requests, rising):
    """A fitted law says nothing of sizes that were not run."""
    free = replace(WORKLOAD, contract=Contract())
    events = [(kind, at) for kind, at in BOTH_FREED if at < len(requests)]
    (proved, _), (fitted, _) = both_ways(Both(requests, events=events), free)
    assert rising == {axis for axis in AXES if proved.rises_in(axis)}
    assert set() == {axis for axis in AXES if fitted.rises_in(axis)}
