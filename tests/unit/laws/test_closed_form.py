"""Laws from symbolic traces, without torch."""

from __future__ import annotations

import pytest

from oom_suite.errors import LaneError
from oom_suite.laws.branches import distinct_hints, other_side
from oom_suite.laws.closed_form import closed_form, same_law, term_lines
from oom_suite.laws.derive import derive
from oom_suite.laws.proof import (
    CLOSED_FORM,
    FINITE_DIFFERENCES,
    DisagreementError,
    cross_check,
    prove,
)
from oom_suite.records import Allocation, Axis, Contract, Event, Frame, Polynomial, Trace, Workload
from oom_suite.records.symbolic import (
    Formula,
    Guard,
    Hints,
    Quantity,
    SymbolicAllocation,
    SymbolicTrace,
)

WORKLOAD = Workload(
    name="code",
    axes=(
        Axis("pool", step=64, far=(64, 4096)),
        Axis("tokens", step=1, far=(1, 128)),
    ),
    builder="",
    contract=Contract(independent_of=("pool",)),
)
SIZES = {"pool": 640, "tokens": 4}
ORDER = ("pool", "tokens")


def line(number):
    return Frame("code.py", number, "code")


def symbolic(hints, requests, events, **others):
    """A trace whose n-th request stands at line n."""
    allocations = tuple(
        SymbolicAllocation(Polynomial.of(terms, ORDER), "op", (line(number),))
        for number, terms in enumerate(requests)
    )
    return SymbolicTrace(hints, {}, allocations, tuple(events), **others)


ALLOC = [("alloc", 0), ("alloc", 1), ("free", 0), ("alloc", 2)]
REQUESTS = [{("pool",): 8}, {("tokens",): 2}, {("tokens",): 100}]


def exact(sizes, requests=REQUESTS, events=ALLOC):
    """The shadow lane's trace of the same code."""
    allocations = tuple(
        Allocation(int(Polynomial.of(terms)(sizes)), "op", (line(number),))
        for number, terms in enumerate(requests)
    )
    return Trace("shadow", sizes, allocations, tuple(Event(*event) for event in events))


def whole(hints):
    return symbolic(hints, REQUESTS, ALLOC)


def test_live_sums_that_another_covers_are_left_out():
    """Of three live sums, the two that can win are the law."""
    law, _ = closed_form(whole(Hints(SIZES)))
    assert {"8*pool + 2*tokens", "102*tokens"} == {str(regime) for regime in law.regimes}


def test_every_term_names_the_lines_that_make_it():
    """A coefficient that two lines share is split between them."""
    _, regimes = closed_form(whole(Hints(SIZES)))
    shared = next(r for r in regimes if str(r.polynomial) == "102*tokens")
    (term,) = term_lines(shared)
    assert [(2, "100*tokens"), (1, "2*tokens")] == [(f.line, str(p)) for f, p in term.lines]


def test_requests_of_one_line_are_told_apart_by_their_order():
    """The first, the second, and another line's first."""
    allocations = tuple(
        SymbolicAllocation(Polynomial.of({("tokens",): 8}), "op", (line(number),))
        for number in (1, 1, 2)
    )
    trace = SymbolicTrace(Hints(SIZES), {}, allocations, tuple(("alloc", n) for n in range(3)))
    ((regime,),) = closed_form(trace)[1:]
    sites = [(place[1][0].line, number) for (place, number), _ in regime.live]
    assert [(1, 0), (1, 1), (2, 0)] == sites
    assert (2, 0) == (regime.site[0][1][0].line, regime.site[1])


def test_laws_agree_where_they_hold_an_axis():
    """A law at tokens=1 is the general one, seen there."""
    general, _ = closed_form(whole(Hints(SIZES)))
    fixed = [{("pool",): 8}, {(): 2}, {(): 100}]
    held, _ = closed_form(symbolic(Hints({**SIZES, "tokens": 1}, ("tokens",)), fixed, ALLOC))
    assert same_law(general, held, {"pool": 1, "tokens": 1})
    other, _ = closed_form(
        symbolic(Hints({**SIZES, "tokens": 1}, ("tokens",)), [*fixed[:2], {(): 101}], ALLOC)
    )
    assert not same_law(general, other, {"pool": 1, "tokens": 1})


def test_hints_are_products_of_distinct_primes():
    """No hint equals another, nor a product of the axes' steps by accident."""
    assert {"pool": 64 * 11, "tokens": 5} == distinct_hints(WORKLOAD, SIZES)


