"""Runs code under test in a child process, so that whatever happens there is a result.

Children are forked from one server process that has imported torch already: a child costs
milliseconds, and still shares nothing with its siblings or with us.
"""

from __future__ import annotations

import contextlib
import enum
import gc
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.errors import LaneError, NotApplicableError, OomSuiteError
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import TracebackType

_context = multiprocessing.get_context("forkserver")
_LOG_TAIL_BYTES = 2000


class Outcome(enum.Enum):
    """How a child failed to answer."""

    RAISED = "raised"
    REFUSED = "refused"
    NOT_APPLICABLE = "not applicable"
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    KILLED = "killed"
    CRASHED = "crashed"
    EXITED = "exited"


class ChildError(LaneError):
    """A child did not answer a request.

    Attributes:
        outcome: the class of what happened.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        """Keep the class beside the one-line message."""
        super().__init__(message)
        self.outcome = outcome


class Child:
    """A process that answers requests with ``handler(request)``, one at a time.

    Args:
        make_handler: ``"module:function"``; called in the child with `args`, returns the handler.
        args: picklable arguments for it.
        time_limit_s: seconds that one request may take, start-up included in the first.
        memory_limit_bytes: address space that the child may add after start-up; None for no
            limit.
        preload: modules that the server imports once for all children.
    """

    def __init__(
        self,
        make_handler: str,
        args: tuple[Any, ...],
        *,
        time_limit_s: float,
        memory_limit_bytes: int | None = None,
        preload: tuple[str, ...] = (),
    ) -> None:
        """Start the child; its own first failure shows in the first `ask`."""
        _context.set_forkserver_preload(list(preload))
        self._time_limit_s = time_limit_s
        self._memory_limit_bytes = memory_limit_bytes
        handle, name = tempfile.mkstemp(prefix="oom-suite-", suffix=".log")
        os.close(handle)
        self._log = Path(name)
        self._connection, theirs = _context.Pipe()
        self._process = _context.Process(
            target=_serve,
            args=(theirs, name, make_handler, args, memory_limit_bytes, os.getcwd()),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Child:
        """The child itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """End the child."""
        self.close()

    def close(self) -> None:
        """End the child, whatever it is doing, and remove its log."""
        self._connection.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._log.unlink(missing_ok=True)

    def ask(self, request: object) -> Any:  # noqa: ANN401 - whatever the handler returns
        """The handler's answer.

        Raises:
            ChildError: the handler raised, or the child hung, was killed, crashed or ended.
        """
        try:
            self._connection.send(request)
        except OSError:
            raise self._ended() from None
        if not self._connection.poll(self._time_limit_s):
            self._process.kill()
            msg = f"no answer within {self._time_limit_s:g} s (raise it with --time-limit)"
            raise ChildError(Outcome.TIMED_OUT, msg)
        try:
            failure, answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if failure is not None:
            raise ChildError(failure, answer)
        return answer

    def _ended(self) -> ChildError:
        self._process.join(self._time_limit_s)
        code = self._process.exitcode
        if code is None or code >= 0:
            said = self._last_words()
            return ChildError(
                Outcome.EXITED, f"the process ended by itself with exit code {code}{said}"
            )
        name = signal.Signals(-code).name
        if -code in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
            hint = " (the system's out-of-memory killer sends it)" if name == "SIGKILL" else ""
            return ChildError(Outcome.KILLED, f"the process was killed by {name}{hint}")
        return ChildError(Outcome.CRASHED, f"the process crashed with {name}{self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").split("\n")
        last = [line.strip() for line in lines if line.strip()]
        return f": {last[-1]}" if last else ""


def _serve(  # noqa: PLR0913 - one call, in this file
    connection: Connection,
    log: str,
    make_handler: str,
    args: tuple[Any, ...],
    memory_limit_bytes: int | None,
    folder: str,
) -> None:
    """The child's main function: one answer for every request, whatever happens."""
    with Path(log).open("ab") as sink:
        os.dup2(sink.fileno(), sys.stdout.fileno())
        os.dup2(sink.fileno(), sys.stderr.fileno())
    os.chdir(folder)
    handler: Callable[[Any], Any] | None = None
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            if handler is None:
                module, _, function = make_handler.partition(":")
                handler = getattr(importlib.import_module(module), function)(*args)
                _limit_memory(memory_limit_bytes)
                # What was imported is no garbage: keep collections from walking all of it.
                gc.freeze()
            answer = (None, handler(request))
        except KeyboardInterrupt:
            return
        except BaseException as error:  # noqa: BLE001 - SystemExit in code under test, too
            answer = classify(error, memory_limit_bytes)
        with contextlib.suppress(BrokenPipeError):
            connection.send(answer)


def classify(error: BaseException, memory_limit_bytes: int | None) -> tuple[Outcome, str]:
    """The outcome's class and one line about it."""
    if isinstance(error, NotApplicableError):
        return Outcome.NOT_APPLICABLE, str(error)
    if isinstance(error, OomSuiteError):
        return Outcome.REFUSED, str(error)
    first_line = (str(error).strip().splitlines() or [""])[0]
    said = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    line = f"{said}{_where(error)}"
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or "can't allocate memory" in line or "out of memory" in line:
        limit = ""
        if memory_limit_bytes is not None:
            limit = f" (limited to {format_bytes(memory_limit_bytes)})"
        return Outcome.OUT_OF_MEMORY, line + limit
    return Outcome.RAISED, line


def _where(error: BaseException) -> str:
    """The innermost line outside installed libraries, as `` at file:line (function)``."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and "/lib/python" not in f.filename]
    outside = [f for f in own if "/oom_suite/lanes/" not in f.filename]
    if not outside:
        return ""
    last = outside[-1]
    return f" at {last.filename}:{last.lineno} ({last.name})"


def _limit_memory(limit_bytes: int | None) -> None:
    if limit_bytes is None:
        return
    num_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    ceiling = num_pages * resource.getpagesize() + limit_bytes
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
