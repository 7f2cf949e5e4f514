"""Sizes that data decides: the shadow lane has the most that they can be, and never a drawn one."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from lane_traces import trace_in

from oom_suite.errors import LaneError
from oom_suite.laws.closed_form import closed_form
from oom_suite.records import Trace
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.data_sizes import keeps_every_entry
from oom_suite.tracing.lane_spec import EACH, HALF, MOST, NONE, ONE, LaneSpec, to_part
from oom_suite.tracing.lanes import RunningLane
from oom_suite.tracing.shadow import ShadowLane

ROOT = Path(__file__).parent
NUM_TOKENS, NUM_EXPERTS = 12, 4


def by_expert(x, chosen):
    out = torch.zeros_like(x)
    for expert in range(NUM_EXPERTS):
        rows = torch.where(chosen == expert)[0]
        out.index_add_(0, rows, x[rows] * 2)
    return out


def skipping_the_idle(x, chosen):
    out = torch.zeros_like(x)
    for expert in range(NUM_EXPERTS):
        rows = (chosen == expert).nonzero()[:, 0]
        if rows.numel() == 0:
            continue
        out.index_add_(0, rows, x[rows] * 2)
    return out


PROGRAMS = {
    "nonzero": lambda x, chosen: torch.nonzero(x),
    "nonzero of a tuple": lambda x, chosen: torch.nonzero(x, as_tuple=True),
    "argwhere": lambda x, chosen: torch.argwhere(x > 0),
    "where": lambda x, chosen: torch.where(x > 0),
    "a mask": lambda x, chosen: x[x[:, 0] > 0],
    "a mask of columns": lambda x, chosen: x[:, x[0] > 0] * 2,
    "a mask in the builder's type": lambda x, chosen: x[(x[:, 0] > 0).byte().bool()] + 1,
    "masked_select": lambda x, chosen: torch.masked_select(x, x > 0).sum(),
    "masked_select by rows": lambda x, chosen: torch.masked_select(x, x[:, :1] > 0),
    "masked_select of one column": lambda x, chosen: torch.masked_select(x[:, :1], x > 0).sum(),
    "a write under a mask": lambda x, chosen: x.clone().__setitem__(x > 0, x[x > 0] * 2),
    "nonzero_static": lambda x, chosen: torch.nonzero_static(x, size=3),
    "index_add": lambda x, chosen: x.index_add(
        0, (x[:, 0] > 0).nonzero()[:, 0], x[(x[:, 0] > 0).nonzero()[:, 0]]
    ),
    "experts": by_expert,
    "experts that skip": skipping_the_idle,
    "a list": lambda x, chosen: torch.cat(
        [x[chosen == expert] * 2 for expert in range(NUM_EXPERTS)]
    ),
    "both sides of a mask": lambda x, chosen: torch.cat([x[(m := x[:, 0] > 0)], x[~m]]),
    "bincount": lambda x, chosen: torch.bincount(x.argmax(-1), minlength=x.shape[1]),
    "tensors compared": lambda x, chosen: x[(chosen < chosen + 1) & (x[:, 0] != 0)] + 1,
}


def ones(device):
    """Every mask above is true, and every token chooses the first expert."""
    x = torch.ones(NUM_TOKENS, 8, device=device)
    return x, torch.zeros(NUM_TOKENS, dtype=torch.int64, device=device)


def drawn(device):
    """Nobody knows these values where there is no memory."""
    x = torch.randn(NUM_TOKENS, 8, device=device)
    return x, torch.randint(0, NUM_EXPERTS, (NUM_TOKENS,), device=device)


def drawn_rows(device):
    return (torch.randn(4, 8, device=device),)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_the_worst_case_is_what_data_can_reach(program):
    """A real run whose data chooses all that it may takes the predicted bytes, no more, no less."""
    real = trace_in("measure", program, ones)
    assert real.peak().num_bytes == trace_in("shadow", program, drawn).peak().num_bytes


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_no_data_takes_more_than_the_worst_case(program):
    """Real runs on what was drawn stay below it, and some do not reach it."""
    bound_bytes = trace_in("shadow", program, drawn).peak().num_bytes
    for seed in range(8):
        torch.manual_seed(seed)
        assert trace_in("measure", program, drawn).peak().num_bytes <= bound_bytes


UNIQUES = {
    "unique": lambda x: torch.unique(x),
    "unique with inverse": lambda x: torch.unique(x, return_inverse=True),
    "unique with counts": lambda x: torch.unique(x, return_counts=True),
    "unique_consecutive": lambda x: torch.unique_consecutive(x, return_counts=True),
    "repeat_interleave": lambda x: torch.repeat_interleave(x % 4),
}


@pytest.mark.parametrize("program", UNIQUES.values(), ids=UNIQUES)
def test_distinct_values_are_at_most_as_many_as_there_are(program):
    """Values that all differ take what is predicted for values that are not known."""
    reached = torch.arange(NUM_TOKENS)
    if "repeat" in next(name for name, one in UNIQUES.items() if one is program):
        reached = torch.full((NUM_TOKENS,), 3)
    real = trace_in("measure", program, lambda device: (reached.clone(),))
    fake = trace_in("shadow", program, lambda device: (torch.randperm(NUM_TOKENS, device=device),))
    assert real.peak().num_bytes == fake.peak().num_bytes


ROWS_OF = lambda x: torch.unique(x.view(4, 3), dim=0)  # noqa: E731


def test_distinct_rows_are_at_most_as_many_as_there_are(shadow):
    """A GPU makes no positions and counts of rows unless it is asked for them; a CPU does."""
    on_gpu = shadow(ROWS_OF, lambda device: (torch.randperm(NUM_TOKENS, device=device),))
    on_cpu = shadow(ROWS_OF, lambda device: (torch.randperm(NUM_TOKENS),))
    assert [NUM_TOKENS * 8] == [a.requested_bytes for a in on_gpu.allocations]
    assert [4] == [size.at_most for size in on_cpu.data_sizes]


def test_a_range_bounds_how_many_distinct_values_there_are(shadow):
    """Numbers drawn below 5 have at most 5 distinct ones, however many are drawn."""
    trace = shadow(
        lambda x: torch.unique(x) + 0,
        lambda device: (torch.randint(2, 5, (NUM_TOKENS,), device=device),),
    )
    (size,) = trace.data_sizes
    assert (3, "aten::_unique2") == (size.at_most, size.op)
    assert 3 * 8 == trace.allocations[-1].requested_bytes


def test_what_data_decides_is_named_with_its_line(shadow):
    """Each line has one clause: the operator, where it is, and what it gives at most."""
    trace = shadow(by_expert, drawn)
    (size,) = trace.data_sizes
    assert ("aten::nonzero", NUM_TOKENS, NUM_EXPERTS) == (size.op, size.at_most, size.num_parts)
    assert str(size) == (
        f"aten::nonzero at {size.stack[0]} gives at most 12 entries in 4 calls together: "
        "the worst case"
    )
    assert trace.data_sizes == Trace.from_json(trace.to_json()).data_sizes


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_two_runs_are_one(program):
    """What random operators would draw is in no trace: two runs are equal, event by event."""
    lane = ShadowLane(ROOT)

    def build(sizes, device):
        inputs = drawn(device)
        return lambda: program(*inputs)

    assert lane.run(build, {}).to_json() == lane.run(build, {}).to_json()


DRAWS = {
    "rand": lambda device: torch.rand(4, device=device),
    "randn": lambda device: torch.randn(4, device=device),
    "randint": lambda device: torch.randint(0, 4, (4,), device=device),
    "randperm": lambda device: torch.randperm(4, device=device),
    "bernoulli": lambda device: torch.full((4,), 0.5, device=device).bernoulli(),
    "multinomial": lambda device: torch.ones(4, device=device).multinomial(1),
    "dropout": lambda device: torch.nn.functional.dropout(torch.ones(4, device=device)),
    "uniform_": lambda device: torch.zeros(4, device=device).uniform_(),
    "normal_": lambda device: torch.zeros(4, device=device).normal_(),
    "random_": lambda device: torch.zeros(4, dtype=torch.int64, device=device).random_(0, 4),
    "rand_like": lambda device: torch.rand_like(torch.zeros(4, device=device)),
    "computed": lambda device: torch.rand(4, device=device).argsort() + 1,
    "uninitialised": lambda device: torch.empty(4, device=device),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_what_is_drawn_is_not_known(shadow, draw):
    """To read it on the host is refused, even where the tensor is small."""
    with pytest.raises(LaneError, match="a value that exists only on a device"):
        shadow(lambda x: x.max().item(), lambda device: (draw(device),))


STAND_INS = {
    "zeros": lambda device: torch.zeros(4, device=device),
    "ones": lambda device: torch.ones(4, device=device),
    "full": lambda device: torch.full((4,), 2.0, device=device),
    "arange": lambda device: torch.arange(4.0, device=device),
    "computed": lambda device: torch.ones(4, device=device).cumsum(0) - 1,
    "numpy": lambda device: torch.from_numpy(numpy.ones(4)).to(device),
}


@pytest.mark.parametrize("make", STAND_INS.values(), ids=STAND_INS)
def test_floats_that_a_builder_makes_of_nothing_choose_nothing(shadow, make):
    """They stand in place of activations: a mask over them has its worst case."""
    trace = shadow(lambda x: x[x > 5], lambda device: (make(device),))
    assert [4] == [size.at_most for size in trace.data_sizes]


VALUES = {
    "one number": lambda device: torch.full((1,), 2.0, device=device),
    "a literal": lambda device: torch.tensor([2.0, 1.0], device=device),
    "of index data": lambda device: torch.full((4,), 2, device=device).float(),
    "of a generator": lambda device: torch.rand(4, generator=torch.Generator()).clamp(2.0, 2.0),
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_floats_that_mean_something_are_known(shadow, make):
    """A scale, a literal, and statistics of index data may be read."""
    seen = []
    shadow(lambda x: seen.append(x.max().item()), lambda device: (make(device),))
    assert [2.0] == seen


def test_floats_that_the_code_makes_are_known(shadow):
    """What the code under test makes of nothing is what it says."""
    seen = []
    shadow(lambda x: seen.append(torch.ones(4, device=x.device).sum().item()), drawn_rows)
    assert [4.0] == seen


def test_a_generator_of_the_code_is_known(shadow):
    """What a seeded generator gives is the same in every run, and index data like any other."""
    seen = []

    def make(device):
        generator = torch.Generator().manual_seed(7)
        return (torch.randint(0, 100, (4,), generator=generator),)

    shadow(lambda x: seen.append(x.tolist()), make)
    assert (
        torch.randint(0, 100, (4,), generator=torch.Generator().manual_seed(7)).tolist()
        == (seen[0])
    )


def run_with(choice, program, make=drawn):
    lane = ShadowLane(ROOT)

    def build(sizes, device):
        inputs = make(device)
        return lambda: program(*inputs)

    return [a.requested_bytes for a in lane.run(build, {}, choice).allocations]


SHARES = {
    MOST: [12, 0, 0, 0],
    EACH: [12, 12, 12, 12],
    HALF: [6, 6, 0, 0],
    ONE: [1, 1, 1, 1],
    NONE: [0, 0, 0, 0],
    to_part(1): [0, 12, 0, 0],
    to_part(3): [0, 0, 0, 12],
    to_part(9): [0, 0, 0, 12],
}


@pytest.mark.parametrize(("choice", "shares"), SHARES.items(), ids=SHARES)
def test_a_choice_says_who_gets_how_much(choice, shares):
    """One whole is shared out among its masks; only `EACH` gives all of it to all."""
    sizes = []
    run_with(
        choice,
        lambda x, chosen: sizes.extend(
            torch.where(chosen == expert)[0].shape[0] for expert in range(NUM_EXPERTS)
        ),
    )
    # The part that comes at a number is known from a call before.
    assert shares == sizes[-NUM_EXPERTS:]


def test_a_part_that_the_call_before_did_not_ask_for_gets_nothing():
    """Where all goes to another part, which that call had."""
    sizes = []

    def program(_x, chosen):
        num_parts = 3 if sizes else 2
        sizes.append([torch.where(chosen == each)[0].shape[0] for each in range(num_parts)])

    run_with(to_part(1), program)
    assert [0, 12, 0] == sizes[-1]


def test_one_mask_asked_twice_has_the_same_share(shadow):
    """The same comparison made again is no part of its own."""
    sizes = []
    shadow(
        lambda x, chosen: sizes.extend(
            torch.where(chosen == expert)[0].shape[0] for expert in (0, 0, 1, 0)
        ),
        drawn,
    )
    assert [12, 12, 0, 12] == sizes


def alone(x, chosen):
    """Each mask is written anew from other values: nothing is shared."""
    made = []
    for expert in range(2):
        chosen.copy_((x + expert).argmax(-1))
        made.append(x[chosen == expert])
    return torch.cat(made)


def overlapping(x, chosen):
    return torch.cat([x[chosen > expert] for expert in range(2)])


def repeated(x, chosen):
    return torch.cat([torch.where((chosen == e)[:, None].expand(-1, 3))[0] for e in range(2)])


@pytest.mark.parametrize(
    ("program", "num_entries"), [(alone, 24 * 8), (overlapping, 24 * 8), (repeated, 72)]
)
def test_masks_that_may_overlap_have_all_of_it_each(shadow, program, num_entries):
    """Only masks that cannot be true at one place share a whole."""
    width = 4 if program is not repeated else 8
    assert num_entries * width == shadow(program, drawn).allocations[-1].requested_bytes


def one_hot_classes(x, chosen):
    mask = torch.nn.functional.one_hot(chosen, NUM_EXPERTS).permute(1, 0)
    return [torch.where(mask[expert])[0].shape[0] for expert in range(NUM_EXPERTS)]


def scattered_classes(x, chosen):
    mask = torch.zeros(NUM_TOKENS, NUM_EXPERTS, device=x.device).scatter_(1, chosen[:, None], 1)
    return [mask[:, expert].nonzero().shape[0] for expert in range(NUM_EXPERTS)]


def under(combine):
    """Each mask where another one holds, too."""

    def program(x, chosen):
        valid = x[:, 0] > 0
        return [combine(chosen == e, valid).nonzero().shape[0] for e in range(NUM_EXPERTS)]

    return program


def any_of_a_row(x, chosen):
    pairs = torch.stack([chosen, chosen], 1)
    return [(pairs == e).any(-1).nonzero().shape[0] for e in range(NUM_EXPERTS)]


def cast(x, chosen):
    return [(chosen == e).to(torch.int32).nonzero().shape[0] for e in range(NUM_EXPERTS)]


PARTS = {
    one_hot_classes: [12, 0, 0, 0],
    scattered_classes: [12, 0, 0, 0],
    under(torch.logical_and): [12, 0, 0, 0],
    under(torch.bitwise_and): [12, 0, 0, 0],
    under(torch.mul): [12, 0, 0, 0],
    under(torch.logical_or): [12, 12, 12, 12],
    # Two entries a row: two experts can have a row each.
    any_of_a_row: [12, 12, 0, 0],
    cast: [12, 0, 0, 0],
}


@pytest.mark.parametrize(("program", "expected"), PARTS.items(), ids=lambda one: str(one)[:20])
def test_parts_of_a_whole_are_known_through_what_keeps_them_so(shadow, program, expected):
    """The classes of a one-hot mask, what is left of a part, and a part of another type."""
    sizes = []
    shadow(lambda x, chosen: sizes.extend(program(x, chosen)), drawn)
    assert expected == sizes


def test_a_whole_is_shared_out_anew_in_each_call():
    """A tensor that outlives a call begins again with all that it has."""
    kept = {}

    def program(x, chosen):
        chosen = kept.setdefault("chosen", chosen)
        return torch.where(chosen == 1)[0], torch.where(chosen == 2)[0]

    lane = ShadowLane(ROOT)

    def build(sizes, device):
        inputs = drawn(device)
        return lambda: program(*inputs)

    first, second = (lane.run(build, {}).peak().num_bytes for _ in range(2))
    assert first == second > NUM_TOKENS * 8


ROWS = {
    "a row": lambda x, rows: x[rows[0]],
    "a row among others": lambda x, rows: x[:, rows[0]],
    "two": lambda x, rows: x[rows[0], rows[1]],
}


@pytest.mark.parametrize("program", ROWS.values(), ids=ROWS)
def test_a_row_can_be_taken_by_a_number_that_is_not_known(shadow, program):
    """All rows are of one size; the number has to lie in a known range."""
    shadow(program, lambda device: (drawn(device)[0], torch.randint(0, 3, (4,), device=device)))
    with pytest.raises(LaneError, match="reads a value"):
        shadow(program, lambda device: (drawn(device)[0], drawn(device)[0][0].long()))


def first_taken(x, rows):
    return x[rows[0]]


def other_taken(x, rows):
    return x[rows[0]]


OTHERS = {
    "a row taken by another function": lambda x, rows: (
        first_taken([1, 2, 3], rows),
        other_taken(x, [0]),
    ),
    "a slice": lambda x, rows: x[: rows[0]],
    "an element of a list": lambda x, rows: torch.zeros([100, 200, 300][rows[0]]),
    "a number": lambda x, rows: x[int(rows[0])],
    "a module": lambda x, rows: torch.nn.ModuleList([torch.nn.Identity()] * 3)[rows[0]](x)[0],
    "another row": lambda x, rows: ([1, 2, 3][rows[0]], x[0]),
}


@pytest.mark.parametrize("program", OTHERS.values(), ids=OTHERS)
def test_a_number_that_is_not_known_is_good_for_nothing_else(shadow, program):
    """What else is done with it may depend on it."""
    with pytest.raises(LaneError, match="reads a value"):
        shadow(program, lambda device: (drawn(device)[0], torch.randint(0, 3, (4,), device=device)))


COMPARED = {
    "eq": (lambda i: bool((i == 4).any()), False),
    "ne": (lambda i: bool((i != 4).all()), True),
    "lt": (lambda i: bool((i < 4).all()), True),
    "le": (lambda i: bool((i <= 3).all()), True),
    "gt": (lambda i: bool((i > 3).any()), False),
    "ge": (lambda i: bool((i >= 4).any()), False),
}


@pytest.mark.parametrize(("program", "expected"), COMPARED.values(), ids=COMPARED)
def test_a_comparison_that_a_range_decides_is_known(shadow, program, expected):
    """Numbers below 4 are not 4: the host may ask."""
    seen = []
    make = lambda device: (torch.randint(0, 4, (5,), device=device),)  # noqa: E731
    shadow(lambda i: seen.append(program(i)), make)
    assert [expected] == seen


def test_a_comparison_that_a_range_leaves_open_is_not(shadow):
    """Numbers up to 4 may be 4."""
    for program, _ in COMPARED.values():
        with pytest.raises(LaneError, match="reads a value"):
            shadow(
                lambda i, ask=program: ask(i),
                lambda device: (torch.randint(0, 5, (5,), device=device),),
            )


@pytest.mark.parametrize(
    "choose",
    [lambda x: x[:, x[0] > 0], lambda x: torch.masked_select(x[:, :1], x > 0)],
    ids=["columns", "a wider mask"],
)
def test_a_builder_s_mask_chooses_at_most_all_that_it_has(shadow, choose):
    """Before the call masks are not taken apart: the rows are those of the tensor."""

    def make(device):
        x, _ = drawn(device)
        return (choose(x),)

    assert [NUM_TOKENS * 8 * 4] == [
        made.requested_bytes for made in shadow(lambda x: x + 1, make).allocations
    ]


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("aten::_unique", {"cuda"}),
        ("aten::_unique2", {"cuda"}),
        ("aten::unique_consecutive", {"cpu"}),
        ("aten::unique_dim", set()),
    ],
)
def test_some_results_keep_the_storage_of_every_entry(family, expected):
    """What a GPU sorts it cuts short; a CPU does so with what it compares in a row."""
    assert expected == {kind for kind in ("cpu", "cuda", "meta") if keeps_every_entry(family, kind)}


def test_code_that_needs_another_number_is_told_so(shadow):
    """A view that fits only some numbers of entries fails, and what data decided is named."""
    with pytest.raises(LaneError, match=r"data decides a size \(aten::nonzero at test_data_"):
        shadow(lambda x, chosen: x[x[:, 0] > 0].view(5, 8), drawn)


def test_a_place_that_so_many_do_not_reach_is_told_so_too(shadow):
    """A list that another number would do for; an error of any other kind is the code's own."""
    with pytest.raises(LaneError, match="may rely on another number"):
        shadow(lambda x, chosen: [1, 2][x[x[:, 0] > 0].shape[0]], drawn)
    with pytest.raises(ValueError, match="half a commit"):
        shadow(lambda x, chosen: (x[x[:, 0] > 0], int("half a commit")), drawn)


