"""Two threads of autograd that are the first to ask for torch's pool after a fork abort it."""

from __future__ import annotations

from fixtures.processes import HandlingChild


def test_a_childs_pool_of_threads_is_made_anew_before_its_first_request():
    """By its one thread; as large as it was."""
    with HandlingChild("fixtures.thread_pool:answers", (), time_limit_s=60.0) as child:
        assert [1] == child.ask(None)
