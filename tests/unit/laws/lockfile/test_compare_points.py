"""At which sizes a law is held against the locked one, and with which quantities."""

from __future__ import annotations

from dataclasses import replace

from oom_suite.laws.contracts import parse_polynomial
from oom_suite.laws.lockfile.compare import points, quantities

SIZES = {"pool": 1000, "t": 4, "k": 8, "block_size": 64}


def test_quantities_are_given_the_values_that_speak_against_growth():
    """New ones none, old ones more than can be, those of both laws small and large alike."""
    sizes = {"t": 4}
    assert [{}] == quantities(["t"], ["t"], sizes)
    assert [{"new": 0, "old": 2**50}] == quantities(["t", "new"], ["old"], sizes)
    assert [
        {"new": 0, "both": 1},
        {"new": 0, "both": 2**12},
        {"new": 0, "both": 2**24},
    ] == quantities(["new", "both"], ["both"], sizes)


def points_of(workload, formula, *others, held=(), scenarios=(), **sizes):
    start = {**SIZES, **sizes}
    return list(
        points(
            parse_polynomial(formula, list(SIZES)),
            [parse_polynomial(text, list(SIZES)) for text in others],
            workload,
            start,
            {axis: start[axis] for axis in held},
            scenarios,
        )
    )


def test_points_are_the_scenarios_then_the_corners_then_each_term_doubled(workload):
    """Axes that no formula names, or that are held, stay; the others are small beside a term."""
    there = {**SIZES, "t": 77}
    found = points_of(workload, "t", "k", scenarios=[there], pool=500)
    start = {**SIZES, "pool": 500}
    assert [start, {**there}] == found[:2]
    corners = [{**start, "t": t, "k": k} for t in (1, 4, 128) for k in (1, 8, 512)]
    assert corners == found[2:11]
    assert [{**start, "t": 128 << n, "k": 1} for n in range(1, 25)] == found[11:]


def test_a_held_axis_stays_and_sizes_that_move_it_or_cannot_be_built_are_left_out(workload):
    found = points_of(workload, "t*k", held=["k"], scenarios=[{"k": 9, "t": 2}])
    assert {8} == {point["k"] for point in found}
    assert [{**SIZES, "t": 2}, {**SIZES, "t": 1}] == found[1:3]
    pools = points_of(workload, "pool")
    assert [1000, 1, 1000, 4096, *(4096 << n for n in range(1, 9))] == [p["pool"] for p in pools]

    def moving(sizes):
        return {**sizes, "k": sizes["k"] + (sizes["t"] > 100)}

    found = points_of(replace(workload, settle=moving), "t", held=["k"])
    assert [4, 1, 4] == [point["t"] for point in found]
