"""The prove lane on small pieces of code: sizes as symbols, guards, and sizes that data decides."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.laws.closed_form import closed_form
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane

HERE = Path(__file__).parent
HINTS = {"num_blocks": 192, "num_tokens": 7, "topk": 80}


def proved(body, hints=HINTS, held=()):
    """The symbolic trace of ``body(sizes, device)``, which allocates."""
    return ProveLane(HERE).run(
        lambda sizes, device: lambda: body(sizes, device), Hints(hints, tuple(held))
    )


def requests(trace):
    return [str(allocation.requested) for allocation in trace.allocations]


def law(trace):
    return str(closed_form(trace)[0])


def test_bytes_are_expressions_in_the_axes():
    """A request's bytes name the axes that it was made from, with the element's size."""

    def body(s, device):
        return torch.empty(s["num_blocks"], 64, 584, dtype=torch.uint8, device=device).float()

    assert requests(proved(body)) == ["37376*num_blocks", "149504*num_blocks"]


def test_no_guard_arises_from_plain_arithmetic():
    """Products, sums and views of sizes ask nothing of them."""

    def body(s, device):
        x = torch.empty(s["num_tokens"] * s["topk"] + 3, 8, device=device)
        return x.view(-1).add(1)

    trace = proved(body)
    assert [g for g in trace.guards if ">= 2" not in str(g) and "!= 1" not in str(g)] == []


def test_the_law_is_every_live_sum_that_may_be_the_largest():
    """Two temporaries in turn give a maximum of both; one that is covered is left out."""

    def body(s, device):
        a = torch.empty(s["num_blocks"] * 100, dtype=torch.uint8, device=device)
        del a
        b = torch.empty(s["num_tokens"] * s["topk"], dtype=torch.uint8, device=device)
        del b
        c = torch.empty(s["num_tokens"], dtype=torch.uint8, device=device)
        del c

    expected = "max(100*num_blocks, num_tokens*topk)"
    assert expected == law(proved(body))


def test_a_branch_on_a_size_is_a_guard_with_its_line():
    """What the code asked is told in the axes' names, with the line that asked."""

    def body(s, device):
        if s["topk"] > 64:
            return torch.empty(s["topk"], device=device)
        return torch.empty(64, device=device)

    (guard,) = proved(body).guards
    line = inspect.getsourcelines(body)[1] + 1
    assert (str(guard.formula), guard.frame.line) == ("topk > 64", line)


def test_divisibility_is_a_guard():
    """Code that pads says for which sizes the law holds."""

    def body(s, device):
        if s["topk"] % 8:
            return torch.empty(1, device=device)
        return torch.empty(s["topk"], device=device)

    (guard,) = proved(body).guards
    assert guard.formula({"topk": 80})
    assert not guard.formula({"topk": 81})


def test_a_loop_over_a_size_makes_it_a_number():
    """The law then speaks of that one size, and names the line."""

    def body(s, device):
        for _ in range(s["num_tokens"]):
            torch.empty(s["topk"], dtype=torch.uint8, device=device)

    trace = proved(body)
    value, frame = trace.specialised["num_tokens"]
    assert (value, frame.function) == (7, "body")
    assert law(trace) == "topk"