def test_a_write_of_fewer_values_than_the_mask_has_is_let_be(shadow):
    """As many entries are true as there are values: the code knows more than the mask says."""
    trace = shadow(lambda x, chosen: x.__setitem__(x[:, 0] > 0, x[:5] * 1), drawn)
    assert 5 * 8 * 4 in [a.requested_bytes for a in trace.allocations]


PROVED = {
    "nonzero": lambda x, chosen: torch.nonzero(x[:, 0] > 0),
    "a mask": lambda x, chosen: x[x[:, 0] > 0] * 2,
    "masked_select": lambda x, chosen: torch.masked_select(x, x > 0) + 1,
    "one expert": lambda x, chosen: x[torch.where(chosen == 1)[0]] + 1,
    "unique": lambda x, chosen: torch.unique(chosen),
    "bincount": lambda x, chosen: torch.bincount(chosen),
    "bincount of few": lambda x, chosen: torch.bincount(chosen, minlength=9),
    "repeat_interleave": lambda x, chosen: torch.repeat_interleave(chosen) * 2,
}


@pytest.mark.parametrize("program", PROVED.values(), ids=PROVED)
def test_the_law_at_its_bounds_is_the_worst_case(program):
    """With every quantity at the most that prove says, the lanes agree to the byte."""

    def build(sizes, device):
        x = torch.randn(sizes["n"], 8, device=device)
        chosen = torch.randint(0, 6, (sizes["n"],), device=device)
        return lambda: program(x, chosen)

    proved = RunningLane(LaneSpec("prove"), ROOT).prove(build, Hints({"n": 31}))
    law, _ = closed_form(proved)
    for n in (31, 200):
        values = {"n": n}
        for quantity in proved.quantities:
            if quantity.value is None:
                values[quantity.name] = min(int(most(values)) for most in quantity.at_most)
        exact = RunningLane(LaneSpec("shadow"), ROOT).run(build, {"n": n})
        assert exact.peak().num_bytes == law(values)


@pytest.mark.parametrize("program", [torch.bincount, torch.repeat_interleave])
def test_numbers_that_nothing_bounds_have_no_bound_in_the_law(program):
    """As many bins as the largest value says: neither lane makes that up."""

    def build(sizes, device):
        x = torch.randn(sizes["n"], device=device)
        return lambda: program(x.long())

    proved = RunningLane(LaneSpec("prove"), ROOT).prove(build, Hints({"n": 31}))
    assert [()] == [quantity.at_most for quantity in proved.quantities]
    with pytest.raises(LaneError, match="nothing bounds those"):
        RunningLane(LaneSpec("shadow"), ROOT).run(build, {"n": 31})


def test_a_failed_call_leaves_nothing_for_the_next():
    """A number read in a call that ended is forgotten when the next begins."""
    lane = ShadowLane(ROOT)

    def build(sizes, device):
        rows = torch.randint(0, 3, (4,), device=device)
        return lambda: [1, 2, 3][rows[0]]

    for _ in range(3):
        assert () == lane.run(build, {}).allocations
