"""Choices that nobody knows: who gets how much of a whole, and what an unknown number does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from data_programs import (
    NUM_EXPERTS,
    NUM_TOKENS,
    drawn,
)

from oom_suite.errors import LaneError
from oom_suite.tracing.data_sizes import keeps_every_entry
from oom_suite.tracing.lane_spec import EACH, HALF, MOST, NONE, ONE, to_part
from oom_suite.tracing.shadow import ShadowLane

ROOT = Path(__file__).parent


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


@pytest.mark.parametrize(("choice", "expected"), [(NONE, 1), (ONE, 1), (HALF, 6), (MOST, 12)])
def test_what_has_entries_has_one_distinct_value_at_least(choice, expected):
    """Nothing has none."""
    sizes = []
    run_with(
        choice,
        lambda x, chosen: sizes.extend(
            [torch.unique(x[:, 0]).shape[0], torch.unique(x[:0, 0]).shape[0]]
        ),
    )
    assert [expected, 0] == sizes


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


@pytest.mark.parametrize(("low", "is_taken"), [(0, True), (-1, False)])
def test_a_row_is_not_taken_by_a_number_that_may_be_padding(shadow, low, is_taken):
    """-1 would be the last row, which nobody means."""

    def take():
        shadow(
            ROWS["a row"],
            lambda device: (drawn(device)[0], torch.randint(low, 3, (4,), device=device)),
        )

    if is_taken:
        take()
    else:
        with pytest.raises(LaneError, match="reads a value"):
            take()


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
    shadow(
        lambda i: seen.append(program(i)),
        lambda device: (torch.randint(0, 4, (5,), device=device),),
    )
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
    with pytest.raises(LaneError, match=r"data decides a size \(aten::nonzero at test_unknown_"):
        shadow(lambda x, chosen: x[x[:, 0] > 0].view(5, 8), drawn)


def test_a_place_that_so_many_do_not_reach_is_told_so_too(shadow):
    """A list that another number would do for; an error of any other kind is the code's own."""
    with pytest.raises(LaneError, match="may rely on another number"):
        shadow(lambda x, chosen: [1, 2][x[x[:, 0] > 0].shape[0]], drawn)
    with pytest.raises(ValueError, match="half a commit"):
        shadow(lambda x, chosen: (x[x[:, 0] > 0], int("half a commit")), drawn)
