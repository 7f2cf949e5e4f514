"""Proofs that spare exact runs, and code that shows symbols one thing and plain numbers another."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.laws.judge import judge
from oom_suite.pipeline.awaited import Awaited
from oom_suite.pipeline.judging import find_law, study
from oom_suite.pipeline.law_tests.promise import promise
from oom_suite.pipeline.programs import BuilderProgram
from oom_suite.pipeline.session import Session
from oom_suite.records import Verdict
from oom_suite.records.symbolic import Hints, SymbolicTrace

AXES = {"num_blocks": 512, "num_tokens": 8}
PROMISE = {"axes": AXES, "independent_of": "num_blocks", "measure": False}


def gather(sizes, device):
    cache = torch.zeros(sizes.num_blocks, 16, device=device)
    rows = torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)
    return lambda: cache[rows].float() * 2


def _deceiving(sizes, device, axis, more):
    """What `gather` does, and `more` at one size that is a plain number: no symbol shows it."""
    step, size = gather(sizes, device), getattr(sizes, axis)

    def call():
        if type(size) is int and more(size):
            torch.zeros(more(size), 64, device=device).sum()
        return step()

    return call


def pool_when_large(sizes, device):
    return _deceiving(sizes, device, "num_blocks", lambda size: size if size > 10_000 else 0)


def more_for_one_token(sizes, device):
    return _deceiving(sizes, device, "num_tokens", lambda size: 1 << 20 if size == 1 else 0)


@pytest.fixture
def session():
    with Session() as session:
        yield session


def opened(session, build):
    program = BuilderProgram(__file__, __name__, build.__name__, str(Path(__file__).parent))
    return session.open(program, build.__name__)


def settings():
    return promise(**PROMISE).settings("cpu", None, 60.0)


def test_a_proof_for_all_sizes_spares_the_runs_of_a_grid(session):
    runs = opened(session, gather)
    derivation, judgement, proof = find_law(runs, settings())
    assert Verdict.PASS is judgement.verdict
    assert str(proof.law) == str(derivation.law)
    fitted = opened(session, gather)
    fitted.symbolic = lambda hints: _refused()
    other, judged, _ = find_law(fitted, settings())
    assert (str(derivation.law), judgement) == (str(other.law), judged)
    assert 2 * len(runs.known_sizes) < len(fitted.known_sizes) + len(runs.known_sizes)


def _refused():
    raise LaneError("no symbols here")


def test_growth_that_no_symbol_shows_fails(session):
    """The pool, far beyond the scenario alone."""
    result = study(opened(session, pool_when_large), "code", settings()).result
    assert Verdict.FAIL is result.verdict
    assert "num_blocks" in result.reason


def test_a_proof_that_runs_contradict_at_one_size_is_not_green(session):
    """Though nothing of it breaks what is promised: one of the two lanes is wrong."""
    result = study(opened(session, more_for_one_token), "code", settings()).result
    assert Verdict.INCONCLUSIVE is result.verdict
    assert result.reason.startswith("the lanes disagree at num_blocks=")


def waiting(run):
    """A proof that waits for `run`, and whether there is something to wait for."""
    workload = SimpleNamespace(axes=())
    awaited, found = Awaited(run, workload), []
    thread = threading.Thread(target=lambda: found.append(awaited.proof()))
    thread.start()
    return awaited, thread, found


PLAIN = SymbolicTrace(Hints({}), {}, (), ())
NUMBER = SymbolicTrace(Hints({}), {"tokens": (4, None)}, (), ())


def test_a_proof_is_waited_for_while_it_may_hold_for_all_sizes():
    """Runs beyond the first are those of other branches, and may have what it has not."""
    traces = iter([PLAIN, NUMBER])
    awaited, thread, found = waiting(lambda hints: next(traces))
    with awaited:
        awaited.symbolic(Hints({}))
        awaited.symbolic(Hints({}))
        assert thread.is_alive()
        assert "the proof" == awaited.given("the proof")
        thread.join(5)
    assert ["the proof"] == found


def test_a_first_run_with_a_number_in_it_ends_the_waiting():
    awaited, thread, found = waiting(lambda hints: NUMBER)
    with awaited:
        awaited.symbolic(Hints({}))
        thread.join(5)
        assert [None] == found
        awaited.given("the proof")
    assert awaited.proof() is None


@pytest.mark.parametrize("error", [LaneError("no"), KeyboardInterrupt()], ids=["lane", "signal"])
def test_a_run_that_fails_ends_the_waiting(error):
    def run(hints):
        raise error

    awaited, thread, found = waiting(run)
    with pytest.raises(type(error)):
        awaited.symbolic(Hints({}))
    thread.join(5)
    assert [None] == found


def test_whatever_ends_a_proof_ends_the_waiting():
    awaited, thread, found = waiting(lambda hints: PLAIN)
    with pytest.raises(ZeroDivisionError), awaited:
        raise ZeroDivisionError
    thread.join(5)
    assert [None] == found


def test_a_fit_that_has_no_proof_is_judged_the_same(session):
    """Code in this process has its proof after its runs."""
    runs = opened(session, gather)
    derivation, judgement, _ = find_law(runs, settings())
    assert judge(derivation, settings().workload) == judgement


def upcast(sizes, device):
    cache = torch.zeros(sizes.num_blocks, 16, device=device)
    return lambda: cache.double()


def test_no_size_is_looked_for_from_which_on_a_proved_peak_stays(session):
    """What would pass is named all the same; the search for such a size takes a hundred runs."""
    runs = opened(session, upcast)
    result = study(runs, "code", settings()).result
    assert (Verdict.FAIL, 'linear_in="num_blocks"') == (result.verdict, result.holds)
    assert len(runs.known_sizes) < 20


def averaged(sizes, device):
    cache = torch.zeros(sizes.num_blocks, 1 << 20, device=device)
    rows = torch.zeros(sizes.num_tokens, dtype=torch.int64, device=device)
    return lambda: cache[rows].mean()


def test_terms_of_what_kernels_take_are_found_from_a_grid(session):
    """Kernels' own scratch is in no proof, and its terms are those of the runs without one."""
    runs, fitted = opened(session, averaged), opened(session, averaged)
    fitted.symbolic = lambda hints: _refused()
    found, other = (study(each, "code", settings()).result for each in (runs, fitted))
    assert other.inside == found.inside != ()
    assert {*map(str, fitted.known_sizes)} == {*map(str, runs.known_sizes)}
