"""What an exact run tells of a proved law's quantities, and where the two are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from symbolic_code import SIZES, WORKLOAD, exact, symbolic

from oom_suite.errors import LaneError
from oom_suite.laws.branches import Branch
from oom_suite.laws.closed_form import closed_form
from oom_suite.laws.proof import (
    FINITE_DIFFERENCES,
    DisagreementError,
    Proof,
    cross_check,
    prove,
    resolved,
    sample,
)
from oom_suite.records import Law, Polynomial
from oom_suite.records.symbolic import Formula, Guard, Hints, Quantity

FOUND = Quantity("found", "what data decides", None, (Formula("tokens"),))
ROUNDED = Quantity("rounded", "a function of the sizes", Formula("(tokens + 7)//8"))


def branch(requests, quantities=(FOUND,)):
    trace = symbolic(Hints(SIZES), requests, quantities=quantities)
    return Branch(*closed_form(trace), trace)


def told(requests, requested, quantities=(FOUND,), **others):
    """What a run of requests of so many bytes tells beyond the axes; None for nothing at all."""
    values = resolved(branch(requests, quantities), exact(SIZES, requested, **others))
    return {name: value for name, value in values.items() if name not in SIZES}


def test_a_request_that_is_a_multiple_of_a_quantity_tells_it():
    assert {"found": 3} == told([{("found",): 8}], [24])
    assert {"found": 3} == told([{("found",): 8, ("tokens",): 2, (): 1}], [24 + 8 + 1])
    assert {"found": 3} == told([{("found", "tokens"): 2}], [24])


def test_a_quantity_that_follows_from_the_axes_is_computed():
    assert {"rounded": 1} == told([{("rounded",): 64}], [64], quantities=(ROUNDED,))
    assert {"rounded": 1} == told([{("rounded", "rounded"): 64}], [64], quantities=(ROUNDED,))


def test_later_requests_must_fit_what_earlier_ones_told():
    requests = [{("found",): 8}, {("found",): 100}]
    assert {"found": 3} == told(requests, [24, 300])
    assert {} == told(requests, [24, 301])


def test_two_quantities_are_told_one_after_the_other():
    other = Quantity("other", "another", None)
    requests = [{("found",): 8}, {("found", "other"): 2}]
    assert {"found": 3, "other": 5} == told(requests, [24, 30], quantities=(FOUND, other))
    both = [{("found",): 8, ("other",): 8}]
    assert {} == told(both, [24], quantities=(FOUND, other))


@pytest.mark.parametrize(
    ("requests", "requested"),
    [
        ([{("found",): 8}], [25]),
        ([{("found", "found"): 8}], [72]),
        ([{("tokens",): 8}, {("found",): 8}], [33, 24]),
        ([{("found",): 8, (): 1}], []),
    ],
    ids=["no multiple", "a square", "another request before", "no request"],
)
def test_a_run_that_does_not_follow_the_proof_tells_nothing(requests, requested):
    assert {} == told(requests, requested)


def test_a_request_of_another_line_tells_nothing():
    assert {} == told([{("found",): 8}], [24], lines=[7])


def test_a_request_that_an_exact_run_lacks_had_no_bytes():
    """The share of one of several masks may be nothing: the next line's request comes instead."""
    other = Quantity("other", "another", None)
    requests = [{("found",): 8}, {("other",): 2}]
    assert {"found": 0} == told([{("found",): 8}], [])
    assert {"found": 3, "other": 0} == told(requests, [24], quantities=(FOUND, other))


def test_a_request_of_no_bytes_is_in_no_exact_run():
    """Where a quantity is zero, too, once it is known."""
    requests = [{("tokens",): 1, (): -4}, {("found",): 8}]
    assert {"found": 3} == told(requests, [24], lines=[1])


def proof_of(requests, quantities=(), guards=(), held=()):
    def run(hints):
        return symbolic(hints, requests, quantities=quantities, guards=guards)

    return prove(run, lambda sizes: exact(sizes, []), WORKLOAD, SIZES)


def test_sizes_at_which_nothing_can_be_compared_are_named_with_the_reason():
    proof = proof_of([{("found",): 8}], (FOUND,), guards=(Guard(Formula("tokens <= 64")),))
    points = [{"pool": 1, "tokens": number} for number in (1, 2, 100, 3)]

    def shadow(sizes):
        if sizes["tokens"] == 2:
            raise LaneError("too many for me")
        return exact(sizes, [8] if sizes["tokens"] == 1 else [9])

    found = cross_check(proof, shadow, points)
    assert (points[0],) == found.agreed
    assert [
        (points[1], "too many for me"),
        (points[3], "the run does not tell found"),
    ] == [one for one in found.skipped if one[0] != points[2]]


