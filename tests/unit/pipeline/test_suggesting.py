"""Where a promise is broken, one that holds is named, and it does hold."""

from __future__ import annotations

import pytest
import torch
from studied import studied

from oom_suite.laws.contracts import contract
from oom_suite.pipeline.suggesting import arguments
from oom_suite.records import Verdict
from oom_suite.report.wording import failure_text

AXES = {"tokens": 64, "vocab": 16}


def chunked(sizes, device):
    x = torch.zeros(sizes.tokens, sizes.vocab, device=device)

    def call():
        for start in range(0, x.shape[0], 1024):
            x[start : start + 1024].exp().sum()

    return call


def doubled(sizes, device):
    x = torch.zeros(sizes.tokens, sizes.vocab, device=device)
    return lambda: x * 2


def masked(sizes, device):
    return lambda: torch.ones(sizes.tokens, sizes.tokens, device=device).tril()


@pytest.mark.parametrize(
    ("build", "promised", "holds"),
    [
        (chunked, {"independent_of": "tokens"}, 'bounded_in="tokens"'),
        (chunked, {"constant_after": {"tokens": 1000}},
         'bounded_in="tokens"'),
        (chunked, {"constant": True},
         'bounded_in="tokens", linear_in="vocab"'),
        (doubled, {"independent_of": "tokens"}, 'linear_in="tokens"'),
        (doubled, {"independent_of": "tokens", "linear_in": "vocab"},
         'at_most="4*tokens*vocab"'),
        (doubled, {"bounded_in": "tokens"}, 'linear_in="tokens"'),
        (doubled, {"linear_in": ["tokens", "vocab"]}, 'at_most="4*tokens*vocab"'),
        (doubled, {"at_most": "3*tokens*vocab"}, 'at_most="4*tokens*vocab"'),
        (masked, {"linear_in": "tokens"}, 'at_most="8*tokens**2"'),
        (masked, {"independent_of": "tokens"}, 'at_most="8*tokens**2"'),
    ],
)  # fmt: skip
def test_the_strongest_weaker_promise_that_holds_is_named(build, promised, holds):
    """As arguments of the decorator, which then pass."""
    axes = AXES if build is not masked else {"tokens": 64}
    result = studied(build, axes=axes, **promised)
    assert (Verdict.FAIL, holds) == (result.verdict, result.holds)
    given = eval(f"dict({holds})")
    is_flat = "bounded_in" in holds
    assert ("flat from tokens=1,024 on" if is_flat else "") == result.holds_because
    assert f"{holds} would pass" in failure_text(result)
    assert Verdict.PASS is studied(build, axes=axes, **given).verdict


def test_a_promise_that_is_kept_needs_no_other():
    assert "" == studied(doubled, axes=AXES, linear_in="tokens").holds


def test_the_law_itself_is_named_where_another_one_was_promised():
    """In its own text, which then passes."""
    result = studied(doubled, axes=AXES, law="4*tokens")
    assert (Verdict.FAIL, 'law="4*tokens*vocab"') == (result.verdict, result.holds)
    assert ["4*tokens*vocab"] == [str(term) for term in result.breach.terms]
    assert Verdict.PASS is studied(doubled, axes=AXES, law="4*tokens*vocab").verdict


def test_no_promise_makes_up_for_a_leak():
    kept = []

    def leaks(sizes, device):
        x = torch.zeros(sizes.tokens, 4, device=device)
        return lambda: kept.append(x * 2)

    result = studied(leaks, axes={"tokens": 8}, independent_of="tokens")
    assert (Verdict.FAIL, "") == (result.verdict, result.holds)


def test_a_contract_is_written_as_arguments():
    made = contract(
        ("a", "b"),
        independent_of="a",
        bounded_in=["a", "b"],
        constant_after={"b": 7},
        at_most="min(a, 4)*b + 1KiB",
    )
    text = arguments(made)
    assert (
        'independent_of="a", bounded_in=["a", "b"], constant_after={"b": 7}, '
        'at_most="min(a*b + 1024, 4*b + 1024)"'
    ) == text
    assert made == contract(("a", "b"), **eval(f"dict({text})"))
