"""Which single calls a capturing stream refuses, told from what dispatch sees of them."""

from __future__ import annotations

import pytest
import torch
from capture_kinds import kinds

from oom_suite.safety import capture_table as table

aten = torch.ops.aten


def pinned(*shape):
    return torch.empty(*shape, pin_memory=True)


def host(*shape):
    return torch.ones(*shape, device="cpu")


COPIES = {
    "to the host": (lambda x, i: x.to("cpu"), True),
    "to the host without waiting": (lambda x, i: x.to("cpu", non_blocking=True), False),
    "from the host": (lambda x, i: host(4).to(x.device), True),
    "from the host without waiting": (lambda x, i: host(4).to(x.device, non_blocking=True), True),
    "from pinned memory": (lambda x, i: pinned(4).to(x.device), True),
    "from pinned memory without waiting": (
        lambda x, i: pinned(4).to(x.device, non_blocking=True),
        False,
    ),
    "into host memory": (lambda x, i: host(4, 4).copy_(x), True),
    "into host memory without waiting": (lambda x, i: host(4, 4).copy_(x, non_blocking=True), True),
    "into pinned memory": (lambda x, i: pinned(4, 4).copy_(x), True),
    "into pinned memory without waiting": (
        lambda x, i: pinned(4, 4).copy_(x, non_blocking=True),
        False,
    ),
    "over device memory": (lambda x, i: x.copy_(host(4, 4)), True),
    "over device memory without waiting": (
        lambda x, i: x.copy_(host(4, 4), non_blocking=True),
        True,
    ),
    "over device memory from pinned": (
        lambda x, i: x.copy_(pinned(4, 4), non_blocking=True),
        False,
    ),
    "over device memory from pinned, by position": (
        lambda x, i: aten.copy_.default(x, pinned(4, 4), True),
        False,
    ),
    "over device memory from pinned, waiting by position": (
        lambda x, i: aten.copy_.default(x, pinned(4, 4), False),
        True,
    ),
    "to the device by its number": (
        lambda x, i: aten._to_copy.default(host(4), device=torch.device(x.device.type, 0)),
        True,
    ),
    "to where it is": (lambda x, i: aten._to_copy.default(x, dtype=torch.float64), False),
    "within the device": (lambda x, i: x.copy_(x + 1), False),
    "to another type": (lambda x, i: x.to(torch.bfloat16), False),
    "within the host": (lambda x, i: host(4).to(torch.float64).copy_(host(4)), False),
}


@pytest.mark.parametrize(("body", "is_refused"), COPIES.values(), ids=COPIES)
def test_a_copy_between_host_and_device_is_taken_from_pinned_memory_without_waiting(
    body, is_refused
):
    """torch pins by itself what a copy to the host that does not wait is written to."""
    assert [table.COPY] * is_refused == kinds(body)


def test_memory_that_takes_the_place_of_pinned_memory_is_not_pinned():
    def frees(x, i):
        kept = pinned(4, 4)
        del kept
        x.copy_(host(4, 4), non_blocking=True)

    assert [table.COPY] == kinds(frees)


def test_a_backward_pass_is_part_of_the_capture_that_asks_for_it():
    """On a GPU autograd's own thread works on the stream of the forward pass."""

    def trains(x, i):
        with torch.enable_grad():
            weight = x.clone().requires_grad_()
            torch.softmax(weight, 0).sum().backward()

    assert [] == kinds(trains)


def put_number(x, i, **options):
    """``x[mask] = 1.0`` as dispatch has it: the number lies on the host."""
    aten.index_put_(x, [x > 0], torch.tensor(1.0), **options)


PUTS = {
    "a number under one mask": (put_number, None),
    "a number under one mask, added": (
        lambda x, i: put_number(x, i, accumulate=True),
        table.MASK_PUT,
    ),
    "a number under a mask beside indices": (
        lambda x, i: aten.index_put_(x, [i > 1, i[:2]], torch.tensor(1.0)),
        table.MASK_PUT,
    ),
    "a number under two masks": (
        lambda x, i: aten.index_put_(x, [i > 1, i > 1], torch.tensor(1.0)),
        table.MASK_PUT,
    ),
    "values under a mask": (
        lambda x, i: aten.index_put_(x, [x > 0], x[0, :1].clone()),
        table.MASK_PUT,
    ),
    "a number at indices": (
        lambda x, i: aten.index_put_(x, [i], torch.tensor(1.0)),
        table.VALUE_PUT,
    ),
    "a number under one mask, added by position": (
        lambda x, i: aten.index_put_.default(x, [x > 0], torch.tensor(1.0), True),
        table.MASK_PUT,
    ),
    "a number under one mask, not added by position": (
        lambda x, i: aten.index_put_.default(x, [x > 0], torch.tensor(1.0), False),
        None,
    ),
    "a number under one mask of bytes": (
        lambda x, i: aten.index_put_.default(x, [(x > 0).byte()], torch.tensor(1.0)),
        None,
    ),
    "a number under one mask after a whole dimension": (
        lambda x, i: aten.index_put_.default(x, [None, i > 1], torch.tensor(1.0)),
        None,
    ),
    "values at indices": (lambda x, i: aten.index_put_(x, [i], x[0, :1].clone()), None),
    "values at indices, added": (
        lambda x, i: aten.index_put_(x, [i], x[0, :1].clone(), accumulate=True),
        None,
    ),
    "values at some of the indices": (
        lambda x, i: aten.index_put_(x, [None, i], x[0, :1].clone()),
        None,
    ),
}


