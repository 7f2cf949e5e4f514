"""A proof that another thread is at, for whoever need not fit a law once there is one."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Self

from oom_suite.laws.identified import may_say_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.laws.proof import Proof
    from oom_suite.records import Workload
    from oom_suite.records.symbolic import Hints, SymbolicTrace


class Awaited:
    """A proof that is waited for as long as it may hold for all sizes.

    The proving thread asks for symbolic runs here, and enters it around the proof. A first run that
    shows the law to have more to it than polynomials ends the waiting, and so does any that fails.
    """

    def __init__(self, run: Callable[[Hints], SymbolicTrace], workload: Workload) -> None:
        self._run = run
        self._workload = workload
        self._found: Future[Proof | None] = Future()
        self._is_first = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nobody waits any longer, whatever has happened."""
        self._give(None)

    def symbolic(self, hints: Hints) -> SymbolicTrace:
        """The symbolic trace for hints.

        Raises:
            OomSuiteError: the code cannot be run on symbols.
        """
        try:
            trace = self._run(hints)
        except BaseException:
            self._give(None)
            raise
        # Beyond a guard, where a size is 1, say, the run is one of that size alone.
        if self._is_first and not may_say_all(trace, self._workload):
            self._give(None)
        self._is_first = False
        return trace

    def given(self, proof: Proof) -> Proof:
        """The proof, which whoever waits is given too."""
        self._give(proof)
        return proof

    def proof(self) -> Proof | None:
        """The proof, once it is there; None as soon as it is known not to hold for all sizes."""
        return self._found.result()

    def _give(self, proof: Proof | None) -> None:
        with contextlib.suppress(InvalidStateError):
            self._found.set_result(proof)
