"""A conformance run: children that predict beside children that measure, and what came of it.

Prediction and measurement are two processes: a call that ends the one says nothing of the other,
and the GPU's process has no device that is not there.
"""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError
from oom_suite.pipeline.conformance.crew import Crew
from oom_suite.pipeline.predicting import lane_of
from oom_suite.pipeline.session import Limits, Session
from oom_suite.pipeline.settings import silent
from oom_suite.processes.ending import Interrupted, threads
from oom_suite.records.conformance import Conformance, ConformanceRow, Status, compared
from oom_suite.targets.target import CPU, target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from oom_suite.pipeline.conformance.cases import Unit
    from oom_suite.pipeline.conformance.crew import Rows
    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.processes.protocol import Request
    from oom_suite.records import Environment
    from oom_suite.targets.target import Target


_BENCH = "oom_suite.pipeline.conformance.bench"
_DATABASES = "oom_suite.pipeline.conformance.databases"
PART_LIMIT_S = 120.0
"""Seconds that one request to a worker may take; a case that hangs is found by it."""
_PART = {"operators": 8, "modules": 4, "scaled": 1, "models": 1}
"""Units of one request."""
_KEEP_EVERY_S = 10.0
"""Seconds after which what is known is given away again: a run that is killed loses little."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is run.

    Attributes:
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        suites: which of `oom_suite.pipeline.conformance.cases.SUITES`.
        only: units whose name is one of these, or begins with one and a dot; all where empty.
        limit_s: seconds for all of it; None for as long as it takes.
    """

    device: str = "cpu"
    suites: tuple[str, ...] = ("operators", "modules", "scaled")
    only: tuple[str, ...] = ()
    limit_s: float | None = None


def conformance(
    options: Options,
    on_progress: OnProgress = silent,
    keep: Callable[[Conformance], None] = lambda _: None,
) -> Conformance:
    """Predict and measure what the options name.

    Args:
        options: what is run.
        on_progress: given how much is done.
        keep: given every ten seconds what is known by then: the calls that both sides have done;
            units without one are left out.

    Raises:
        UsageError: no unit has such a name, or there is no target for the device.
        ChildError: the device cannot be used, or this torch has no operator database.
    """
    start = time.monotonic()
    is_gpu = options.device != "cpu"
    on_progress("conformance", "listing")
    with Session(Limits(time_limit_s=PART_LIMIT_S)) as session:
        environment, units = _listed(session, options, is_gpu=is_gpu)
        wanted = target_on(environment)
        until = None if options.limit_s is None else start + options.limit_s
        predicting, measuring = _crews(session, options, units, wanted, until)
        crews = (predicting, measuring)

        def so_far(elapsed_s: float) -> None:
            keep(_so_far(units, environment, crews, elapsed_s))

        work(crews, on_progress, so_far)
    left_out = sorted({unit.name for crew in crews for unit in crew.left_out})
    return Conformance(
        device=environment.device,
        target=wanted.name,
        rows=joined(predicting.rows, measuring.rows, frozenset(left_out)),
        left_out=tuple(left_out),
        elapsed_s=time.monotonic() - start,
        torch=environment.torch,
    )


def work(crews: Sequence[Crew], on_progress: OnProgress, keep: Callable[[float], None]) -> None:
    """Let all workers of some crews work until nothing is left.

    Args:
        crews: who work.
        on_progress: given how much is done.
        keep: given the seconds so far every ten seconds, and at an interruption.
    """
    start = kept_at = time.monotonic()
    with threads(sum(crew.num_workers for crew in crews)) as pool:
        running = [pool.submit(crew.work) for crew in crews for _ in range(crew.num_workers)]
        try:
            while any(not each.done() for each in running):
                if time.monotonic() - kept_at > _KEEP_EVERY_S:
                    kept_at = time.monotonic()
                    keep(kept_at - start)
                done = " and ".join(f"{len(crew.rows):,} {crew.verb}" for crew in crews)
                on_progress("conformance", done)
                time.sleep(0.2)
        except Interrupted:
            keep(time.monotonic() - start)
            raise
        for each in running:
            each.result()


def _so_far(
    units: Sequence[Unit], environment: Environment, crews: tuple[Crew, Crew], elapsed_s: float
) -> Conformance:
    predicted, measured = (dict(crew.rows) for crew in crews)
    both = predicted.keys() & measured.keys()
    rows = joined({k: predicted[k] for k in both}, {k: measured[k] for k in both})
    begun = {row.name for row in rows}
    return Conformance(
        device=environment.device,
        target=target_on(environment).name,
        rows=rows,
        left_out=tuple(sorted({unit.name for unit in units} - begun)),
        elapsed_s=elapsed_s,
        torch=environment.torch,
    )


def target_on(environment: Environment) -> Target:
    """Whom predictions for this device are for.

    Raises:
        UsageError: there is no target for it.
    """
    if environment.device_type == "cpu":
        return CPU
    kind = "rocm" if environment.device_type == "hip" else "cuda"
    return target(f"{kind}:{environment.arch.partition(':')[0]}")


