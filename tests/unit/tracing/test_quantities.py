"""Sizes that data decides: their names, what they are, and what bounds them."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.prove.quantities import distinct_name

HERE = Path(__file__).parent
HINTS = {"num_blocks": 192, "num_tokens": 7, "topk": 80}


def quantities(body, hints=HINTS):
    """The quantities of ``body(sizes, device)`` that data decides."""
    trace = ProveLane(HERE).run(lambda sizes, device: lambda: body(sizes, device), Hints(hints))
    return [one for one in trace.quantities if one.value is None]


def shown(found):
    return [(one.name, [str(bound) for bound in one.at_most]) for one in found]


def slots(s, device, high="num_blocks"):
    """Slots of blocks of 64: below the blocks' number times 64."""
    return torch.arange(s["num_tokens"] * s["topk"], device=device) % (s[high] * 64)


CASES = {
    "distinct blocks": (
        lambda s, d: torch.unique(slots(s, d) // 64),
        [("distinct_blocks", ["num_tokens*topk", "num_blocks"])],
    ),
    "distinct of an axis without num_": (
        lambda s, d: torch.unique(torch.arange(s["num_tokens"], device=d) % s["topk"]),
        [("distinct_topk", ["num_tokens", "topk"])],
    ),
    "distinct of something else": (
        lambda s, d: torch.unique(slots(s, d)),
        [("distinct_values", ["num_tokens*topk", "64*num_blocks"])],
    ),
    "distinct of what is unknown": (
        lambda s, d: torch.unique(torch.zeros(s["topk"], device=d)),
        [("distinct_values", ["topk"])],
    ),
    "distinct remainders by a literal": (
        lambda s, d: torch.unique(torch.arange(s["topk"], device=d) % torch.tensor(5)),
        [("distinct_values", ["topk", "5"])],
    ),
    "distinct remainders by literals": (
        lambda s, d: torch.unique(
            torch.arange(2 * s["topk"], device=d).view(-1, 2) % torch.tensor([5, 7], device=d)
        ),
        [("distinct_values", ["2*topk"])],
    ),
    "distinct of what nobody wrote": (
        lambda s, d: torch.unique(torch.empty(s["topk"], dtype=torch.int64, device=d)),
        [("distinct_values", ["topk"])],
    ),
    "in a row": (
        lambda s, d: torch.unique_consecutive(slots(s, d) // 64),
        [("distinct_blocks", ["num_tokens*topk", "num_blocks"])],
    ),
    "twice": (
        lambda s, d: [torch.unique(slots(s, d) // 64) for _ in range(3)],
        [
            ("distinct_blocks", ["num_tokens*topk", "num_blocks"]),
            ("distinct_blocks_2", ["num_tokens*topk", "num_blocks"]),
            ("distinct_blocks_3", ["num_tokens*topk", "num_blocks"]),
        ],
    ),
    "true entries": (
        lambda s, d: torch.nonzero(torch.zeros(s["topk"], 4, device=d)),
        [("true_entries", ["4*topk"])],
    ),
    "a value": (
        lambda s, d: torch.full((s["num_tokens"],), s["topk"], device=d)[0].item(),
        [("host_value", ["topk"])],
    ),
    "a value of a difference": (
        lambda s, d: (torch.arange(s["topk"], device=d) + 3)[0].item(),
        [("host_value", ["2 + topk"])],
    ),
    "an unknown value": (
        lambda s, d: torch.arange(0, 9, 2, device=d)[0].item(),
        [("host_value", [])],
    ),
}


@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES)
def test_a_quantity_is_named_for_what_it_counts_and_bounded_by_what_is_known(body, expected):
    assert expected == shown(quantities(body))


def test_a_quantity_says_what_it_is_and_names_the_line():
    def body(s, device):
        return torch.unique(slots(s, device) // 64)

    (found,) = quantities(body)
    line = inspect.getsourcelines(body)[1] + 1
    assert "the distinct ones of num_blocks that the data names" == found.what
    assert ("test_quantities.py", line) == (found.frame.file, found.frame.line)


WHAT = {
    "the true entries of a mask": lambda s, d: torch.nonzero(torch.zeros(s["topk"], device=d)),
    "the distinct values that unique finds": lambda s, d: torch.unique(slots(s, d)),
    "a value that the host reads": lambda s, d: torch.full((2,), s["topk"], device=d)[0].item(),
}


@pytest.mark.parametrize("what", WHAT)
def test_each_kind_is_said_in_words(what):
    (found,) = quantities(WHAT[what])
    assert what == found.what


def test_a_name_that_an_axis_has_is_not_taken():
    """The quantity beside an axis of that name is the second."""

    def body(s, device):
        x = torch.zeros(s["true_entries"], device=device)
        return torch.nonzero(x)

    assert [("true_entries_2", ["true_entries"])] == shown(quantities(body, {"true_entries": 80}))


@pytest.mark.parametrize(
    ("axis", "name"),
    [
        ("num_blocks", "distinct_blocks"),
        ("swa_num_blocks", "swa_distinct_blocks"),
        ("topk", "distinct_topk"),
    ],
)
def test_what_is_distinct_of_an_axis_is_named_after_it(axis, name):
    assert name == distinct_name(axis)


@pytest.mark.parametrize(
    ("least", "taken"), [(79, "true_entries > 79"), (80, "true_entries <= 80")]
)
def test_a_condition_on_a_size_that_another_such_size_bounds_is_assumed(least, taken):
    """`true_entries` is at most `host_value`, which is at most `topk`: 80 at the hints."""

    def body(s, device):
        length = torch.full((2,), s["topk"], device=device)[0].item()
        found = torch.nonzero(torch.zeros(length, device=device)).shape[0]
        return torch.empty(3, device=device) if found > least else None

    trace = ProveLane(HERE).run(lambda s, d: lambda: body(s, d), Hints(HINTS))
    assert [taken] == [str(guard.formula) for guard in trace.guards]
    bounds = [("host_value", ["topk"]), ("true_entries", ["host_value"])]
    assert bounds == shown(trace.quantities)
