"""The option ``--oom-test-time-limit``, and the line that says what a test is doing."""

from __future__ import annotations

import pytest

from oom_suite.pytest_plugin import running
from oom_suite.pytest_plugin.running import Running


def test_the_command_line_wins_over_the_ini_file_and_there_is_none_by_default(oom_seen):
    assert oom_seen()["test_time_limit_s"] is None
    assert oom_seen(ini="oom_test_time_limit = 60")["test_time_limit_s"] == 60.0
    seen = oom_seen("--oom-test-time-limit=1.5", ini="oom_test_time_limit = 60")
    assert seen["test_time_limit_s"] == 1.5


@pytest.mark.parametrize("text", ["soon", "0"])
def test_what_is_no_time_stops_the_run_before_collection(oom_refusal, text):
    expected = f"--oom-test-time-limit: {text!r} is not a number of seconds; write it like 60"
    assert expected == oom_refusal(f"--oom-test-time-limit={text}")


class Terminal:
    """What pytest keeps of a terminal, as far as `Running` asks for it."""

    def __init__(self, *, isatty):
        self.isatty, self.written = isatty, []
        self.pluginmanager = self

    def getplugin(self, name):
        return self if name == "terminalreporter" else None

    def get_terminal_writer(self):
        return self

    def write(self, text, *, flush):
        assert flush
        self.written.append(text)


def shown(terminal, monkeypatch, num_lines):
    """What is written while a test runs, until so many lines have been."""
    monkeypatch.setattr(running, "_FIRST_S", 0.001)
    monkeypatch.setattr(running, "_FIRST_IN_LOG_S", 0.001)
    monkeypatch.setattr(running, "_AGAIN_S", 0.001)
    with Running(terminal, "test_a.py::test_b") as test:
        test.update("test_b", "shadow run 7\x1b[2J")
        while len(terminal.written) < num_lines:
            assert not test._is_over.wait(0.001)
    return terminal.written


def test_a_terminal_has_one_line_that_is_written_anew_and_removed(monkeypatch):
    first, *_, last = shown(Terminal(isatty=True), monkeypatch, 3)
    assert first.startswith("\rtest_a.py::test_b: ")
    assert (first[-1], len(first), "\n" in first) == (" ", 100, False)
    assert last == "\r" + " " * 99 + "\r"


def test_a_log_has_lines_of_their_own_and_nothing_to_remove(monkeypatch):
    lines = shown(Terminal(isatty=False), monkeypatch, 2)
    assert lines[-1] == "\ntest_a.py::test_b: shadow run 7 [2J (0 s)\n"


def test_a_test_that_is_done_at_once_says_nothing():
    terminal = Terminal(isatty=True)
    with Running(terminal, "test_a.py::test_b"):
        pass
    assert terminal.written == []
