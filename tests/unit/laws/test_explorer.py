"""Where a law is checked, and what is run beyond its guards."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import pytest
from heap import Code
from symbolic_code import SIZES, WORKLOAD, exact, line, symbolic

from oom_suite.errors import LaneError
from oom_suite.laws.evidence import Survey
from oom_suite.laws.explorer import LONGEST, Explorer, probes
from oom_suite.laws.grid import Grid
from oom_suite.laws.lengths import FEW
from oom_suite.laws.proof import prove
from oom_suite.records import Axis, Contract, Workload
from oom_suite.records.symbolic import Formula, Guard

POOLS = Workload(
    name="pools",
    axes=(
        Axis("pool", step=64, far=(64, 4096)),
        Axis("other", step=64, far=(32, 2048)),
        Axis("tokens", step=1, far=(1, 128)),
    ),
    builder="",
    contract=Contract(independent_of=("pool", "other")),
)
START = {"pool": 640, "other": 640, "tokens": 4}


def probed(workload, start):
    grid = Grid(Survey(Code(lambda heap, s: heap.passing("line", 8)), start), workload)
    return [list(choices) for choices in probes(workload, grid)]


def test_forbidden_axes_are_moved_alone_then_together_and_then_beside_every_other():
    found = probed(POOLS, START)
    alone = [{"pool": 64}, {"pool": 4096}, {"other": 32}, {"other": 2048}]
    largest, smallest = {"pool": 4096, "other": 2048}, {"pool": 64, "other": 32}
    assert [[{**START, **moved}] for moved in (*alone, largest, smallest)] == found[:6]
    assert [
        [{**START, "tokens": tokens, **largest}, {**START, "tokens": tokens}] for tokens in (1, 128)
    ] == found[6:8]


def test_every_axis_is_moved_at_once_three_times_nearby_and_three_times_far():
    near, far = probed(POOLS, START)[8:11], probed(POOLS, START)[11:]
    assert (3, 3) == (len(near), len(far))
    for (point,) in near:
        steps = [(point[axis.name] - START[axis.name]) / axis.step for axis in POOLS.axes]
        assert {1, 2, 3} >= set(steps)
    for (point,) in far:
        for axis in POOLS.axes:
            assert point[axis.name] in (START[axis.name], *axis.far)
    assert probed(POOLS, START)[8:] == [*near, *far]


def test_one_forbidden_axis_has_no_others_to_be_moved_with():
    found = probed(WORKLOAD, SIZES)
    assert [[{**SIZES, "pool": 64}], [{**SIZES, "pool": 4096}]] == found[:2]
    assert [[{"pool": 4096, "tokens": n}, {**SIZES, "tokens": n}] for n in (1, 128)] == found[2:4]


def explored(run, workload=WORKLOAD, max_runs=9):
    explorer = Explorer(run, workload, SIZES, max_runs)
    return explorer, explorer.explore(explorer.begin())


def guarded(*texts):
    """Code with one law whatever its guards say; each is told as it is true."""

    def run(hints):
        guards = []
        for number, text in enumerate(texts):
            formula = Formula(text)
            if formula.names <= hints.sizes.keys() and not formula(hints.sizes):
                formula = Formula(f"not ({text})")
            guards.append(Guard(formula, line(number)))
        return symbolic(hints, [{("tokens",): 8}], guards=tuple(guards))

    return run


def test_each_guard_is_tried_once_on_its_other_side():
    explorer, (branch,) = explored(guarded("tokens <= 64", "pool > 64"))
    assert () == branch.guards
    assert 3 == explorer.num_runs
    assert [] == explorer.notes


def test_a_branch_behind_a_branch_is_found():
    """The guards of what was found beyond a guard are tried, too."""

    def run(hints):
        tokens, pool = hints.sizes["tokens"], hints.sizes["pool"]
        if tokens <= 64:
            texts, request = ("tokens <= 64",), {("tokens",): 8}
        elif pool > 64:
            texts, request = ("tokens > 64", "pool > 64"), {("tokens",): 16}
        else:
            texts, request = ("tokens > 64", "pool <= 64"), {("tokens",): 32}
        guards = tuple(Guard(Formula(text), line(7)) for text in texts)
        return symbolic(hints, [request], guards=guards)

    _, found = explored(run)
    assert ["8*tokens", "16*tokens", "32*tokens"] == [str(one.law) for one in found]


def test_a_guard_on_a_quantity_is_left_to_the_law():
    """No sizes decide it."""
    explorer, (branch,) = explored(guarded("found <= 8"))
    assert (["found <= 8"], 1) == ([str(g.formula) for g in branch.guards], explorer.num_runs)
    explorer, (branch,) = explored(
        guarded("found <= 8", "tokens <= 64", "pool < pool + 1", "pool > 64")
    )
    assert ["found <= 8", "pool < pool + 1"] == [str(g.formula) for g in branch.guards]
    assert 3 == explorer.num_runs


def test_a_side_that_cannot_be_run_is_noted_with_its_guard():
    def run(hints):
        if hints.sizes["tokens"] > 64:
            raise LaneError("too many")
        guard = Guard(Formula("tokens <= 64"), line(7))
        return symbolic(hints, [{("tokens",): 8}], guards=(guard,))

    explorer, (branch,) = explored(run)
    assert ["tokens <= 64"] == [str(guard.formula) for guard in branch.guards]
    assert [f"where tokens <= 64 at {line(7)} is false, it cannot be run: too many"] == (
        explorer.notes
    )


def test_no_more_is_run_than_is_allowed_and_what_was_left_out_is_noted():
    explorer, _ = explored(guarded("tokens <= 64", "pool > 64"), max_runs=2)
    assert 2 == explorer.num_runs
    assert [
        f"where pool > 64 at {line(1)} is false, nothing was run: 2 runs were made"
    ] == explorer.notes


def turning(axis="tokens", law=lambda size: {("pool",): 8}):
    """Code that makes a number of an axis, and its law for each."""

    def run(hints):
        size = hints.sizes[axis]
        trace = symbolic(hints, [law(size)])
        return replace(trace, specialised={axis: (size, line(3))})

    return run


def test_an_axis_that_the_code_makes_a_number_has_the_scenarios_value():
    """And the line that made it one; elsewhere the same law holds at its far values."""
    explorer, (main, *others) = explored(turning())
    assert {"tokens": (4, line(3))} == explorer.held
    assert {"tokens": 4} == main.law.held
    assert [{"tokens": 1}, {"tokens": 128}] == [one.law.held for one in others]
    assert ["the same law at tokens=1", "the same law at tokens=128"] == explorer.notes


def test_another_value_of_a_held_axis_may_have_another_law():
    explorer, (main, *others) = explored(turning(law=lambda size: {("pool",): size}))
    assert "4*pool" == str(main.law)
    assert ["pool", "128*pool"] == [str(one.law) for one in others]
    assert [] == explorer.notes


def test_the_law_of_a_proof_names_the_scenario_and_its_runs():
    proof = prove(turning(), lambda sizes: exact(sizes, []), WORKLOAD, SIZES)
    assert (SIZES, {"tokens": 4}) == (proof.law.sizes, proof.law.held)
    assert proof.num_runs == proof.law.num_runs == 4
    assert proof.branches[0] is proof.branch_at({"pool": 9, "tokens": 1})
    assert proof.branch_at({"pool": 9, "tokens": 2}) is None


def test_code_that_runs_on_symbols_nowhere_is_an_error_of_the_first_run():
    def run(hints):
        raise LaneError("no symbols here")

    with pytest.raises(LaneError, match="no symbols here"):
        Explorer(run, WORKLOAD, SIZES, 9).begin()


def test_hints_hold_what_the_workload_does_not_move():
    seen = []

    def run(hints):
        seen.append(hints)
        return symbolic(hints, [{("tokens",): 8}])

    Explorer(run, WORKLOAD, {**SIZES, "block_size": 64}, 9).begin()
    (hints,) = seen
    assert (("block_size",), 64) == (hints.held, hints.sizes["block_size"])
    assert {"pool": 1, "tokens": 1} == hints.lower


def test_the_scenarios_own_value_of_a_held_axis_is_no_other_branch():
    """The scenario is at the least of the far values: the other alone is beyond it."""
    explorer = Explorer(turning(), WORKLOAD, {**SIZES, "tokens": 1}, 9)
    main, *others = explorer.explore(explorer.begin())
    assert ({"tokens": 1}, [{"tokens": 128}]) == (main.law.held, [one.law.held for one in others])
    assert ["the same law at tokens=128"] == explorer.notes


def test_a_value_of_a_held_axis_that_cannot_be_run_is_noted_and_the_next_is_tried():
    def run(hints):
        if hints.sizes["tokens"] == 1:
            raise LaneError("too few")
        return turning()(hints)

    explorer, (_, *others) = explored(run)
    assert [{"tokens": 128}] == [one.law.held for one in others]
    assert ["at tokens=1, it cannot be run: too few", "the same law at tokens=128"] == (
        explorer.notes
    )


def test_a_value_of_a_held_axis_that_cannot_be_built_is_left_out():
    few = replace(WORKLOAD, settle=lambda sizes: dict(sizes) if sizes["tokens"] < 99 else None)
    explorer, (_, *others) = explored(turning(), few)
    assert [{"tokens": 1}] == [one.law.held for one in others]
    without_far = replace(WORKLOAD, axes=tuple(replace(axis, far=()) for axis in WORKLOAD.axes))
    explorer, branches = explored(turning(), without_far)
    assert (1, []) == (len(branches), explorer.notes)


def test_a_law_that_only_covers_the_first_is_not_the_same():
    """Neither the larger nor the smaller one is."""
    for here, there in ((8, 9), (9, 8)):
        run = turning(law=lambda size, here=here, there=there: {
            ("pool",): here if size == 4 else there
        })  # fmt: skip
        explorer, _ = explored(run)
        assert [] == explorer.notes


def test_one_axis_after_another_is_held_as_the_code_makes_numbers_of_them():
    """Held ones have the scenario's value in the next run."""

    def run(hints):
        seen.append((hints.held, dict(hints.sizes)))
        trace = symbolic(hints, [{("tokens",): 8}])
        axis = "pool" if len(seen) == 1 else "tokens"
        specialised = {"pool": (hints.sizes["pool"], line(1))}
        if axis == "tokens":
            specialised["tokens"] = (hints.sizes["tokens"], line(2))
        return replace(trace, specialised=specialised)

    seen = []
    explorer = Explorer(run, WORKLOAD, SIZES, 9)
    explorer.begin()
    assert [
        ((), {"pool": 704, "tokens": 5}),
        (("pool",), {"pool": 640, "tokens": 5}),
        (("pool", "tokens"), {"pool": 640, "tokens": 4}),
    ] == seen
    assert {"pool": (640, line(1)), "tokens": (4, line(2))} == explorer.held


