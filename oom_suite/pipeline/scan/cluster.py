"""Runs units of a scan on the workers of a Dask scheduler that somebody has started."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import queue
import time
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from distributed import Client, Future, KilledWorker

from oom_suite.errors import UsageError
from oom_suite.pipeline.scan.on_worker import ADVICE, TOPIC, Asked, judge, refusals
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S, silent
from oom_suite.records.scan import Found, ScanRow, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dask.typing import Key

    from oom_suite.pipeline.scan.run import OnRow
    from oom_suite.pipeline.settings import OnProgress

    Told = tuple[float, Mapping[str, Any]]

_LOGS = ("distributed", "distributed.client")
_CONNECT_S = 10.0
_LONELY_S = 300.0
"""How long a scan waits for a first worker, or for another one after the last has gone: one that a
queue or an autoscaler starts takes minutes."""
_LOOKS_EVERY_S = 1.0
_ALONE = "alone"
"""Part of a task's key: of one that had the cluster for itself."""


def run_on_cluster(
    units: Sequence[Unit],
    address: str,
    on_row: OnRow,
    on_progress: OnProgress = silent,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> None:
    """Have a cluster's workers judge every unit, as `oom_suite.pipeline.scan.run.run_units` does.

    What a worker was at when it died is given to another one. The scheduler gives up on a unit
    that more workers have died with than it allows (``allowed-failures``, 3), and on what they
    had beside it: these are judged once more, each alone, after all others.

    Args:
        units: as of `run_units`.
        address: the scheduler's, such as ``tcp://10.0.0.1:8786``.
        on_row: given each row as it comes, and the name of the worker that found it.
        on_progress: given what each unit is doing, and where; and how many workers there are.
        time_limit_s: as of `run_units`.

    Raises:
        UsageError: there is no such scheduler, it went away, it has no workers, or one that may
            not judge these units.
    """
    asked = Asked.all_of(units, time_limit_s)
    with _client(address) as client:
        cluster = _Cluster(client, address, asked, on_row, on_progress)
        cluster.refuse_strangers()
        client.subscribe_topic(TOPIC, cluster.told)
        for unit in cluster.judge(units):
            for killed, error in cluster.judge((unit,), _ALONE).items():
                on_row(*_killed_row(killed, error))


@contextlib.contextmanager
def _client(address: str) -> Iterator[Client]:
    """A connection to the scheduler, with nothing on the screen but what the suite says itself.

    Raises:
        UsageError: nobody answers there.
    """
    with _silent_logs():
        try:
            client = Client(address, timeout=_CONNECT_S, set_as_default=False, name="oom-suite")
        except (OSError, ValueError) as error:
            msg = f"no Dask scheduler answers there in {_CONNECT_S:g} s: start one with "
            advice = "`dask scheduler`, and give its address"
            raise UsageError(f"--scheduler {address}: {msg}{advice}") from error
        try:
            yield client
        finally:
            # What is still asked for is cancelled by this, too.
            client.close(timeout=_CONNECT_S)


@contextlib.contextmanager
def _silent_logs() -> Iterator[None]:
    """Meanwhile Dask writes nothing on the screen: what it has to say, the suite says itself."""
    levels = {log: log.level for log in map(logging.getLogger, _LOGS)}
    for log in levels:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)