def test_sizes_that_no_branch_speaks_of_are_not_run():
    proof = proof_of([{("tokens",): 8}])
    assert proof.main is not None
    held = Branch(
        proof.main.law,
        proof.main.regimes,
        symbolic(Hints(SIZES), [], guards=(Guard(Formula("tokens <= 64")),)),
    )
    narrow = replace(proof, main=held)
    found = cross_check(narrow, lambda sizes: 1 / 0, [{"pool": 1, "tokens": 65}])
    assert "no branch that was explored speaks of them" == found.skipped[0][1]


@pytest.mark.parametrize(("found", "is_right"), [(4, True), (5, False)])
def test_a_quantity_beyond_its_bound_is_an_error_of_the_suite(found, is_right):
    """At four tokens there are at most four."""
    proof = proof_of([{("found",): 8}], (FOUND,))

    def shadow(sizes):
        return exact(sizes, [8 * found])

    if is_right:
        assert (SIZES,) == cross_check(proof, shadow, [SIZES]).agreed
    else:
        with pytest.raises(DisagreementError, match=r"found is 5 .* at most tokens"):
            cross_check(proof, shadow, [SIZES])


def test_sizes_to_compare_at_are_the_scenario_the_least_the_far_ones_and_some_at_random():
    proof = proof_of([{("tokens",): 8}])
    points = sample(WORKLOAD, proof)
    assert [
        SIZES,
        {"pool": 1, "tokens": 1},
        {"pool": 1, "tokens": 4},
        {"pool": 64, "tokens": 4},
        {"pool": 4096, "tokens": 4},
        {"pool": 640, "tokens": 1},
        {"pool": 640, "tokens": 1},
        {"pool": 640, "tokens": 128},
    ] == points[:8]
    assert 4 == len(points[8:])
    assert points == sample(WORKLOAD, proof)
    for point in points[8:]:
        assert 1 <= point["pool"] <= 4096
        assert 1 <= point["tokens"] <= 128
    assert 4 == len({tuple(point.items()) for point in points[8:]})


def test_a_fitted_law_is_known_without_a_run_on_symbols():
    law = Law((Polynomial.of({(): 8}),), SIZES)
    proof = Proof(law, (), FINITE_DIFFERENCES)
    assert (0, 0.0, "", (), ()) == (
        proof.num_runs,
        proof.elapsed_s,
        proof.reason,
        proof.guards,
        proof.branches,
    )
    assert proof.branch_at(SIZES) is None


def test_axes_that_the_law_holds_stay_where_sizes_are_compared():
    """The others are moved: to their least, to each far value alone, and four times at random."""
    proof = proof_of([{("tokens",): 8}])
    held = replace(proof, law=replace(proof.law, held={"pool": 640}))
    points = sample(WORKLOAD, held)
    assert {640} == {point["pool"] for point in points}
    assert [4, 1, 1, 1, 128] == [point["tokens"] for point in points[:5]]
    assert 4 == len(points[5:])


def test_sizes_that_cannot_be_built_are_not_compared_at():
    few = replace(WORKLOAD, settle=lambda sizes: dict(sizes) if sizes["tokens"] < 99 else None)
    points = sample(few, proof_of([{("tokens",): 8}]))
    assert all(point["tokens"] < 99 for point in points)
    assert 7 <= len(points) < 12


def test_a_slope_that_is_nothing_at_these_sizes_tells_nothing():
    """Five tokens and the coefficient is none; at four each byte counts."""
    requests = [{("found", "tokens"): 1, ("found",): -5, (): 7}]
    trace = replace(exact(SIZES, [7]), sizes={**SIZES, "tokens": 5})
    values = resolved(branch(requests), trace)
    assert "found" not in values
    assert {"found": 3} == told(requests, [7 - 3])


def test_the_lanes_disagreement_names_both_figures():
    proof = proof_of([{("tokens",): 8000}])
    with pytest.raises(DisagreementError) as error:
        cross_check(proof, lambda sizes: exact(sizes, [31999]), [SIZES])
    assert (
        "the lanes disagree at pool=640, tokens=4: prove says 32,000 bytes, shadow 31,999; "
        "this is an error of the suite: please report it with the subject"
    ) == str(error.value)
    with pytest.raises(DisagreementError) as error:
        cross_check(
            proof_of([{("found",): 8}], (FOUND,)), lambda sizes: exact(sizes, [8 * 5000]), [SIZES]
        )
    assert (
        "found is 5,000 in an exact run, and prove says at most tokens; this is an error of the "
        "suite: please report it"
    ) == str(error.value)
