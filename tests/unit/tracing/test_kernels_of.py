"""Steps of kernels, written into a book: each request, each free, and whose end is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.errors import UsageError
from oom_suite.operators import registered
from oom_suite.operators.kernels import Kernels
from oom_suite.operators.operands import operator
from oom_suite.operators.steps import Give, Take
from oom_suite.tracing.book import Book
from oom_suite.tracing.kernels_of import InsideKernels, kernels_of
from oom_suite.tracing.shadow import ShadowLane

SORT = operator(torch.ops.aten.sort.default)
ADD = operator(torch.ops.aten.add.Tensor)
RANDPERM = operator(torch.ops.aten.randperm.default)


@pytest.mark.parametrize(
    ("scratch", "expected"),
    [
        ("", None),
        ("cpu", None),
        ("cuda", Kernels()),
        ("cuda:sm_90", Kernels()),
        ("rocm:gfx942", Kernels("rocm", "gfx942", 304, 64, 2048)),
    ],
)
def test_a_target_s_kernels_have_its_processors_and_its_warps(scratch, expected):
    assert expected == kernels_of(scratch)


def test_a_target_that_is_not_there_is_said():
    with pytest.raises(UsageError):
        kernels_of("cuda:sm_1")


@pytest.fixture
def book():
    made = Book()
    made.is_open = True
    return made


def writer(book, kernels=None, device_type="cpu"):
    return InsideKernels(book, device_type, kernels, lambda: ("line",))


def written(book):
    """Requests as ``+bytes op``, ``~`` for a bound, and frees as ``-bytes op``."""
    trace, words = book.trace("shadow", {}), []
    for event in trace.events:
        made = trace.allocations[event.allocation]
        assert ("line",) == made.stack
        sign = "-" if event.kind == "free" else "~" if made.is_bound else "+"
        words.append(f"{sign}{made.requested_bytes} {made.op}")
    return words


STEPS = (Take("inner", 10, "in"), Take(0, 64, "out"), Take("none", 0, "in"))
ENDS = (Give("none"), Give("inner"))


@pytest.mark.parametrize("is_exact", [True, False])
def test_temporaries_are_freed_where_they_are_given_back_and_results_when_they_die(book, is_exact):
    """A result that no step requests is none's request, and its end no free."""
    results = [torch.zeros(16), torch.zeros(4)]
    if is_exact:
        writer(book).write_exact((*STEPS, *ENDS), tuple(results), lambda num_bytes: num_bytes)
    else:
        writer(book).write("aten::sort", (*STEPS, *ENDS), results)
    assert ["+10 in", "+64 out", "-10 in"] == written(book)
    results.pop()
    assert ["+10 in", "+64 out", "-10 in"] == written(book)
    results.pop()
    assert ["+10 in", "+64 out", "-10 in", "-64 out"] == written(book)
    assert not book.alive()


@pytest.mark.parametrize("inner_bytes", [7, 0])
def test_a_kernel_in_a_kernel_may_use_the_same_name(book, inner_bytes):
    """The innermost is given back first, also where it is nothing."""
    steps = (
        Take("places", 10, "outer"),
        Take("places", inner_bytes, "inner"),
        Give("places"),
        Take("after", 5, "outer"),
        Give("after"),
        Give("places"),
    )
    inner = [f"+{inner_bytes} inner", f"-{inner_bytes} inner"] if inner_bytes else []
    expected = ["+10 outer", *inner, "+5 outer", "-5 outer", "-10 outer"]
    writer(book).write("aten::sort", steps, [])
    writer(book).write_exact(steps, (), int)
    assert [*expected, *expected] == written(book)


def test_a_result_that_was_there_keeps_its_request(book):
    """What is written in place ends when it ends, and is freed as what it was."""
    result = torch.zeros(16)
    writer(book).write("aten::sort", (Take(0, 64, "first"),), [result])
    writer(book).write("aten::sort", (Take("inner", 10, "second"), Give("inner")), [result])
    del result
    assert ["+64 first", "+10 second", "-10 second", "-64 first"] == written(book)


def test_one_result_that_is_no_tuple_is_the_first(book):
    result = torch.zeros(16)
    writer(book).write_exact((Take(0, 64, "out"),), result, lambda num_bytes: num_bytes)
    assert ["+64 out"] == written(book)
    assert 1 == len(book.alive())


def test_a_result_of_no_bytes_is_no_request(book):
    for write in (
        lambda made: writer(book).write("aten::sort", (Take(0, 0, "out"),), [made]),
        lambda made: writer(book).write_exact((Take(0, 0, "out"),), made, int),
    ):
        write(torch.zeros(0))
    assert [] == written(book)


