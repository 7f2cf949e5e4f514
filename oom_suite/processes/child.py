"""Runs code under test in a child process, so that whatever happens there is a result.

Children are forked from one server process that has imported torch already: a child costs
milliseconds, and still shares nothing with its siblings or with us. That server is kept from
the GPU, which a forked process could not use; a child that needs it is started afresh.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import threading
from multiprocessing import spawn
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

from oom_suite.errors import LaneError
from oom_suite.processes import ending
from oom_suite.processes.child_main import CHILD_NAME, READY, Outcome, serve, start_data

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from oom_suite.processes.protocol import Answer, Request

__all__ = ["Child", "ChildError", "Outcome"]

_forked = multiprocessing.get_context("forkserver")
_fresh = multiprocessing.get_context("spawn")
_starting = threading.Lock()
START_LIMIT_S = 120.0
"""Seconds a process may take to start and import torch: a matter of the machine, not the code."""
_LOG_TAIL_BYTES = 4000
_KILLS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class ChildError(LaneError):
    """A process did not answer a request; its text is the line that every report shows.

    Attributes:
        outcome: the class of what happened.
        message: what happened, without the class.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        """Name the class before the message, but for what the suite itself refuses."""
        is_refusal = outcome is Outcome.REFUSED
        super().__init__(message if is_refusal else f"{outcome.value}: {message}")
        self.outcome = outcome
        self.message = message


class Child:
    """A process that answers requests, one at a time.

    Args:
        time_limit_s: seconds that one request may take; the first one loads the subject too.
        memory_limit_bytes: address space that the child may add after start-up; None for no
            limit.
        imports: modules that the process imports before the time of the first request counts.
        preload: modules that the server imports once for all children.
        needs_gpu: whether to start the process afresh, with the GPUs in its sight.

    Raises:
        ChildError: no process could be started.
    """

    def __init__(
        self,
        *,
        time_limit_s: float,
        memory_limit_bytes: int | None = None,
        imports: tuple[str, ...] = (),
        preload: tuple[str, ...] = (),
        needs_gpu: bool = False,
    ) -> None:
        """Start the child; its own first failure shows in the first `ask`."""
        self._time_limit_s = time_limit_s
        self._end: ChildError | None = None
        self._is_closed = False
        self._is_ready = False
        # Without a name: nothing is left of it, however this process ends. And in connections, for
        # these are what can be handed to a new process.
        with tempfile.TemporaryFile(prefix="oom-suite-") as log:
            self._log, their_log = (Connection(os.dup(log.fileno())) for _ in range(2))
        context = _fresh if needs_gpu else _forked
        self._connection, theirs = context.Pipe()
        self._life = ending.Life()
        self._process: BaseProcess = context.Process(
            name=CHILD_NAME,
            target=serve,
            args=(theirs, self._life.handed, their_log, imports, memory_limit_bytes),
            kwargs={"needs_gpu": needs_gpu},
            daemon=True,
        )
        try:
            with theirs, their_log:
                _start(self._process, preload)
            self._life.handed_over()
        except (OSError, EOFError) as error:
            self._connection.close()
            self._life.end()
            self._log.close()
            msg = f"no process could be started: {type(error).__name__}: {error}"
            raise ChildError(Outcome.CRASHED, msg) from error
        ending.register(self, self._end_now)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child and what it started, whatever they are doing."""
        if self._is_closed:
            return
        self._is_closed = True
        ending.forget(self)
        self._connection.close()
        self._kill()
        self._process.join()
        self._process.close()
        self._log.close()

    def kill(self) -> None:
        """End the process, from any thread; whoever waits for its answer is told that it ended."""
        self._kill()

    def _end_now(self) -> None:
        """End the process in a signal handler: what it may have interrupted is not waited for."""
        self._life.end()

    def ask(self, request: Request[Answer]) -> Answer:
        """The request's answer.

        Raises:
            ChildError: the request raised, or the child hung, was killed, crashed or ended; once
                the child is gone, every further request raises the same.
            Interrupted: the run is being ended, and the child with it.
        """
        try:
            return self._asked(request)
        except ChildError:
            ending.raise_if_ended()
            raise

    def _asked(self, request: Request[Answer]) -> Answer:
        if self._end is not None:
            raise self._end
        try:
            if not self._is_ready:
                self._wait(max(START_LIMIT_S, self._time_limit_s))
                self._is_ready = self._connection.recv_bytes() == READY
            self._connection.send(request)
            self._wait(self._time_limit_s)
            failure, answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        except ChildError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise ChildError(Outcome.RAISED, f"its answer cannot be read: {what}") from error
        if failure is not None:
            raise ChildError(failure, answer)
        return answer  # type: ignore[no-any-return]  # what the request's answer gave there

    def _wait(self, limit_s: float) -> None:
        """Return when there is an answer; the process too, as others may hold its connection."""
        waiting: list[Any] = [self._connection, self._process.sentinel]
        ready = multiprocessing.connection.wait(waiting, limit_s)
        if not ready:
            self._kill()
            msg = (
                f"no answer within {limit_s:g} s (raise it with --time-limit, "
                "under pytest with --oom-time-limit)"
            )
            self._end = ChildError(Outcome.TIMED_OUT, msg)
            raise self._end
        if self._connection not in ready and not self._connection.poll():
            raise self._ended()

    def _kill(self) -> None:
        # The child leads a process group; before it does, and after it is gone, there is none.
        if self._process.pid is not None and self._process.is_alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._life.end()

    def _ended(self) -> ChildError:
        self._process.join(self._time_limit_s)
        self._end = self._explained(self._process.exitcode)
        return self._end

    def _explained(self, code: int | None) -> ChildError:
        if code is None or code >= 0:
            msg = f"the process ended by itself with exit code {code}{self._last_words()}"
            return ChildError(Outcome.EXITED, msg)
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if -code in _KILLS:
            hint = " (the system's out-of-memory killer sends it)" if name == "SIGKILL" else ""
            return ChildError(Outcome.KILLED, f"the process was killed by {name}{hint}")
        return ChildError(Outcome.CRASHED, f"the process crashed with {name}{self._last_words()}")

    def _last_words(self) -> str:
        log = self._log.fileno()
        begin = max(0, os.fstat(log).st_size - _LOG_TAIL_BYTES)
        # Without seeking: the place in the file is the child's as well, which writes there.
        lines = os.pread(log, _LOG_TAIL_BYTES, begin).decode(errors="replace").split("\n")
        last = [line.strip() for line in lines if line.strip()]
        return f": {last[-1]}" if last else ""


def _start(process: BaseProcess, preload: tuple[str, ...]) -> None:
    """Start the process without running the caller's own script in it a second time."""
    # multiprocessing sends a child to import the parent's __main__, guard or not: the code
    # under test does not need it, and a script without a guard would start children itself.
    original = spawn.get_preparation_data

    def data(name: str) -> dict[str, Any]:
        return start_data() if name == CHILD_NAME else original(name)

    preparing = mock.patch.object(spawn, "get_preparation_data", data)
    with _starting, preparing, ending.offered_life():
        _forked.set_forkserver_preload(list(preload))
        process.start()