@dataclass(slots=True)
class _Cluster:
    """A scheduler's workers, at work for one scan.

    Attributes:
        client: connected to the scheduler.
        address: the scheduler's, for messages.
        asked: what is asked of a worker, for each unit.
        on_row: as of `run_on_cluster`.
        on_progress: as of `run_on_cluster`.
    """

    client: Client
    address: str
    asked: Mapping[Unit, Asked]
    on_row: OnRow
    on_progress: OnProgress

    def refuse_strangers(self) -> None:
        """Nothing, where all workers that there are now may judge all units.

        Raises:
            UsageError: one may not, or cannot even import the suite.
        """
        try:
            self.client.run_on_scheduler(refusals, ())
        except ImportError as error:
            raise UsageError(self._said(f"it takes no tasks: {error}: {ADVICE}")) from error
        one_each = {asked.unit["subject"]: asked for asked in self.asked.values()}
        found = self.client.run(refusals, tuple(one_each.values()), on_error="return")
        for worker, answer in sorted(found.items()):
            # A worker that has gone meanwhile is no worry. Any other error is of its imports,
            # and arrives as text.
            if answer and not isinstance(answer, OSError):
                why = f"{answer}: {ADVICE}" if isinstance(answer, Exception) else answer
                raise UsageError(self._refused(worker, why))

    def judge(self, units: Sequence[Unit], way: str = "") -> dict[Unit, KilledWorker]:
        """The units that the scheduler has given up on; the rows of all others are given away.

        Args:
            units: what is judged, as many at once as the workers have threads.
            way: tells these tasks from earlier ones for the same units.

        Raises:
            UsageError: as of `run_on_cluster`.
        """
        keys: dict[Key, Unit] = {self._key(unit, way): unit for unit in units}
        asked = [self.asked[unit] for unit in units]
        futures = self.client.map(judge, asked, key=list(keys), pure=False)
        finished: queue.Queue[Future[Any]] = queue.Queue()
        for future in futures:
            future.add_done_callback(finished.put)
        given_up = {}
        try:
            for _ in units:
                future = self._next(finished)
                unit = keys[future.key]
                try:
                    self._give(future)
                except KilledWorker as error:
                    given_up[unit] = error
        finally:
            with contextlib.suppress(Exception):
                self.client.cancel(futures)
        return given_up

    def _key(self, unit: Unit, way: str) -> Key:
        """A task's key: the same for whoever asks the same."""
        text = json.dumps(asdict(self.asked[unit]), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return (TOPIC, unit.key, digest, way)

    def _next(self, finished: queue.Queue[Future[Any]]) -> Future[Any]:
        """The next one that is finished.

        Raises:
            UsageError: the scheduler has gone, or has no workers.
        """
        lonely_since = None
        while True:
            with contextlib.suppress(queue.Empty):
                return finished.get(timeout=_LOOKS_EVERY_S)
            num_workers = self._num_workers()
            self.on_progress(self.address, f"{num_workers} workers")
            now = time.monotonic()
            lonely_since = None if num_workers else (lonely_since or now)
            if lonely_since is not None and now - lonely_since >= _LONELY_S:
                msg = f"it has had no worker for {_LONELY_S:g} s: start one with `dask worker "
                raise UsageError(self._said(f"{msg}{self.address}`, and run the scan again"))

    def _num_workers(self) -> int:
        try:
            return len(self.client.ncores())
        except Exception as error:
            raise UsageError(self._gone()) from error

    def _give(self, future: Future[Any]) -> None:
        """Give the row of a task that is finished.

        Raises:
            KilledWorker: the scheduler has given up on it.
            UsageError: there will be none.
        """
        if future.status == "error":
            raise future.exception()
        try:
            answer = future.result()
        except (CancelledError, OSError) as error:
            raise UsageError(self._gone()) from error
        if "refused" in answer:
            raise UsageError(self._refused(answer["worker"], answer["refused"]))
        self.on_row(ScanRow.from_json(answer["row"]), answer["worker"])

    def told(self, event: Told) -> None:
        """Pass on what a worker says of a unit of this scan."""
        _, said = event
        if Unit.from_json(said["unit"]) in self.asked:
            self.on_progress(said["subject"], f"{said['message']} on {said['by']}")

    def _refused(self, worker: str, why: str) -> str:
        return self._said(f"its worker {worker} cannot judge for this scan: {why}")

    def _gone(self) -> str:
        return self._said("it went away: start it and its workers, and run the scan again")

    def _said(self, what: str) -> str:
        return f"--scheduler {self.address}: {what}"


def _killed_row(unit: Unit, error: KilledWorker) -> tuple[ScanRow, str]:
    worker = error.last_worker
    num_workers = error.allowed_failures + 1
    reason = (
        f"killed: {num_workers} workers have died with it, the last of them {worker.address}: "
        "its log may say of what"
    )
    return ScanRow(unit, Found.INCONCLUSIVE, reason), str(worker.name)
