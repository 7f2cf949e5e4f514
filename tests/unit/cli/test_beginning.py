"""Where the command line begins and ends."""

from __future__ import annotations

import signal
import sys

import pytest

import oom_suite.__main__ as beginning


@pytest.mark.parametrize(("words", "code"), [(("--version",), 0), (("no-such-command",), 2)])
def test_a_signal_that_comes_after_the_last_word_changes_no_exit_code(monkeypatch, words, code):
    """While Python ends, what asks it to end is not heard any more."""
    heard = {}
    monkeypatch.setattr(sys, "argv", ["oom-suite", *words])
    monkeypatch.setattr(beginning.signal, "signal", heard.__setitem__)
    with pytest.raises(SystemExit) as ended:
        beginning.main()
    assert code == (ended.value.code or 0)
    assert {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN} == {
        number: heard[number] for number in (signal.SIGINT, signal.SIGTERM)
    }
