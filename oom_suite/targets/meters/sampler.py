"""A thread that reads meters again and again, for what has no peak counter."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oom_suite.targets.meters.protocol import Meter

INTERVAL_S = 0.002
_REST_PER_READ = 9
"""Seconds of rest for each second of reading: the thread takes a tenth of one core at most."""
_JOIN_LIMIT_S = 5.0


def rest_s(interval_s: float, took_s: float) -> float:
    """Seconds to rest after a round of readings that took `took_s`."""
    return max(interval_s, _REST_PER_READ * took_s)


@dataclass(frozen=True, slots=True)
class Samples:
    """What was seen between the start and the stop.

    Attributes:
        peaks: the largest figure of each (meter, quantity), in bytes.
        failures: why a meter was left out midway, by its name.
        num_rounds: how often every meter was read.
        mean_ms: the time from one round to the next, on average.
        widest_ms: the longest time that nobody looked, from the start and to the stop too.
    """

    peaks: dict[tuple[str, str], int]
    failures: dict[str, str]
    num_rounds: int
    mean_ms: float
    widest_ms: float


class Sampler:
    """Reads meters until it is stopped; a meter that fails is named and read no more.

    Does not prove: that nothing larger stood between two rounds. `Samples.widest_ms` says for
    how long nobody looked.
    """

    def __init__(self, meters: Sequence[Meter], interval_s: float = INTERVAL_S) -> None:
        """Read `meters`, which must allow a second thread, every `interval_s` at best."""
        self._meters = list(meters)
        self._interval_s = interval_s
        self._peaks: dict[tuple[str, str], int] = {}
        self._failures: dict[str, str] = {}
        self._looked_s: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oom-suite-meters", daemon=True)

    def start(self) -> None:
        """Start reading; the caller has just read every meter itself."""
        self._looked_s = [time.monotonic()]
        if self._meters:
            self._thread.start()

    def stop(self) -> Samples:
        """Stop, wait for the thread, and say what it saw.

        A read that does not return keeps its meter's name in `failures`; nobody waits for it
        any longer, and the thread does not keep the process alive.
        """
        self._stop.set()
        reading = [meter.name for meter in self._meters]
        if self._thread.is_alive():
            self._thread.join(_JOIN_LIMIT_S)
        if self._thread.is_alive():
            why = f"a read did not return within {_JOIN_LIMIT_S:g} s"
            self._failures |= {name: why for name in reading if name not in self._failures}
        looked_s = [*self._looked_s, time.monotonic()]
        gaps_ms = [1000 * (b - a) for a, b in pairwise(looked_s)]
        return Samples(
            peaks=dict(self._peaks),
            failures=dict(self._failures),
            num_rounds=len(looked_s) - 2,
            mean_ms=sum(gaps_ms) / len(gaps_ms),
            widest_ms=max(gaps_ms),
        )

    def _run(self) -> None:
        pause_s = self._interval_s
        while self._meters and not self._stop.wait(pause_s):
            began_s = time.monotonic()
            for meter in tuple(self._meters):
                self._read(meter)
            self._looked_s.append(began_s)
            took_s = time.monotonic() - began_s
            pause_s = rest_s(self._interval_s, took_s)

    def _read(self, meter: Meter) -> None:
        try:
            readings = meter.read()
        except Exception as error:
            self._failures[meter.name] = f"it failed midway: {type(error).__name__}: {error}"
            self._meters.remove(meter)
            with contextlib.suppress(Exception):
                meter.close()
            return
        for reading in readings:
            if reading.num_bytes is not None:
                key = (reading.meter, reading.quantity)
                self._peaks[key] = max(self._peaks.get(key, 0), reading.num_bytes)
