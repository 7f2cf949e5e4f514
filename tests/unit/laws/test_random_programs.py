"""Laws of random programs, against brute force."""

from __future__ import annotations

from math import prod

from heap import SCENARIO, Code, law_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oom_suite.laws.judge import judge
from oom_suite.records import Axis, Contract, Polynomial, Verdict, Workload

AXES = ("pool", "tokens", "heads", "topk")
SIZES = {"pool": 640, "tokens": 4, "heads": 8, "topk": 64}
FREE = Workload(
    name="random",
    axes=(
        Axis("pool", step=64, far=(64, 1 << 20), unit="block"),
        Axis("tokens", step=1, far=(1, 128)),
        Axis("heads", step=8, far=(8, 128)),
        Axis("topk", step=32, far=(32, 2048)),
    ),
    builder="",
    contract=Contract(independent_of=("pool",)),
)

REQUESTS = st.builds(
    Polynomial.of,
    st.dictionaries(
        st.lists(st.sampled_from(AXES), max_size=3, unique=True).map(tuple),
        st.integers(1, 4096),
        min_size=1,
        max_size=2,
    ),
)
POOLLESS = REQUESTS.filter(lambda request: "pool" not in request.axes)


@st.composite
def programs(draw, requests=REQUESTS):
    """Allocations with random lives: each with its request and how many later ones it outlives."""
    length = draw(st.integers(1, 8))
    return [(draw(requests), draw(st.integers(0, 8))) for _ in range(length)]


def code(lives):
    """A program that makes these requests at one line each."""

    def program(heap, s):
        ends = {}
        for number, (request, life) in enumerate(lives):
            handle = heap.alloc(f"line_{number}", request(vars(s)))
            ends.setdefault(min(number + life, len(lives)), []).append(handle)
            heap.free(*ends.pop(number, ()))
        for handles in ends.values():
            heap.free(*handles)

    return program


def live_sums(lives):
    """Every live sum as a polynomial, by hand."""
    sums = []
    for now in range(len(lives)):
        terms = {}
        for number, (request, life) in enumerate(lives[: now + 1]):
            if number + life >= now:
                for axes, c in request.terms.items():
                    terms[axes] = terms.get(axes, 0) + c
        sums.append(Polynomial.of(terms))
    return sums


FAST = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
ANYWHERE = st.fixed_dictionaries({axis: st.integers(1, 10**7) for axis in AXES})


@FAST
@given(programs(), st.lists(ANYWHERE, min_size=1, max_size=20))
def test_the_law_is_the_true_peak_at_any_sizes(lives, points):
    """The derived maximum equals the peak of a run at sizes never seen."""
    law = law_of(code(lives), workload=FREE, at=SIZES).law
    run = Code(code(lives))
    for sizes in points:
        assert run(sizes).peak().num_bytes == law(sizes)


@FAST
@given(programs(), ANYWHERE)
def test_pruning_drops_no_regime_that_wins_anywhere(lives, sizes):
    """Every live sum is covered by a kept regime, and every kept one is a live sum."""
    law = law_of(code(lives), workload=FREE, at=SIZES).law
    sums = live_sums(lives)
    assert max(each(sizes) for each in sums) == law(sizes)
    lower = dict.fromkeys(AXES, 1)
    for regime in law.regimes:
        others = [other for other in law.regimes if other is not regime]
        assert not any(regime.at_most(other, lower) for other in others)


@FAST
@given(programs(POOLLESS), st.integers(0, 8), st.integers(1, 10**4), st.integers(0, 8))
def test_blame_names_the_one_line_that_grows(lives, place, coefficient, life):
    """A request of the pool planted anywhere in healthy code is the one that is blamed."""
    place = min(place, len(lives))
    guilty = (Polynomial.of({("pool",): coefficient}), life)
    planted = [*lives[:place], guilty, *lives[place:]]
    judgement = judge(law_of(code(planted), workload=FREE, at=SIZES), FREE)
    assert judgement.verdict is Verdict.FAIL
    (blame,) = judgement.blame
    assert blame.function == f"line_{place}"
    assert blame.axis == "pool"
    assert blame.bytes_per_unit == coefficient
    assert blame.bytes == coefficient * SIZES["pool"]


@FAST
@given(programs(POOLLESS))
def test_healthy_programs_pass_with_one_law(lives):
    """No pool in any request: PASS, one law everywhere, and no note."""
    derivation = law_of(code(lives), workload=FREE, at=SIZES)
    judgement = judge(derivation, FREE)
    assert judgement.verdict is Verdict.PASS
    assert judgement.notes == ()
    assert derivation.is_global
    assert derivation.law.num_runs <= 45