def joined(
    predicted: Rows, measured: Rows, left_out: frozenset[str] = frozenset()
) -> tuple[ConformanceRow, ...]:
    """A row for every case that either side has, in order.

    Args:
        predicted: what the prediction says, by key.
        measured: what the device says.
        left_out: units that one side did not come to; their cases are left out too.
    """
    keys = dict.fromkeys((*measured, *predicted))
    rows = (_joined(predicted.get(key, {}), measured.get(key, {})) for key in keys)
    order = {suite: number for number, suite in enumerate(_PART)}
    kept = [row for row in rows if row.name not in left_out]
    return tuple(sorted(kept, key=lambda row: (order.get(row.suite, 0), row.name)))


def _joined(said: dict[str, Any], seen: dict[str, Any]) -> ConformanceRow:
    where = seen or said
    known: dict[str, Any] = {name: where[name] for name in ("suite", "name", "case")}
    if "measured_bytes" not in seen:
        reason = seen.get("error", "the device did not come to it")
        return ConformanceRow(**known, status=Status.NOT_RUN, reason=reason)
    for name in ("measured_bytes", "allocated_bytes", "tracked_bytes"):
        known[name] = seen.get(name)
    if "most_bytes" not in said:
        reason = said.get("error", "it was not predicted")
        return ConformanceRow(**known, status=Status.REFUSED, reason=reason)
    least_bytes, most_bytes, named = said["least_bytes"], said["most_bytes"], tuple(said["named"])
    return ConformanceRow(
        **known,
        status=compared(
            least_bytes,
            most_bytes,
            seen["measured_bytes"],
            is_named=bool(named),
            is_library=said.get("is_library", False),
        ),
        least_bytes=least_bytes,
        most_bytes=most_bytes,
        named=named,
        libraries=tuple(said.get("libraries", ())),
        by_data=tuple(said.get("by_data", ())),
    )


def _listed(session: Session, options: Options, *, is_gpu: bool) -> tuple[Environment, list[Unit]]:
    # Only a process asks for these that may import torch.
    from oom_suite.pipeline.conformance.bench import Listing

    imports = _imports(options.suites)
    asker = session.child(imports=imports, preload=imports, needs_gpu=is_gpu)
    try:
        environment, units = asker.ask(Listing(options.suites, options.device))
    finally:
        asker.close()
    return environment, chosen(units, options)


def chosen(units: Sequence[Unit], options: Options) -> list[Unit]:
    """The units that the options name.

    Raises:
        UsageError: none has such a name.
    """
    if not options.only:
        return list(units)
    found = [unit for unit in units if any(_is_named(unit.name, one) for one in options.only)]
    for one in options.only:
        if not any(_is_named(unit.name, one) for unit in found):
            msg = f"--only {one}: no such unit in {', '.join(options.suites)}"
            raise UsageError(msg)
    return found


def _imports(suites: Iterable[str]) -> tuple[str, ...]:
    is_of_torch = {"operators", "modules"} & set(suites)
    return (_BENCH, *((_DATABASES,) if is_of_torch else ()))


def _is_named(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith((f"{wanted}.", f"{wanted},", f"{wanted} "))


def _crews(
    session: Session,
    options: Options,
    units: Sequence[Unit],
    wanted: Target,
    until: float | None,
) -> tuple[Crew, Crew]:
    from oom_suite.pipeline.conformance.bench import Measure

    is_gpu = options.device != "cpu"
    num_cores = len(os.sched_getaffinity(0))
    num_measuring = max(1, min(4, num_cores // 4))

    def measure(part: tuple[Unit, ...], journal: str, known: frozenset[str]) -> Request[bool]:
        return Measure(part, options.device, journal, known)

    parts, imports = deque(_parts(units)), _imports(options.suites)
    predicting = predictors(session, units, wanted, until, num_cores - num_measuring)
    measuring = Crew(session, "measured", measure, is_gpu, num_measuring, parts, until, imports)
    return predicting, measuring


def predictors(
    session: Session, units: Sequence[Unit], wanted: Target, until: float | None, num_cores: int
) -> Crew:
    """Workers that predict every case of some units for a target.

    Args:
        session: starts their processes.
        units: which.
        wanted: the target.
        until: when nothing further is begun; None for never.
        num_cores: how many there may be; there are never more than twelve.
    """
    from oom_suite.pipeline.conformance.bench import Predict

    lane = lane_of(wanted.name)

    def predict(part: tuple[Unit, ...], journal: str, known: frozenset[str]) -> Request[bool]:
        return Predict(part, lane, journal, known)

    imports = _imports({unit.suite for unit in units})
    num_workers = max(1, min(12, num_cores))
    parts = deque(_parts(units))
    return Crew(session, "predicted", predict, False, num_workers, parts, until, imports)


def _parts(units: Sequence[Unit]) -> list[tuple[Unit, ...]]:
    """What is asked for at a time: units of one suite that lie beside each other."""
    parts: list[list[Unit]] = []
    for unit in units:
        if parts and parts[-1][0].suite == unit.suite and len(parts[-1]) < _PART[unit.suite]:
            parts[-1].append(unit)
        else:
            parts.append([unit])
    return [tuple(part) for part in parts]
