"""`@memory_law` and `oom_law` in a repository of somebody else."""

from __future__ import annotations

import pytest

HEAD = """
import pytest
import torch
from oom_suite import memory_law

AXES = {"num_blocks": 512, "num_tokens": 4}


def inputs(sizes, device):
    cache = torch.ones(sizes.num_blocks, 64, dtype=torch.bfloat16, device=device)
    return cache, torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)


def own_operator(x):
    # Where it is called: a process can define an operator only once.
    torch.library.define("mine::triple", "(Tensor x) -> Tensor")
    return lambda: torch.ops.mine.triple(x)

"""


@pytest.fixture
def run(pytester, oom_run):
    """`run(body, *arguments)`: a run of one test file, which ends with this body."""

    def run(body, *arguments):
        pytester.makepyfile(test_laws=HEAD + body)
        return oom_run(*arguments)

    return run


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["plain", "xdist"])
def test_a_kept_and_a_broken_promise(run, workers):
    """The test of a kept promise passes; that of a broken one names axis, bytes and line."""
    body = """
@memory_law(axes=AXES, independent_of="num_blocks", law="384*num_tokens")
def test_kept(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: cache[slots].float()


@memory_law(axes=AXES, independent_of="num_blocks")
def test_broken(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: cache.float()[slots]
"""
    result = run(body, *workers)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL  test_laws.py::test_broken: workload memory_law, lane shadow, scenario default",
            "  why      peak grows with num_blocks (256 bytes per block)",
            "  blame    test_laws.py:* (<lambda>)",
            "  next     git bisect run oom-suite probe --test test_laws.py::test_broken",
            "1 passed, 1 failed",
        ]
    )


def test_methods_parameters_and_fixtures(run):
    """A method, parametrized values and a fixture's value reach the builder in the child."""
    body = """
@pytest.fixture
def width():
    return 16


class TestCopies:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @memory_law(axes={"num_tokens": 4}, linear_in="num_tokens")
    def test_copy(self, sizes, device, dtype, width):
        x = torch.ones(sizes["num_tokens"], width, dtype=dtype, device=device)
        return x.clone
"""
    run(body).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "return own_operator(inputs(sizes, device)[0])",
            '*custom operator mine::triple has no fake kernel*register_fake("mine::triple")',
        ),
        ("return 4", "*test_it returns int, not a function: return what is to be judged as a*"),
        ("return lambda: 1 / 0", "*raised: ZeroDivisionError: division by zero at *test_laws.py:*"),
        ("import os; return lambda: os.abort()", "*crashed: the process crashed with SIGABRT*"),
        ("return lambda: torch.ones(sizes.tokens)", "*unknown axis 'tokens': choose from *"),
    ],
    ids=["no fake kernel", "no call", "raises", "crashes", "unknown axis"],
)
def test_what_cannot_be_judged_is_one_line(run, body, expected):
    """Code that cannot be run is INCONCLUSIVE, a failure of one line that says why."""
    test = f"""
@memory_law(axes=AXES, constant=True)
def test_it(sizes, device):
    {body}
"""
    result = run(test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"INCONCLUSIVE*{expected}"])


def test_a_bad_declaration_ends_the_run_at_collection(run):
    """What cannot be read is told before anything runs, in one line with the test's name."""
    body = """
@memory_law(axes=AXES, at_most="1GB*num_tokens")
def test_it(sizes, device):
    return lambda: None
"""
    result = run(body)
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(["ERROR: test_laws.py::test_it: *GB*"])


def test_the_fixture_judges_functions_and_closures(run):
    """`oom_law` raises for a broken promise, and returns the result of one that is kept."""
    body = """
from oom_suite.errors import ContractError


def grown(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: cache.float()[slots]


def test_closure(oom_law):
    def build(sizes, device):
        cache, slots = inputs(sizes, device)
        return lambda: cache[slots]
    assert "128*num_tokens" == str(oom_law(build, axes=AXES, independent_of="num_blocks").law)


def test_function(oom_law):
    with pytest.raises(ContractError, match="peak grows with num_blocks"):
        oom_law(grown, axes=AXES, independent_of="num_blocks")


def test_unknown_argument(oom_law):
    with pytest.raises(Exception, match="oom_law takes no 'independent'"):
        oom_law(grown, axes=AXES, independent="num_blocks")
"""
    run(body).assert_outcomes(passed=3)