@FAST
@given(programs())
def test_the_text_of_a_law_names_axes_in_the_scenarios_order(lives):
    """In each term the axes stand in the order of the scenario; the text gives the value."""
    law = law_of(code(lives), workload=FREE, at=SIZES).law
    order = list({**SCENARIO, **SIZES})
    for regime in law.regimes:
        for term in str(regime).split(" + "):
            axes = [factor for factor in term.split("*") if not factor.isdigit()]
            assert sorted(axes, key=order.index) == axes
    value = eval(str(law), {"max": max}, dict(SIZES))
    assert law(SIZES) == value


def test_the_worst_request_multiplies_every_axis():
    """A product of all four axes is found exactly, and takes under a hundred runs."""
    request = Polynomial.of({AXES: 3})
    law = law_of(code([(request, 0)]), workload=FREE, at=SIZES).law
    assert prod((3, 2, 3, 5, 7)) == law({"pool": 2, "tokens": 3, "heads": 5, "topk": 7})
    assert law.num_runs < 100


def power_of_two(value):
    return 1 << (value - 1).bit_length()


IRREGULAR = (
    lambda s: power_of_two(s.topk) * 512,
    lambda s: -(-s.tokens // 16) * 16 * s.heads * 64,
    lambda s: -(-s.tokens * s.topk // 128) * 128 * 32,
    lambda s: max(1, 304 // (s.tokens * s.heads)) * s.tokens * 64,
    lambda s: min(s.tokens, 8) * s.topk * 1024,
    lambda s: max(s.heads, s.topk) * 256,
    lambda s: s.tokens * s.topk * 1024 * (s.tokens > 4),
    lambda s: 1024 * s.heads * (s.heads == 8 or s.tokens == 1),
    lambda s: -(-s.topk // 100) * 4096,
)
CONDITIONS = {
    "always": lambda s: True,
    "at one token": lambda s: s.tokens == 1,
    "with many tokens": lambda s: s.tokens > 100,
    "with few heads": lambda s: s.heads <= 8,
    "with many heads": lambda s: s.heads > 64,
    "with a long top-k": lambda s: s.topk > 1000,
    "with a large pool": lambda s: s.pool > 100_000,
    "with a small pool": lambda s: s.pool < 100,
}


@st.composite
def irregular_programs(draw):
    """Healthy code of irregular temporaries, some in loops that keep or free each turn."""
    parts = draw(st.lists(st.tuples(st.sampled_from(IRREGULAR), st.integers(0, 3)), max_size=4))

    def program(heap, s):
        kept = []
        for number, (num_bytes, kind) in enumerate(parts):
            turns = {0: 1, 1: 1, 2: -(-s.topk // 48), 3: s.tokens}[kind]
            for _ in range(turns if num_bytes(s) else 0):
                handle = heap.alloc(f"line_{number}", num_bytes(s))
                if kind in {0, 3}:
                    kept.append(handle)
                else:
                    heap.free(handle)
        heap.free(*kept)

    return program


@FAST
@given(irregular_programs())
def test_irregular_code_without_the_pool_is_never_an_alarm(program):
    """Paddings, splits, branches and loops that leave the pool alone pass."""
    derivation = law_of(program, workload=FREE, at=SIZES)
    assert judge(derivation, FREE).verdict is Verdict.PASS
    assert derivation.trace.peak().num_bytes == derivation.law(SIZES)


@FAST
@given(
    irregular_programs(),
    st.sampled_from(list(CONDITIONS)),
    st.sampled_from([1, 8, 64, 4096]),
    st.booleans(),
)
def test_growth_in_irregular_code_is_never_green(program, condition, blocks_per_byte, first):
    """One byte per 1 to 4,096 blocks, in any company and under any condition, is a FAIL."""

    def fault(heap, s):
        if CONDITIONS[condition](s):
            heap.passing("fault", -(-s.pool // blocks_per_byte))

    programs = (fault, program) if first else (program, fault)
    judgement = judge(law_of(*programs, workload=FREE, at=SIZES), FREE)
    if condition == "with a small pool":
        # At most 100 bytes whatever the pool: below the peak that is neither growth nor nothing.
        assert judgement.verdict is not Verdict.PASS
    else:
        assert judgement.verdict is Verdict.FAIL, judgement.reason
        assert {blame.function for blame in judgement.blame} == {"fault"}
