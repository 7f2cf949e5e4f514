"""`oom_suite.law`: a law that can be called, compared and inverted."""

from __future__ import annotations

import pytest
import torch

import oom_suite
from oom_suite.errors import LaneError, UsageError


def doubled(sizes, device):
    x = torch.ones(sizes.num_tokens, sizes.width, device=device)
    return lambda: x * 2


def also_doubled(sizes, device):
    x = torch.zeros(sizes.num_tokens * sizes.width, device=device)
    return lambda: x + x


def doubled_and_tripled(sizes, device):
    x = torch.ones(sizes.num_tokens, sizes.width, device=device)
    return lambda: (x * 2, x * 3)


def widened_beyond_64(sizes, device):
    x = torch.ones(sizes.n, device=device)
    return lambda: x.double() if sizes.n > 64 else x * 2


def of_whole_rows(sizes, device):
    x = torch.zeros(sizes.n, device=device)
    return lambda: x.view(-1, 64).sum(1)


def in_pages(sizes, device):
    return lambda: torch.empty((sizes.n + 15) // 16 * 16, device=device)


def chosen(sizes, device):
    x = torch.zeros(sizes.n, device=device)
    return lambda: x.nonzero()


AXES = {"num_tokens": 8, "width": 64}


@pytest.fixture(scope="module")
def law():
    return oom_suite.law(doubled, AXES)


def test_a_law_is_its_formula(law):
    assert ("4*num_tokens*width", True, ("num_tokens", "width")) == (
        str(law),
        law.is_proved,
        law.axes,
    )
    assert "<law 4*num_tokens*width for generic, proved in closed form>" == repr(law)


def test_a_law_is_called_with_some_of_its_sizes(law):
    """The others are those it was found at."""
    assert [2048, 256, 4000, 40] == [
        law(),
        law(num_tokens=1),
        law(num_tokens=1000, width=1),
        law(width=5, num_tokens=2),
    ]


@pytest.mark.parametrize(("budget", "expected"), [("12GiB", 50_331_648), ("511B", 1), (512, 2)])
def test_a_law_is_inverted_at_the_exact_boundary(law, budget, expected):
    """256 bytes a token: 511 bytes hold one, 512 two."""
    found = law.solve("num_tokens", budget=budget)
    free_bytes = 12 * 2**30 if budget == "12GiB" else int(str(budget).removesuffix("B"))
    assert expected == found
    assert law(num_tokens=found) <= free_bytes < law(num_tokens=found + 1)


def test_other_axes_are_fixed_by_name(law):
    """At half the width twice as many tokens fit."""
    assert 4 == law.solve("num_tokens", budget=512, width=32)


def test_a_device_is_a_budget(law):
    """All of an H200, in tokens of 256 bytes."""
    found = law.solve("num_tokens", "H200")
    assert 141 * 2**30 * 0.9 < found * 256 < 145 * 2**30


def test_laws_are_equal_where_their_formulas_are(law):
    """Whoever wrote the code, and at whatever sizes it was found; one byte more is another."""
    other = oom_suite.law(also_doubled, {"num_tokens": 4, "width": 16})
    assert (law, hash(law)) == (other, hash(other))
    assert law != oom_suite.law(doubled_and_tripled, AXES)


@pytest.mark.parametrize(
    ("budget", "expected"), [(256, 64), (255, 63), (519, 64), (520, 65), (528, 66)]
)
def test_a_branch_answers_with_its_own_formula(budget, expected):
    """Up to 64 floats 4 bytes each, beyond them 8."""
    law = oom_suite.law(widened_beyond_64, {"n": 8})
    assert [256, 520] == [law(n=64), law(n=65)]
    assert expected == law.solve("n", budget)


def test_sizes_without_a_law_are_passed_over():
    """A sum over rows of 64 has a law at multiples of 64 alone."""
    law = oom_suite.law(of_whole_rows, {"n": 128})
    with pytest.raises(UsageError, match=r"^no law was found at n=65: proved in closed form, "):
        law(n=65)
    assert 64 * 250 == law.solve("n", 1000)


def test_a_law_in_pages_ends_at_the_end_of_a_page():
    """1,000 bytes hold 15 pages of 64 bytes, which 240 slots fill and 241 do not."""
    assert 240 == oom_suite.law(in_pages, {"n": 32}).solve("n", 1000)


def test_what_data_decides_is_taken_at_its_most():
    """A mask of 8 entries may choose all of them."""
    law = oom_suite.law(chosen, {"n": 8})
    assert ("8*true_entries", 64, ("n",)) == (str(law), law(), law.axes)


def test_a_child_finds_the_same_law(law):
    assert law == oom_suite.law(doubled, AXES, in_child=True)


def distinct(sizes, device):
    x = torch.zeros(sizes.n, dtype=torch.int64, device=device)
    return lambda: torch.unique(x)


def test_what_kernels_take_inside_is_a_term_of_its_own():
    """What `unique` sorts with on CUDA; the generic target has no such kernels."""
    generic = oom_suite.law(distinct, {"n": 4096})
    cuda = oom_suite.law(distinct, {"n": 4096}, target="cuda:sm_90")
    assert ("8*n", ()) == (str(generic), generic.inside)
    assert str(cuda).startswith("8*n + at most 16.5*n + ")
    assert " inside aten::_unique2 at " in str(cuda)
    assert generic != cuda


@pytest.mark.parametrize("n", [1, 4096, 100_000, 3_000_000])
def test_a_law_is_no_less_than_its_target_takes(n):
    """Nor much more, at sizes that it was not found at."""
    law = oom_suite.law(distinct, {"n": 4096}, target="cuda:sm_90")
    taken = oom_suite.predict(distinct, {"n": n}, target="cuda:sm_90").peak_requested_bytes
    assert taken <= law(n=n)
    assert n < 1000 or law(n=n) < 2 * taken


def test_what_nothing_bounds_is_a_note():
    def build(sizes, device):
        matrix = torch.ones(sizes.n, sizes.n, device=device)
        return lambda: torch.linalg.qr(matrix)

    law = oom_suite.law(build, {"n": 8}, target="cuda:sm_90")
    assert "aten::linalg_qr at " in " ".join(law.notes)
    assert "may take more: " in " ".join(law.notes)


def test_a_law_is_that_of_the_targets_own_branch():
    """Found and proved in the branch that only this GPU takes."""

    def build(sizes, device):
        x = torch.ones(sizes.n, device=device)
        return lambda: x.double() if torch.version.hip else x * 2

    found = [str(oom_suite.law(build, {"n": 8}, target=t)) for t in ("rocm:gfx942", "cuda:sm_90")]
    assert ["8*n", "4*n"] == found


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda law: law(tokens=1), "law: unknown axis 'tokens': choose from num_tokens, width"),
        (lambda law: law(width=0), "law: width=0 is not a size: give a whole number from 1"),
        (
            lambda law: law.solve("tokens", 1),
            "solve: unknown axis 'tokens': choose from num_tokens, width",
        ),
        (
            lambda law: law.solve("width", 1, width=3),
            "solve: width is asked for and fixed at 3",
        ),
        (
            lambda law: law.solve("width", 31),
            "nothing fits 31 B: not even width=1 does",
        ),
        (lambda law: law.solve("width", "0GiB"), "budget '0GiB' is no bytes at all: give a device"),
    ],
)
def test_what_cannot_be_asked_is_one_line(law, ask, expected):
    with pytest.raises(UsageError) as error:
        ask(law)
    assert str(error.value).startswith(expected)


def test_an_axis_that_costs_nothing_has_no_largest_size():
    def build(sizes, device):
        x = torch.zeros(sizes.pool, 4, device=device)
        return lambda: x[: sizes.n] * 2

    law = oom_suite.law(build, {"pool": 512, "n": 4}, far={"n": (2, 8)})
    with pytest.raises(UsageError, match=r"^every pool fits 1\.00 KiB: the peak does not outgrow"):
        law.solve("pool", 1024)


def test_code_that_cannot_run_has_no_law():
    def build(sizes, device):
        x = torch.randn(1 << 20, sizes.n, device=device)
        return lambda: x.sum().item()

    with pytest.raises(LaneError, match=r"^no law of build: .*value that exists only on a device"):
        oom_suite.law(build, {"n": 4})