@pytest.mark.parametrize(("number", "held"), [(3, 3), (4, 4), (5, 4)])
def test_up_to_four_axes_are_held_one_after_the_other(number, held):
    """Each takes another run; a fifth stays what the fourth run made of it."""
    names = [f"axis_{at}" for at in range(number)]
    workload = replace(WORKLOAD, axes=tuple(Axis(name, step=1, far=(1,)) for name in names))

    def run(hints):
        found = names[: len(hints.held) + 1]
        trace = symbolic(hints, [])
        return replace(trace, specialised={name: (hints.sizes[name], None) for name in found})

    explorer = Explorer(run, workload, dict.fromkeys(names, 7), 99)
    explorer.begin()
    assert (names[:held], held + 1) == (list(explorer.held), explorer.num_runs)


def looped(hints, *, turned_by=("tokens",), num_fixed=0, refuses=lambda sizes: False):
    """Code that makes numbers of axes and runs one operator for each turn over them."""
    if refuses(hints.sizes):
        raise LaneError("not so few")
    made = {axis: (hints.sizes[axis], line(1)) for axis in turned_by if axis not in hints.held}
    num_turns = num_fixed + math.prod(hints.sizes[axis] for axis in turned_by)
    is_cut = bool(hints.longest) and num_turns > hints.longest
    requests = [{(): 8 * num_turns}]
    trace = symbolic(hints, [] if is_cut else requests)
    return replace(trace, specialised=made, is_cut=is_cut)