@pytest.mark.parametrize(("body", "reason"), PUTS.values(), ids=PUTS)
def test_a_write_at_indices_is_refused_for_a_mask_or_for_a_number_that_is_copied(body, reason):
    assert ([] if reason is None else [reason.kind]) == kinds(body)


@pytest.mark.parametrize("name", sorted(table.PUTS))
def test_each_way_to_write_at_indices_is_judged(name):
    """Out of place, in place, and the one behind both."""
    put = getattr(aten, name.removeprefix("aten::")).default
    assert [table.COPY] == kinds(lambda x, i: put(x, [i], torch.tensor(1.0)))
    assert [] == kinds(lambda x, i: put(torch.ones(4), [torch.arange(2)], torch.tensor(1.0)))


def test_a_number_for_one_element_is_copied_and_for_several_is_filled_in():
    def one(x, i):
        x[1, 2] = 1.0

    def several(x, i):
        x[1] = 1.0

    assert [table.COPY] == kinds(one)
    assert [] == kinds(several)


def test_a_generator_that_the_graph_does_not_know_is_refused():
    """Each of its draws would be the same one; torch's own is registered by capture."""

    def own(x, i):
        torch.rand(4, generator=torch.Generator("cpu"))

    assert [table.GENERATOR] == kinds(own)
    assert [] == kinds(lambda x, i: torch.rand(4, device=x.device))


WAITS = {
    "torch.cuda.synchronize": lambda: torch.cuda.synchronize(),
    "Stream.synchronize": lambda: torch.cuda.Stream.synchronize(None),
    "Stream.query": lambda: torch.cuda.Stream.query(None),
    "Event.synchronize": lambda: torch.cuda.Event.synchronize(None),
    "Event.query": lambda: torch.cuda.Event.query(None),
    "Event.elapsed_time": lambda: torch.cuda.Event.elapsed_time(None, None),
    "torch.accelerator.synchronize": lambda: torch.accelerator.synchronize(),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_a_call_that_waits_for_the_device_is_refused_and_answers_true(wait):
    """It does nothing here: the step goes on as after a wait that is over."""
    answers = []
    assert ["synchronize"] == kinds(lambda x, i: answers.append(wait()))
    assert {True} == set(answers)


def test_the_warm_up_may_do_what_a_capture_refuses():
    """What the first calls alone do is not captured."""
    calls = []

    def once(x, i):
        calls.append(1)
        if len(calls) < 4:
            torch.cuda.synchronize()
            int(i[0])
            str(x)

    assert ([], 4) == (kinds(once), len(calls))


def test_printing_reads_the_device_and_not_the_host():
    assert [table.SYNC] == kinds(lambda x, i: repr(i))
    assert [] == kinds(lambda x, i: repr(torch.ones(2)))


def test_one_line_is_one_hit_of_each_kind_however_often_it_runs():
    def thrice(x, i):
        for number in range(3):
            int(i[number])
        return int(i[3])

    assert [table.SYNC, table.SYNC] == kinds(thrice)


def test_each_kind_at_one_line_is_a_hit():
    """With its own line; of one kind and line the first is told."""

    def both(x, i):
        return torch.cuda.synchronize(), int(i[0]), int(i[1])

    assert ["synchronize", table.SYNC] == kinds(both)


def test_code_that_cannot_be_followed_has_been_seen_up_to_there():
    """An error after a hit leaves the hit; one without a hit is the code's own."""

    def after_a_hit(x, i):
        torch.cuda.synchronize()
        raise ZeroDivisionError

    seen = []

    def in_the_capture(x, i):
        seen.append(1)
        if len(seen) > 3:
            after_a_hit(x, i)

    assert ["synchronize"] == kinds(in_the_capture)
    with pytest.raises(ZeroDivisionError):
        kinds(lambda x, i: 1 / 0)
