"""Commands of other programs, run to their end and ended with this process."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from oom_suite.processes.ending import Life

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ENDING_S = 10.0
"""Seconds that a command has to end its children, before it is killed."""


def run_command(
    words: Sequence[str], env: Mapping[str, str], log: Path, limit_s: float | None = None
) -> int | None:
    """The exit code of a command; None where it took too long, and was ended.

    However this is left, the command and what it started have ended. One that is killed together
    with this process calls `oom_suite.processes.ending.live_by_environment`.

    Args:
        words: the command.
        env: its environment.
        log: where what it says is written.
        limit_s: seconds that it may take; None for no limit.
    """
    life = Life()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            words,
            env={**env, **life.environment()},
            pass_fds=(life.handed.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        life.handed_over()
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)
            life.end()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started; first so that it can end its own children."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            _signal_group(process, number)
            try:
                process.wait(_ENDING_S)
            except subprocess.TimeoutExpired:
                continue
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return