def begun(run, sizes):
    asked = []

    def noted(hints):
        asked.append(dict(hints.sizes))
        return run(hints)

    explorer = Explorer(noted, WORKLOAD, sizes, 16)
    return explorer, explorer.begin(), asked


@pytest.mark.parametrize(("tokens", "held"), [(LONGEST, LONGEST), (LONGEST + 1, FEW)])
def test_a_loop_is_run_for_a_few_turns_where_it_is_longer_than_is_wanted(tokens, held):
    explorer, branch, asked = begun(looped, {**SIZES, "tokens": tokens})
    assert {"tokens": (held, line(1))} == explorer.held
    assert f"{8 * held}" == str(branch.law)
    assert held == asked[-1]["tokens"]


def test_beside_a_few_turns_only_fewer_are_tried():
    """The farthest are 128 turns for 4: they would be cut, as those of the scenario were."""
    explorer = Explorer(looped, WORKLOAD, {**SIZES, "tokens": 1000}, 16)
    found = explorer.explore(explorer.begin())
    assert [{"tokens": FEW}, {"tokens": 1}] == [branch.law.held for branch in found]


def test_nested_loops_are_run_for_a_few_turns_each():
    run = functools.partial(looped, turned_by=("pool", "tokens"))
    explorer, branch, _ = begun(run, {"pool": 640, "tokens": 1000})
    assert {"pool": FEW, "tokens": FEW} == {axis: n for axis, (n, _) in explorer.held.items()}
    assert f"{8 * FEW * FEW}" == str(branch.law)


def test_long_code_that_no_axis_turns_is_run_to_its_end_at_the_scenario():
    run = functools.partial(looped, num_fixed=5000)
    explorer, branch, asked = begun(run, {**SIZES, "tokens": 100})
    assert {"tokens": (100, line(1))} == explorer.held
    assert (f"{8 * 5100}", 100) == (str(branch.law), asked[-1]["tokens"])


def test_code_that_refuses_a_few_turns_is_run_to_its_end_at_the_scenario():
    run = functools.partial(looped, refuses=lambda sizes: sizes["tokens"] < 64)
    explorer, branch, _ = begun(run, {**SIZES, "tokens": 1000})
    assert {"tokens": (1000, line(1))} == explorer.held
    assert "8000" == str(branch.law)


def test_a_side_that_is_cut_is_noted_and_says_nothing():
    def run(hints):
        trace = symbolic(hints, [{("tokens",): 8}], guards=(Guard(Formula("pool > 64"), line(7)),))
        return replace(trace, is_cut=hints.sizes["pool"] <= 64)

    explorer, (branch,) = explored(run)
    assert ["pool > 64"] == [str(guard.formula) for guard in branch.guards]
    assert [f"where pool > 64 at {line(7)} is false, it was not run to its end, which is far"] == (
        explorer.notes
    )
