"""Code whose sizes data decides, in a repository of somebody else: the worst case is judged."""

from __future__ import annotations

import pytest

HEAD = """
import torch
from oom_suite import memory_law


def by_expert(x, gate, weights):
    chosen = (x @ gate).argmax(-1)
    out = torch.zeros_like(x)
    for expert in range(len(weights)):
        rows = torch.where(chosen == expert)[0]
        out.index_add_(0, rows, x[rows] @ weights[expert])
    return out


def into_a_list(x, gate, weights):
    chosen = (x @ gate).argmax(-1)
    return torch.cat([x[chosen == expert] @ each for expert, each in enumerate(weights)])


def rows_of(x):
    return torch.where(x[:, 0] > 0)[0]
"""

EXPERTS = """
@memory_law(axes={{"tokens": 32, "experts": 4}}, far={{"experts": {far}}}, at_most="{at_most}")
def test_{name}(sizes, device):
    x = torch.randn(sizes.tokens, 64, device=device)
    gate = torch.randn(64, sizes.experts, device=device)
    widths = [256 if expert == {wide} else 64 for expert in range(sizes.experts)]
    weights = [torch.zeros(64, width, device=device) for width in widths]
    return lambda: {call}(x, gate, weights)
"""
POOL = """
@memory_law(axes={{"pool": 256, "n": 64}}, {promise})
def test_{name}(sizes, device):
    cache = torch.zeros(sizes.pool, 64, device=device)
    x = torch.randn(sizes.n, 64, device=device)
    return lambda: {call}(cache, x)
"""


def law(call, at_most, name, wide=None):
    """A test of a loop over experts, the one of number `wide` four times as wide as the others."""
    far = (4, 8) if wide else (2, 8)
    return EXPERTS.format(call=call, at_most=at_most, name=name, wide=wide, far=far)


def pool_law(call, name, promise='independent_of="pool"'):
    return POOL.format(call=call, name=name, promise=promise)


@pytest.fixture
def run(pytester, oom_run):
    """`run(body)`: a run of one test file, which ends with this body; its output."""

    def run(body, *, passed=0, failed=0):
        pytester.makepyfile(test_laws=HEAD + body)
        result = oom_run("test_laws.py")
        result.assert_outcomes(passed=passed, failed=failed)
        return result.stdout.str()

    return run


def test_experts_in_a_loop_have_the_law_of_the_worst_split(run):
    """All tokens choose one expert: 784 bytes a token, and not a byte less is promised."""
    output = run(
        law("by_expert", "784*tokens + 8*tokens*experts", "kept"),
        passed=1,
    )
    assert "784*tokens" in output
    output = run(
        law("by_expert", "783*tokens + 4*experts", "broken"),
        failed=1,
    )
    assert "aten::nonzero at test_laws.py" in output
    assert "gives at most 32 entries in 4 calls together: the worst case" in output


def test_a_list_of_shares_is_no_larger_than_their_whole(run):
    """The experts' outputs are together as many rows as there are tokens, wherever they go."""
    run(
        law("into_a_list", "520*tokens + 4*tokens*experts", "kept"),
        passed=1,
    )


def test_the_worst_split_is_found_where_it_is(run):
    """The third of four experts is the wide one: the worst is that all tokens choose it."""
    body = """
def narrow(x, gate, weights):
    chosen = (x @ gate).argmax(-1)
    return [(x[chosen == expert] @ each)[:, :64] for expert, each in enumerate(weights)]

"""
    output = run(
        body + law("narrow", "1287*tokens + 4*experts", "broken", wide=2),
        failed=1,
    )
    assert "1288*tokens" in output
    run(
        body + law("narrow", "1288*tokens + 4*tokens*experts", "kept", wide=2),
        passed=1,
    )


def test_code_that_takes_more_where_data_chooses_less_is_found(run):
    """Where no row is chosen the whole pool is converted: that breaks the promise."""
    output = run(
        """
def fallback(cache, x):
    rows = rows_of(x)
    if rows.shape[0] < 1:
        return cache * 2
    return x[rows]


"""
        + pool_law("fallback", "broken"),
        failed=1,
    )
    assert "FAIL" in output
    assert "peak grows with pool (256 bytes per pool), where data chooses none of" in output


def test_what_is_left_is_largest_where_least_is_chosen(run):
    """The law is that of the other rows where it is the larger one, and a note says so."""
    body = """
def rest(cache, x):
    return torch.zeros(2 * (x.shape[0] - rows_of(x).shape[0]), 64, device=x.device)


"""
    output = run(body + pool_law("rest", "broken", 'at_most="511*n"'), failed=1)
    assert "512*n" in output
    run(body + pool_law("rest", "kept", 'at_most="512*n"'), passed=1)


def test_a_condition_on_what_data_decides_is_named(run):
    """Between five and eight rows anything may happen: no run was there, and the line is told."""
    output = run(
        """
def between(cache, x):
    rows = rows_of(x)
    if 5 < rows.shape[0] < 8:
        return cache * 2
    return x[rows]


def skipping(cache, x):
    rows = rows_of(x)
    if rows.numel() == 0:
        return x
    return x[rows]


"""
        + pool_law("between", "unclear")
        + pool_law("skipping", "clear"),
        passed=1,
        failed=1,
    )
    assert "INCONCLUSIVE" in output
    assert "one thing or another by a size that data decides: true_entries > 5 at" in output


def test_known_lengths_may_be_read_through_numpy(run):
    """They are what the builder made; what is drawn is refused with the line that reads it."""
    output = run(
        """
@memory_law(axes={"reqs": 4, "pool": 64}, independent_of="pool")
def test_known(sizes, device):
    lens = torch.full((sizes.reqs,), 3, dtype=torch.int32, device=device)
    cache = torch.zeros(sizes.pool, 64, dtype=torch.bfloat16, device=device)
    return lambda: cache[: int(lens.cpu().numpy().max())].float().sum()


@memory_law(axes={"reqs": 4, "pool": 64}, independent_of="pool")
def test_drawn(sizes, device):
    lens = torch.randint(1, 4, (sizes.reqs,), device=device)
    cache = torch.zeros(sizes.pool, 64, dtype=torch.bfloat16, device=device)
    return lambda: cache[: int(lens.cpu().numpy().max())].float().sum()
""",
        passed=1,
        failed=1,
    )
    assert "numpy() reads a value that exists only on a device at test_laws.py" in output
    assert "INCONCLUSIVE" in output