def test_another_law_than_the_promised_one_fails(run):
    """A law that is not the promised text fails with both."""
    body = """
@memory_law(axes=AXES, law="64*num_tokens")
def test_it(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: cache[slots]
"""
    result = run(body)
    result.stdout.fnmatch_lines(["*the law is 128[*]num_tokens, not the promised 64[*]num_tokens"])


def test_a_budget_is_held_against_the_production_sizes(run):
    """The peak at sizes that no test could allocate must fit the budget."""
    body = """
@memory_law(axes=AXES, budget="1GiB", production={"num_blocks": 20_000_000})
def test_it(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: cache.float()
"""
    result = run(body)
    result.stdout.fnmatch_lines(["*scenario production", "  why      4.77 GiB do not fit 1GiB"])


def test_a_compiled_function_is_judged_as_written(run):
    """The law of a compiled function is that of its code, and a note says what that means."""
    body = """
@torch.compile
def double(x):
    return x * 2 + 1


@memory_law(axes={"num_tokens": 4}, constant=True)
def test_it(sizes, device):
    x = torch.ones(sizes.num_tokens, device=device)
    return lambda: double(x)
"""
    result = run(body)
    result.stdout.fnmatch_lines(
        ["*note *", "*torch.compile: the law is that of the code as it is written; compiled, *"]
    )


def test_the_cpu_is_held_against_its_own_prediction(run):
    """Fused attention and dropout take other kernels there than on a GPU, whose law it stays."""
    body = """
from torch.nn.functional import dropout, scaled_dot_product_attention


@memory_law(axes={"n": 64}, linear_in="n", law="320*n")
def test_dropout(sizes, device):
    x = torch.zeros(sizes.n, 64, device=device)
    return lambda: dropout(x, 0.5)


@memory_law(axes={"n": 64}, linear_in="n")
def test_attention(sizes, device):
    x = torch.zeros(1, 2, sizes.n, 64, dtype=torch.bfloat16, device=device)
    query = torch.zeros(1, 2, 1, 64, dtype=torch.bfloat16, device=device)
    return lambda: scaled_dot_product_attention(query, x, x)


@memory_law(axes={"n": 64}, linear_in="n")
def test_another_branch(sizes, device):
    x = torch.zeros(sizes.n, 64, device=device)
    return lambda: x.double() if x.device.type == "cpu" else x.half()
"""
    run(body).assert_outcomes(passed=3)


def test_bytes_that_a_cpu_takes_beside_its_prediction_are_not_green(run):
    """A call that takes more when tensors are real is not explained by the CPU's own kernels."""
    body = """
from torch._subclasses.fake_tensor import FakeTensor


@memory_law(axes={"n": 64}, linear_in="n")
def test_more_where_real(sizes, device):
    x = torch.zeros(sizes.n, 64, device=device)
    return lambda: x.half() if isinstance(x, FakeTensor) else x.double()
"""
    result = run(body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*+24,576 bytes requested measured*"])


def test_what_calls_keep_is_measured_and_judged(run):
    """A memo passes, measured to the byte; a leak and a copy of the pool on the host fail."""
    body = """
MEMO, FINISHED = {}, []


def positions(num, device):
    if num not in MEMO:
        MEMO[num] = torch.arange(num, device=device)
    return MEMO[num]


@memory_law(axes=AXES, independent_of="num_blocks", law="520*num_tokens")
def test_memo(sizes, device):
    cache, slots = inputs(sizes, device)

    def call():
        rows = positions(slots.shape[0], device)
        return cache[slots].float() * 2 + rows[:, None]

    return call


@memory_law(axes=AXES, linear_in="num_tokens")
def test_leak(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: FINISHED.append(cache[slots])


@memory_law(axes=AXES, independent_of="num_blocks")
def test_host(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: cache.cpu()[slots.cpu()]


@memory_law(axes=AXES, independent_of="num_blocks", host=False)
def test_host_left_out(sizes, device):
    cache, slots = inputs(sizes, device)
    return lambda: cache.cpu()[slots.cpu()]
"""
    result = run(body)
    result.stdout.fnmatch_lines(
        [
            "  why      each call leaves 512 bytes alive at * held by `FINISHED`: a leak",
            "  why      host memory: peak grows with num_blocks (128 bytes per block)",
            "*kept: MEMO *32 B*",
        ]
    )
    result.assert_outcomes(passed=2, failed=2)