def test_the_hull_of_a_size_is_a_named_quantity():
    """A rounded-up size is no polynomial; its formula can be evaluated."""

    def body(s, device):
        return torch.empty((s["topk"] + 63) // 64, dtype=torch.uint8, device=device)

    trace = proved(body)
    (quantity,) = trace.quantities
    assert {79: 2, 64: 1, 65: 2} == {n: quantity.value({"topk": n}) for n in (79, 64, 65)}
    (request,) = trace.allocations
    assert request.requested.axes == {quantity.name}


def test_unique_over_block_ids_counts_distinct_blocks():
    """The result's size is named after the axis that bounds it, with both bounds."""

    def body(s, device):
        slots = torch.arange(s["num_tokens"] * s["topk"], device=device) % (s["num_blocks"] * 64)
        blocks = torch.unique(slots // 64).clone()
        return torch.empty(blocks.shape[0], 512, dtype=torch.uint8, device=device)

    trace = proved(body)
    (quantity,) = trace.quantities
    assert quantity.name == "distinct_blocks"
    assert [str(bound) for bound in quantity.at_most] == ["num_tokens*topk", "num_blocks"]
    assert requests(trace)[-1] == "512*distinct_blocks"


def test_true_entries_of_a_mask_are_a_quantity():
    """A boolean mask gives as many entries as data says, at most all."""

    def body(s, device):
        x = torch.zeros(s["topk"], device=device)
        return x[x > 0]

    trace = proved(body)
    (quantity,) = trace.quantities
    assert (quantity.name, str(quantity.at_most[0])) == ("true_entries", "topk")
    assert requests(trace)[-1] == "4*true_entries"


def test_a_size_read_from_index_data_is_a_quantity_with_its_bound():
    """`int(x.item())` stays a symbol, bounded by what the values can be."""

    def body(s, device):
        lens = torch.full((s["num_tokens"],), s["topk"], dtype=torch.int32, device=device)
        total = int(lens.sum().item())
        return torch.empty(total, dtype=torch.uint8, device=device)

    trace = proved(body)
    (quantity,) = trace.quantities
    assert requests(trace)[-1] == "host_value"
    assert quantity.at_most[0]({"num_tokens": 7, "topk": 80}) == 560


def test_int_of_a_size_asks_nothing_of_it():
    """`int(size)` in the code under test leaves the law general, and `int` as it was."""

    def body(s, device):
        assert isinstance(3, int)
        return torch.empty(int(s["topk"]), dtype=torch.uint8, device=device)

    trace = proved(body)
    assert (law(trace), trace.specialised) == ("topk", {})
    assert "int" not in globals()


def test_a_branch_on_unknown_data_is_refused_with_its_line():
    """Where the values of a float tensor decide, no law can be proved; the line is named."""

    def body(s, device):
        x = torch.zeros(s["topk"], device=device)
        return x + 1 if x.sum().item() > 0 else x

    with pytest.raises(LaneError, match=r"a number that data decides at .*test_prove\.py:\d+"):
        proved(body)


def test_what_the_builder_asks_is_no_guard_of_the_law():
    """Its conditions are the workload's own, and the code is asked again."""

    def build(sizes, device):
        if sizes["topk"] > 4:
            x = torch.zeros(sizes["topk"], device=device)
        return lambda: x.add(1)

    trace = ProveLane(HERE).run(build, Hints(HINTS))
    assert ["topk > 4"] == [str(g.formula) for g in trace.requires]
    assert "topk > 4" not in [str(g.formula) for g in trace.guards]


def test_logsumexp_shows_its_temporaries():
    """The float copy that it takes inside is in the law, as in the shadow lane."""

    def build(sizes, device):
        x = torch.zeros(sizes["num_tokens"], sizes["topk"], device=device)
        return lambda: x.logsumexp(dim=-1)

    trace = ProveLane(HERE).run(build, Hints(HINTS))
    assert "4*num_tokens*topk" in requests(trace)


def test_backward_passes_are_proved():
    """Autograd's saved tensors and gradients are expressions, too."""

    def build(sizes, device):
        x = torch.zeros(sizes["num_tokens"], sizes["topk"], device=device, requires_grad=True)
        return lambda: (x * x).sum().backward()

    trace = ProveLane(HERE).run(build, Hints(HINTS))
    assert "num_tokens*topk" in law(trace)


@pytest.mark.parametrize(
    "up", [lambda x: -(x // -64), lambda x: -(-x // 64), lambda x: (x + 63) // 64]
)
def test_a_quotient_that_is_rounded_up_is_never_taken_for_negative(up):
    """Of two live sums the one with more blocks of 64 wins, however the rounding is written."""

    def body(s, device):
        a = torch.empty(100 * up(s["topk"]), dtype=torch.uint8, device=device)
        b = torch.empty(1000, dtype=torch.uint8, device=device)
        b = torch.empty(100 * up(s["topk"]), dtype=torch.uint8, device=device)
        return a, b

    assert law(proved(body)) == "200*(((63 + topk)//64)) + 1000"


def stopped(body, longest, held=()):
    lower = dict.fromkeys(HINTS, 1)
    hints = Hints(HINTS, tuple(held), lower, longest)
    return ProveLane(HERE).run(lambda sizes, device: lambda: body(sizes, device), hints)


def turning(sizes, device):
    """One operator, then one for each turn."""
    total = torch.zeros(sizes["topk"], device=device)
    for _ in range(sizes["num_tokens"]):
        total = total + 1
    return total


def test_a_run_that_turns_as_often_as_a_number_says_is_stopped():
    """At that many operators it is whole, and at one less it is cut; the number's line is told."""
    num_operators = 1 + HINTS["num_tokens"]
    whole = stopped(turning, num_operators)
    assert (False, ["num_tokens"]) == (whole.is_cut, list(whole.specialised))
    cut = stopped(turning, num_operators - 1)
    assert (True, ["num_tokens"], ()) == (cut.is_cut, list(cut.specialised), cut.allocations)
    assert cut.specialised["num_tokens"][1] == whole.specialised["num_tokens"][1]


def test_a_run_with_a_held_axis_is_stopped_and_one_with_symbols_alone_is_not():
    assert stopped(turning, 5, held=["num_tokens"]).is_cut

    def fixed(sizes, device):
        total = torch.zeros(sizes["topk"], device=device)
        for _ in range(200):
            total = total + 1
        return total

    assert not stopped(fixed, 5).is_cut
    assert stopped(fixed, 5, held=["num_tokens"]).is_cut


def test_code_that_catches_every_exception_is_stopped_all_the_same():
    def catching(sizes, device):
        total = torch.zeros(sizes["topk"], device=device)
        for _ in range(sizes["num_tokens"]):
            try:
                total = total + 1
            except Exception:
                total = torch.zeros(sizes["topk"], device=device)
        return total

    assert stopped(catching, 5).is_cut