def test_a_bound_is_written_as_one(book):
    writer(book).write("aten::sort", (Take("inner", 10, "in", True), Give("inner")), [])
    assert ["~10 in", "-10 in"] == written(book)


@pytest.mark.parametrize(("num_bytes", "expected"), [(0, []), (5, ["~5 aten::add (registered)"])])
def test_what_an_author_says_is_taken_is_a_bound_that_is_freed_at_once(book, num_bytes, expected):
    writer(book).write_registered(ADD, num_bytes)
    assert expected == written(book)[:1]
    assert 2 * len(expected) == len(book.events)


def test_what_is_taken_inside_says_in_whose_kernel_and_what_of_it_is_seen(book):
    """A result whose storage is larger than its shape is seen in part alone."""
    results = [torch.zeros(4), torch.zeros(4)]
    steps = (Take("inner", 10, "in"), Give("inner"), Take(0, 64, "out"), Take(1, 16, "out"))
    writer(book).write("aten::sort", steps, results)
    made = book.trace("shadow", {}).allocations
    expected = [("aten::sort", 0), ("aten::sort", 16), ("", 0)]
    assert expected == [(each.inside, each.seen_bytes) for each in made]


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
def test_an_out_argument_is_resized_before_its_kernel_takes_anything():
    """One row of 8,000: values, places, and then what the sort takes."""

    def build(sizes, device):
        x = torch.zeros(8000, device=device)
        values = torch.empty(4, device=device)
        places = torch.empty(4, dtype=torch.int64, device=device)

        def call():
            torch.sort(x, out=(values, places))

        return call

    trace = ShadowLane(Path("/"), "cuda").run(build, {})
    requested = [trace.allocations[event.allocation].requested_bytes for event in trace.events]
    assert [32_000, 64_000, 64_000, 106_751, 106_751, 64_000] == requested


@pytest.mark.parametrize(("target", "expected"), [("cuda:sm_90", [32, 64]), ("cpu", [32])])
def test_what_an_author_says_of_an_operator_is_taken_on_a_device(monkeypatch, target, expected):
    """A bound beside its result; a CPU's kernel is another."""
    monkeypatch.setitem(registered._SCRATCH, "aten::sin", lambda x: x.numel() * 8)

    def build(sizes, device):
        x = torch.zeros(8, device=device)
        return x.sin

    made = ShadowLane(Path("/"), target=target).run(build, {}).allocations
    assert expected == [each.requested_bytes for each in made]
    assert [False, True][: len(expected)] == [each.is_bound for each in made]


@pytest.mark.parametrize(("value_rows", "first"), [(8, "index_put_"), (1, "nonzero")])
def test_a_write_under_a_mask_is_taken_apart_unless_its_kernel_is_known(value_rows, first):
    """A kernel that adds one row for each entry has the mask's positions in its own steps."""

    def build(sizes, device):
        x = torch.zeros(8, 4, device=device)
        mask = torch.zeros(8, dtype=torch.bool, device=device)
        values = torch.zeros(value_rows, 4, device=device)
        return lambda: x.index_put_((mask,), values, accumulate=True)

    made = ShadowLane(Path("/"), "cuda:sm_90", "cuda:sm_90").run(build, {}).allocations
    assert f"aten::{first}" == made[0].op


def test_results_that_were_there_before_are_known(book):
    old, new = torch.zeros(4), torch.zeros(4)
    writer(book).write("aten::sort", (Take(0, 16, "out"),), [old])
    (known,) = writer(book).known_among([new, old])
    assert known is old


def test_only_calls_on_the_device_have_steps_and_only_where_they_are_wanted(book):
    x = torch.zeros(8)
    result = (torch.zeros(8), torch.zeros(8, dtype=torch.int64))
    assert writer(book).steps(SORT, (x,), {}, result) is None
    assert writer(book, Kernels(), "cuda").steps(SORT, (x,), {}, result) is None
    assert writer(book, Kernels()).steps(SORT, (), {}, result) is None
    made = writer(book, Kernels()).steps(RANDPERM, (8,), {}, result[1])
    assert made is not None
    assert writer(book, Kernels(), "cuda").steps(RANDPERM, (8,), {}, result[1]) is None
    of_args = writer(book, Kernels()).steps(SORT, (x,), {}, result)
    assert [32, 64, 64] == [step.num_bytes for step in of_args if isinstance(step, Take)]
    assert (False, True) == (writer(book).are_wanted, writer(book, Kernels()).are_wanted)
