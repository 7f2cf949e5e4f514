"""Children that die are replaced, a few times."""

from __future__ import annotations

import pytest

from oom_suite.processes.askers import MAX_DEATHS, Respawning
from oom_suite.processes.child import ChildError, Outcome


class Fake:
    """A child that answers what it is asked, and fails as it is told to."""

    def __init__(self):
        self.is_closed = False

    def ask(self, request):
        if isinstance(request, Outcome):
            raise ChildError(request, request.value)
        return request

    def close(self):
        self.is_closed = True


@pytest.fixture
def started():
    return []


@pytest.fixture
def asker(started):
    def start():
        started.append(Fake())
        return started[-1]

    with Respawning(start) as asker:
        yield asker


def test_one_child_answers_all_while_it_lives(asker, started):
    """Nothing is started twice without need: an error that is an answer ends no child."""
    assert 1 == asker.ask(1)
    with pytest.raises(ChildError, match="raised"):
        asker.ask(Outcome.RAISED)
    assert 2 == asker.ask(2)
    assert 1 == len(started)


@pytest.mark.parametrize(
    "death", [Outcome.TIMED_OUT, Outcome.KILLED, Outcome.CRASHED, Outcome.EXITED]
)
def test_dead_child_is_replaced(asker, started, death):
    """The request that a child died of fails; the next one is answered by a new child."""
    with pytest.raises(ChildError, match=death.value):
        asker.ask(death)
    assert started[0].is_closed
    assert "next" == asker.ask("next")
    assert 2 == len(started)


def test_too_many_deaths_end_the_asking(asker, started):
    """After the last death that is borne, requests fail at once and start nothing."""
    for _ in range(MAX_DEATHS):
        with pytest.raises(ChildError):
            asker.ask(Outcome.TIMED_OUT)
    with pytest.raises(ChildError, match="timed out"):
        asker.ask("never asked")
    assert MAX_DEATHS == len(started)


def test_leaving_ends_the_child(started):
    """The child that lives when the block is left is closed."""
    with Respawning(lambda: started.append(Fake()) or started[-1]) as asker:
        asker.ask(1)
    assert started[0].is_closed


def test_a_child_can_be_replaced_though_it_lives(asker, started):
    """As often as need be: that is no death."""
    for number in range(MAX_DEATHS + 1):
        assert not asker.is_alive
        assert number == asker.ask(number)
        assert asker.is_alive
        asker.close()
    assert all(one.is_closed for one in started)
    assert MAX_DEATHS + 1 == len(started)
