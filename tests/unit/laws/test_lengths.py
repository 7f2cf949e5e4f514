"""Laws of code that loops over an axis: fitted at a few turns, checked at all that count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from heap import Code

from oom_suite.laws.derive import derive
from oom_suite.laws.evidence import Survey
from oom_suite.laws.judge import judge
from oom_suite.laws.lengths import LONG, MAX_FAR, Lengths, short_starts
from oom_suite.records import Axis, Contract, Polynomial, Verdict, Workload

LOOP = Workload(
    name="loop",
    axes=(
        Axis("tokens", step=64, far=(1, 320, 1280, 10240)),
        Axis("pool", step=64, far=(1, 4096, 32768)),
    ),
    builder="",
    contract=Contract(independent_of=("pool",)),
)
HOME = {"tokens": 320, "pool": 4096}


def turns(heap, s, body=lambda heap, s, turn: None):
    """Two requests a turn, one of which stays; then all that stayed in one."""
    kept = []
    for turn in range(s.tokens):
        heap.passing("scores", 256)
        body(heap, s, turn)
        kept.append(heap.alloc("row", 8))
    heap.passing("stack", 8 * s.tokens)
    heap.free(*kept)


def looping(body):
    return Code(lambda heap, s: turns(heap, s, body))


class Counted(Code):
    """Counts the requests of all runs, too."""

    num_requests = 0

    def __call__(self, sizes):
        trace = super().__call__(sizes)
        self.num_requests += len(trace.allocations)
        return trace


def law_at(code, home=HOME, workload=LOOP):
    return derive(code, workload, home)


def test_a_loop_over_an_axis_costs_its_law_a_few_turns():
    """A second run at the scenario and the far sizes apart, no run has more than seven turns."""
    code = Counted(turns)
    found = law_at(code)
    assert "max(16*tokens, 8*tokens + 248)" == str(found.law)
    assert (HOME, True) == (found.law.sizes, found.is_global)
    own = 2 * HOME["tokens"] + 1
    # The scenario, the same again, it with a large pool; and one run at 1,280 turns.
    assert code.num_requests < 3 * own + (2 * 1280 + 1) + 30 * 15


def test_the_law_is_the_one_that_long_runs_give(monkeypatch):
    quick = law_at(Code(turns))
    monkeypatch.setattr("oom_suite.laws.derive.short_starts", lambda *_: ())
    slow = law_at(Code(turns))
    assert all(regime in quick.law.regimes for regime in slow.law.regimes)
    for tokens in (1, 31, 320, 4000):
        assert slow.law({**HOME, "tokens": tokens}) == quick.law({**HOME, "tokens": tokens})


@pytest.mark.parametrize("last", [319, 300, 64])
def test_what_a_late_turn_alone_takes_is_in_the_law(last):
    """The turn that is the last of the scenario's is seen, and what it takes is judged."""
    big = looping(lambda heap, s, turn: turn == last and heap.passing("big", 1 << 20))
    workload = replace(LOOP, contract=Contract(at_most=Polynomial.of({(): 1 << 19})))
    found = derive(big, workload, HOME)
    assert Verdict.FAIL is judge(found, workload).verdict
    assert found.law(HOME) == (1 << 20) + 8 * last


def test_a_turn_that_the_scenario_does_not_have_is_no_part_of_its_law():
    """The healthy twin, at the boundary: no run comes to turn 1,280."""
    far = looping(lambda heap, s, turn: turn == 1280 and heap.passing("big", 1 << 20))
    bound = Polynomial.of({("tokens",): 16, (): 1 << 19})
    workload = replace(LOOP, contract=Contract(at_most=bound))
    found = derive(far, workload, HOME)
    assert Verdict.PASS is judge(found, workload).verdict
    assert 16 * 320 == found.law(HOME)


def test_a_bound_that_the_law_outgrows_where_no_run_is_short_is_broken():
    """16 bytes a token are over half a MiB from 32,769 tokens on: no run goes there."""
    bound = Polynomial.of({(): 1 << 19})
    workload = replace(LOOP, contract=Contract(at_most=bound))
    code = Counted(turns)
    judgement = judge(derive(code, workload, HOME), workload)
    assert (Verdict.FAIL, True) == (judgement.verdict, code.num_requests < 20_000)
    assert "tokens=40,960, allowed 524,288" in judgement.reason


@pytest.mark.parametrize(
    ("last", "verdict"), [(319, Verdict.FAIL), (300, Verdict.FAIL), (1 << 20, Verdict.PASS)]
)
def test_a_pool_that_only_a_late_turn_reads_is_found(last, verdict):
    """By the same line, and at the scenario's own pool with as many bytes as any turn takes."""

    def body(heap, s, turn):
        heap.passing("gather", s.pool if turn == last else 4096)

    assert verdict is judge(law_at(looping(body)), LOOP).verdict


