"""Follows the code under test onto other threads, so that what they allocate is recorded too.

A mode of torch belongs to the thread that entered it. So whatever begins work on another thread
is wrapped while a lane runs: `threading.Thread.start`, `ThreadPoolExecutor.submit` (which asyncio
uses as well), `_thread.start_new_thread`. There the modes are entered around each operator. A
thread that was made before anybody looked comes to the modes by itself, with the first operator
on a fake tensor.

What cannot be followed is named in `oom_suite.records.Trace.unrecorded`: other processes, and
threads that work on when the call is over.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from oom_suite.errors import OomSuiteError
from oom_suite.operators.operands import DEVICE_QUERY
from oom_suite.torch_compat.dispatch import DispatchMode
from oom_suite.torch_compat.fakes import FakeMode
from oom_suite.tracing.source_lines import enter_code_under_test, give, given_at
from oom_suite.tracing.turns import ShortSwitches, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from oom_suite.records import Frame
    from oom_suite.torch_compat.dispatch import OpOverload
    from oom_suite.tracing.overlaps import Overlaps
    from oom_suite.tracing.source_lines import SourceLines

    Around = Callable[[], AbstractContextManager[object]]

_AFTER_CALL_S = 2.0
"""How long a thread may work on when the call has returned, as a part of the call."""

UNSEEN = "what it takes is not recorded"
_WORKS_ON = f"is still at work when the call has returned: {UNSEEN}"


class _State:
    """What the threads of this process share.

    Attributes:
        run: the run that is recorded now.
        around: what is to be entered on every thread beside the modes.
        followed: the threads that are known, with the number in whose order they were started.
        strays: threads that worked when nothing was recorded, by what is said of them.
    """

    def __init__(self) -> None:
        self.run: Threads | None = None
        self.around: tuple[Around, ...] = ()
        self.followed: weakref.WeakKeyDictionary[threading.Thread, int] = (
            weakref.WeakKeyDictionary()
        )
        self.numbers = itertools.count(1)
        self.local = threading.local()
        self.strays: dict[str, None] = {}
        self.num_watching = 0


STATE = _State()
"""Of this process."""


def follow(thread: threading.Thread) -> int:
    """The number of a thread, which takes part from now on."""
    number = STATE.followed.get(thread)
    if number is None:
        number = STATE.followed[thread] = next(STATE.numbers)
    return number


def running() -> Threads | None:
    """The run that is recorded now."""
    return STATE.run


def watching() -> bool:
    """Whether a lane runs, recorded or not."""
    return STATE.num_watching > 0


class Threads:
    """The threads of one run, which all record into one recorder.

    Attributes:
        others: what is entered after the modes, on every thread but the calling one.

    Args:
        modes: to be entered on a thread around each of its operators, the outermost first.
        overlaps: of the recorder.
        lines: names the code under test.
    """

    def __init__(
        self, modes: Sequence[AbstractContextManager[Any]], overlaps: Overlaps, lines: SourceLines
    ) -> None:
        self._modes = modes
        self._lines = lines
        self.others: AbstractContextManager[Any] = contextlib.nullcontext()
        self._first = threading.current_thread()
        self._inside = threading.local()
        self._errors: list[BaseException] = []
        self._turns = Turns(self._others, overlaps)
        self.unrecorded: dict[str, None] = STATE.strays
        STATE.strays = {}

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The modes, on this thread."""
        with contextlib.ExitStack() as stack:
            self._inside.is_so = True
            stack.callback(setattr, self._inside, "is_so", False)
            for mode in self._modes:
                stack.enter_context(mode)
            if threading.current_thread() is not self._first:
                stack.enter_context(self.others)
            yield

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """While active, this is the run, and its modes are entered here."""
        before, STATE.run = STATE.run, self
        try:
            with ShortSwitches(), self.entered():
                yield
        finally:
            STATE.run = before

    def elsewhere(self) -> AbstractContextManager[None] | None:
        """The modes, on a thread that has not entered them; None where it has."""
        if getattr(self._inside, "is_so", False) or STATE.run is not self:
            return None
        follow(threading.current_thread())
        return self.entered()

    @property
    def are_fake(self) -> bool:
        """Whether tensors have no memory here."""
        return any(isinstance(mode, FakeMode) for mode in self._modes)

    @property
    def are_one(self) -> bool:
        """Whether nobody but the calling thread takes part."""
        return not STATE.followed

    @property
    def are_several(self) -> bool:
        """Whether operators of more than one were recorded."""
        return self._turns.num_threads > 1

    def enter(self) -> None:
        """Wait for this thread's turn to run an operator."""
        thread = threading.current_thread()
        if isinstance(thread, threading._DummyThread) and (given := self._of_first()):
            # A thread of C++, which nobody started by a line of Python: its work is the call's.
            give(given)
        self._turns.enter(0 if thread is self._first else follow(thread))

    def _of_first(self) -> tuple[Frame, ...]:
        """The lines on which the calling thread is."""
        frame = sys._current_frames().get(self._first.ident or 0)
        return self._lines.stack(frame) if frame is not None else ()

    def leave(self) -> None:
        """The operator is done."""
        self._turns.leave()

    def call(self, call: Callable[[], object]) -> None:
        """Run the call, and what its threads still do when it has returned.

        Raises:
            OomSuiteError: a thread met what no lane can run, wherever the call itself then failed.
        """
        try:
            enter_code_under_test(call)
        except Exception as error:
            if self._errors and error not in self._errors:
                raise self._errors[0] from error
            raise
        self.finish()
        if self._errors:
            raise self._errors[0]

    def finish(self) -> None:
        """Let other threads work on until they wait for something or end; say which did not."""
        if not self.are_one:
            for thread in self._turns.finish(seconds=_AFTER_CALL_S):
                self.note(f"thread {thread.name!r} {_WORKS_ON}")

    def note(self, reason: str) -> None:
        """Say what was not recorded."""
        self.unrecorded.setdefault(reason)

    def stack(self) -> tuple[Frame, ...]:
        """The lines that run now."""
        return self._lines.stack()

    def caller(self) -> str:
        """The line that runs now, as `` at file:line (function)``."""
        return self._lines.here()

    def settle(self) -> None:
        """Let a thread that was started or fed come as far as it can without a turn."""
        self._turns.settle()

    def waited(self, source: int | None = None) -> None:
        """This thread has waited for another: whatever that held for a time it holds no more."""
        self._turns.release(threading.get_ident(), source)

    def failed(self, error: BaseException, *, is_last: bool) -> None:
        """An error left the code that a thread was given.

        Args:
            error: the error.
            is_last: whether the thread ended with it; a pool hands it to whoever asks.
        """
        if isinstance(error, OomSuiteError) or type(error).__module__.startswith("torch."):
            self._errors.append(error)
        elif is_last and not isinstance(error, SystemExit):
            name = threading.current_thread().name
            self.note(f"thread {name!r} ended with {type(error).__name__}: {error}")

    def _others(self) -> list[tuple[threading.Thread, int]]:
        """The threads that take part and are alive, but for this one."""
        this = threading.current_thread()
        found = [(t, n) for t, n in list(STATE.followed.items()) if t is not this and t.is_alive()]
        return found if this is self._first else [*found, (self._first, 0)]


