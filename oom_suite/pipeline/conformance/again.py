"""What a device once measured, predicted again where that device is not."""

from __future__ import annotations

import gzip
import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import UsageError
from oom_suite.pipeline.conformance.cases import Unit
from oom_suite.pipeline.conformance.run import PART_LIMIT_S, chosen, joined, predictors, work
from oom_suite.pipeline.session import Limits, Session
from oom_suite.pipeline.settings import silent
from oom_suite.records.conformance import Conformance, Status
from oom_suite.targets.target import target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from oom_suite.pipeline.conformance.run import Options
    from oom_suite.pipeline.settings import OnProgress
    from oom_suite.records.conformance import ConformanceRow

_GZIP = b"\x1f\x8b"


def kept_run(path: Path) -> Conformance:
    """The run that ``oom-suite conformance --out`` has written; it may be packed by gzip.

    Raises:
        UsageError: the file cannot be read, or is none of these.
    """
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if data.startswith(_GZIP) else data
        return Conformance.from_json(json.loads(text))
    except (OSError, EOFError) as error:
        raise UsageError(f"--against {path}: {_reason(error)}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--against {path}: no run of oom-suite conformance ({type(error).__name__}: {error}): "
            "give a file that conformance --out has written"
        ) from None


def _reason(error: OSError | EOFError) -> str:
    return getattr(error, "strerror", None) or f"{error}"


def conformance_again(
    measured: Conformance,
    options: Options,
    on_progress: OnProgress = silent,
    keep: Callable[[Conformance], None] = lambda _: None,
) -> Conformance:
    """Today's predictions of calls that a device ran, against what it measured then.

    Args:
        measured: that run; what the device could not run is left out.
        options: which of its suites and units; the device is the run's own.
        on_progress: given how much is done.
        keep: given every ten seconds what is known by then.

    Raises:
        UsageError: no unit has such a name, or nothing of these suites was measured.
        ChildError: this torch has no operator database.
    """
    start = time.monotonic()
    rows = [row for row in measured.rows if row.suite in options.suites and _is_measured(row)]
    units = chosen(_units(rows, measured.target), options)
    if not units:
        raise UsageError(f"--against: it measured nothing of {', '.join(options.suites)}")
    names = {(unit.suite, unit.name) for unit in units}
    facts = {row.key: _as_measured(row) for row in rows if (row.suite, row.name) in names}

    def found(*, is_done: bool) -> Conformance:
        predicted = {key: row for key, row in crew.rows.items() if key in facts}
        seen = {key: facts[key] for key in predicted}
        if is_done:
            seen |= {key: _missing(facts[key]) for key in facts.keys() - predicted.keys()}
        left_out = frozenset(unit.name for unit in crew.left_out)
        return replace(
            measured,
            rows=joined(predicted, seen, left_out),
            left_out=tuple(sorted(left_out)),
            elapsed_s=time.monotonic() - start,
            predicted_by=torch.__version__,
        )

    until = None if options.limit_s is None else start + options.limit_s
    with Session(Limits(time_limit_s=PART_LIMIT_S)) as session:
        num_cores = len(os.sched_getaffinity(0))
        crew = predictors(session, units, target(measured.target), until, num_cores)
        work((crew,), on_progress, lambda _: keep(found(is_done=False)))
        return found(is_done=True)


def _is_measured(row: ConformanceRow) -> bool:
    return row.status is not Status.NOT_RUN and row.measured_bytes is not None


def _as_measured(row: ConformanceRow) -> dict[str, Any]:
    kept = ("suite", "name", "case", "measured_bytes", "allocated_bytes", "tracked_bytes")
    return {name: getattr(row, name) for name in kept}


def _missing(fact: dict[str, Any]) -> dict[str, Any]:
    """Samples differ from torch to torch: the call was measured, and is not to be had here."""
    where = {name: fact[name] for name in ("suite", "name", "case")}
    return {**where, "error": f"torch {torch.__version__} has no such call"}


def _units(rows: Iterable[ConformanceRow], target_name: str) -> list[Unit]:
    """The units of some rows; an operator's types are those that its cases begin with."""
    device_type = "cpu" if target_name == "cpu" else "cuda"
    dtypes: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        dtypes.setdefault((row.suite, row.name), {})[row.case.partition(" ")[0]] = None
    return [
        Unit(suite, name, device_type, tuple(found) if suite == "operators" else ())
        for (suite, name), found in dtypes.items()
    ]