def test_sizes_that_were_asked_for_are_run_however_long_that_takes():
    code = Code(turns)
    seen = []

    def run(sizes):
        seen.append(sizes["tokens"])
        return code(sizes)

    derive(run, LOOP, HOME)
    assert 10240 not in seen
    tokens, pool = LOOP.axes
    asked = replace(LOOP, axes=(replace(tokens, declared=(10240,)), pool))
    derive(run, asked, HOME)
    assert 1 == seen.count(10240)


def test_code_that_needs_multiples_is_fitted_to_a_few_of_them():
    """A chunk of 64 tokens each: four tokens have one turn, and say nothing of more."""

    def chunks(heap, s):
        kept = []
        for _ in range(0, s.tokens, 64):
            heap.passing("scores", 1024)
            kept.append(heap.alloc("rows", 512))
        heap.free(*kept)

    home = {**HOME, "tokens": 64 * 1024}
    workload = replace(LOOP, axes=(Axis("tokens", step=64, far=()), LOOP.axes[1]))
    code = Counted(chunks)
    found = law_at(code, home, workload)
    assert "8*tokens + 512" == str(found.law)
    assert code.num_requests < 4 * 2 * 1024


def survey_of(code, home):
    survey = Survey(code, home)
    survey.at({})
    return survey


@pytest.mark.parametrize(("tokens", "starts"), [(LONG // 2 - 1, []), (LONG // 2, [4])])
def test_only_long_runs_are_shortened(tokens, starts):
    """Two requests a turn and one more: at 300 turns there is one more than is long."""
    survey = survey_of(Code(turns), {**HOME, "tokens": tokens})
    found = [start["tokens"] for start, _ in short_starts(survey, LOOP)]
    assert starts == found[:1]


@pytest.mark.parametrize(("tokens", "starts"), [(LONG, []), (LONG + 1, [4])])
def test_a_run_is_long_from_one_request_more_on(tokens, starts):
    """One request a turn."""
    code = Code(lambda heap, s: [heap.passing("line", 8) for _ in range(s.tokens)])
    survey = survey_of(code, {**HOME, "tokens": tokens})
    assert starts == [start["tokens"] for start, _ in short_starts(survey, LOOP)][:1]


def test_a_long_run_that_no_axis_shortens_is_left_as_it_is():
    code = Code(lambda heap, s: [heap.passing("line", 8) for _ in range(2000)])
    assert [] == list(short_starts(survey_of(code, HOME), LOOP))


def test_nested_loops_are_shortened_in_both_axes():
    def nested(heap, s):
        for _ in range(s.tokens * s.pool):
            heap.passing("line", 8)

    home = {"tokens": 64, "pool": 64}
    (start, made), *_ = short_starts(survey_of(Code(nested), home), LOOP)
    assert {"tokens": 4, "pool": 4} == start
    assert [1, 1] == [axis.step for axis in made.axes]


@pytest.mark.parametrize(
    ("count", "sizes", "expected"),
    [
        (lambda s: 3 * s.tokens + 5, {"tokens": 9000, "pool": 64}, 27_005),
        (lambda s: s.tokens**2, {"tokens": 100, "pool": 64}, 10_000),
        (lambda s: s.tokens * s.pool, {"tokens": 40, "pool": 640}, 25_600),
        (lambda s: 7, {"tokens": 9000, "pool": 9000}, 7),
    ],
    ids=["linear", "square", "nested", "constant"],
)
def test_how_long_a_run_would_be(count, sizes, expected):
    code = Code(lambda heap, s: [heap.passing("line", 8) for _ in range(count(s))])
    start = {"tokens": 4, "pool": 64}
    survey = survey_of(code, start)
    for moved in ({"tokens": 5}, {"tokens": 6}, {"pool": 65}, {"pool": 66}):
        survey.at(moved)
    assert expected == pytest.approx(Lengths(survey, LOOP).at(sizes))


def test_far_sizes_are_taken_as_far_as_runs_are_short_enough():
    """One request a turn: 10,000 turns are run and 10,001 are not; then twice the scenario is."""
    code = Code(lambda heap, s: [heap.passing("line", 8) for _ in range(s.tokens)])
    survey = survey_of(code, HOME)
    survey.at({"tokens": 4})
    lengths = Lengths(survey, LOOP)
    tokens, pool = LOOP.axes

    def far(*values, home=320):
        workload = replace(LOOP, axes=(replace(tokens, far=values), pool))
        return lengths.nearer(workload, {**HOME, "tokens": home}).axes[0].far

    assert (1, MAX_FAR) == far(1, MAX_FAR, MAX_FAR + 1)
    assert (1, 5120) == far(1, MAX_FAR + 1)
    assert (1, 5000, MAX_FAR) == far(1, 5000, MAX_FAR + 1, home=5000)
    assert (1, 6000) == far(1, 6000, MAX_FAR + 1, home=6000)