def test_the_other_side_of_a_guard_is_near():
    """One axis is moved, as little as is needed."""
    guard = Guard(Formula("pool <= 64*tokens*1000"))
    assert other_side(Guard(Formula("tokens >= 2")), WORKLOAD, SIZES) == {**SIZES, "tokens": 1}
    beyond = other_side(guard, WORKLOAD, SIZES)
    assert not guard.formula(beyond)


def branching(hints):
    """Code with one formula up to 64 tokens and another beyond."""
    small = hints.sizes["tokens"] <= 64
    requests = [{("tokens",): 8}] if small else [{("pool",): 3}]
    guard = Guard(Formula("tokens <= 64" if small else "tokens > 64"), line(1))
    return symbolic(hints, requests, [("alloc", 0)], guards=(guard,))


def test_a_guard_that_matters_stays_and_the_other_law_stands_beside():
    """Both laws are found, each with its own guard, and sizes find theirs."""
    proof = prove(branching, lambda: derive(exact, WORKLOAD, SIZES), WORKLOAD, SIZES)
    assert ["tokens <= 64"] == [str(guard.formula) for guard in proof.guards]
    (other,) = proof.branches
    assert "3*pool" == str(other.law)
    assert other is proof.branch_at({**SIZES, "tokens": 65})
    assert "8*tokens" == str(proof.branch_at(SIZES).law)


def test_a_guard_that_does_not_matter_is_dropped():
    """The same law on both sides: nothing is assumed."""

    def run(hints):
        one = hints.sizes["tokens"] == 1
        guard = Guard(Formula("tokens == 1" if one else "tokens != 1"))
        return symbolic(hints, REQUESTS, ALLOC, guards=(guard,))

    proof = prove(run, lambda: derive(exact, WORKLOAD, SIZES), WORKLOAD, SIZES)
    assert ((), (), 2) == (proof.guards, proof.branches, proof.num_runs)


def test_code_that_cannot_run_on_symbols_is_fitted():
    """The result says how its law was found, and why not otherwise."""

    def run(hints):
        raise LaneError("the code needs a number that data decides at code.py:3 (code)")

    proof = prove(run, lambda: derive(exact, WORKLOAD, SIZES), WORKLOAD, SIZES)
    assert proof.how == FINITE_DIFFERENCES
    assert "code.py:3" in proof.reason
    assert {"8*pool + 2*tokens", "102*tokens"} == {str(r) for r in proof.law.regimes}


def test_lanes_that_agree_say_where():
    """Every size compared is told."""
    proof = prove(whole, lambda: derive(exact, WORKLOAD, SIZES), WORKLOAD, SIZES)
    points = [SIZES, {"pool": 1, "tokens": 1}, {"pool": 64, "tokens": 128}]
    assert (tuple(points), CLOSED_FORM) == (cross_check(proof, exact, points).agreed, proof.how)


def test_a_disagreement_is_loud():
    """One byte is too many: the sizes and both figures are in one line."""
    proof = prove(whole, lambda: derive(exact, WORKLOAD, SIZES), WORKLOAD, SIZES)

    def wrong(sizes):
        return exact(sizes, [*REQUESTS[:2], {("tokens",): 100, (): 1}])

    with pytest.raises(DisagreementError, match=r"at pool=1, tokens=3: .* 306 bytes, shadow 307"):
        cross_check(proof, wrong, [{"pool": 1, "tokens": 3}])


def test_quantities_of_data_are_read_from_the_exact_run():
    """A request that is a multiple of one tells it; beyond its bound is an error."""
    quantity = Quantity("found", "what data decides", None, (Formula("tokens"),))
    requests = [{("found",): 8}, {("found",): 100}]
    events = [("alloc", 0), ("alloc", 1)]
    proof = prove(
        lambda hints: symbolic(hints, requests, events, quantities=(quantity,)),
        lambda: derive(exact, WORKLOAD, SIZES),
        WORKLOAD,
        SIZES,
    )

    def run(number):
        return lambda sizes: Trace(
            "shadow",
            sizes,
            tuple(Allocation(n * number, "op", (line(i),)) for i, n in enumerate((8, 100))),
            tuple(Event(*event) for event in events),
        )

    assert cross_check(proof, run(3), [SIZES]).agreed == (SIZES,)
    with pytest.raises(DisagreementError, match=r"found is 5 .* at most tokens"):
        cross_check(proof, run(5), [SIZES])