class _OnThread(DispatchMode):  # type: ignore[no-untyped-call]  # untyped by torch
    """Stays on a thread as long as that lives, and leads to the modes of the run, if any."""

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator in the run that is recorded now."""
        run = STATE.run
        if run is None or func is DEVICE_QUERY:
            if run is None and not watching():
                name = threading.current_thread().name
                STATE.strays[
                    f"thread {name!r} went on when an earlier call had returned: {UNSEEN}"
                ] = None
            return func(*args, **(kwargs or {}))
        with run.entered():
            return func(*args, **(kwargs or {}))


def on_thread(body: Callable[[], Any], given: tuple[Frame, ...], *, is_whole: bool) -> Any:
    """What `body` gives, its operators recorded by whichever run there is.

    Args:
        body: what a thread was given to do.
        given: the lines at which it was.
        is_whole: whether the thread ends with it.
    """
    local = STATE.local
    entered: tuple[Around, ...] | None = getattr(local, "entered", None)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(given_at(given))
            stack.callback(setattr, local, "entered", entered)
            local.entered = (*(entered or ()), *STATE.around)
            for around in STATE.around:
                if around not in (entered or ()):
                    stack.enter_context(around())
            if entered is None:
                stack.enter_context(_OnThread())  # type: ignore[no-untyped-call]  # untyped by torch
            return body()
    except BaseException as error:
        if (run := STATE.run) is not None:
            run.failed(error, is_last=is_whole)
        raise
    finally:
        if (run := STATE.run) is not None:
            run.waited()
