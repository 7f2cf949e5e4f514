"""How a whole check was measured: where, how many agree to the byte, and what the rest took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.records import Verdict
from oom_suite.report.measured import environment_text
from oom_suite.report.rows import printable
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oom_suite.records import Environment, Result

_MEASURE = "measure"
_EXACT = "to the byte"
_NOT_MEASURED = "not measured"


def measured_summary(results: Sequence[Result]) -> Iterator[str]:
    """One line for each place, and one for each measured pass, which is explained nowhere else.

    ``measured on NVIDIA H200, sm_90, ...: 4 of 6 to the byte, 50 times alike; not measured: a, b``

    Args:
        results: of any lane; those of other lanes are passed over, and so are all where no
            device said anything: each of them says why itself.
    """
    asked = [result for result in results if result.lane == _MEASURE]
    places: dict[Environment, list[Result]] = {}
    for result in asked:
        if result.measurement is not None:
            places.setdefault(result.measurement.environment, []).append(result)
    unmeasured = [result for result in asked if result.measurement is None]
    for place, found in places.items():
        # What never got to a device belongs to no place: it is told once, with the first.
        told, unmeasured = [*found, *unmeasured], []
        yield printable(f"measured on {environment_text(place)}: {_agreement(told)}")
        passed = [one for one in found if one.verdict is Verdict.PASS and one.as_expected]
        width = max((len(printable(one.subject)) for one in passed), default=0)
        for one in passed:
            yield f"  {printable(one.subject):<{width}}  {_peaks(one)}"


def _agreement(results: Sequence[Result]) -> str:
    kinds: dict[str, list[str]] = {_EXACT: []}
    for result in results:
        kinds.setdefault(_kind(result), []).append(printable(result.subject))
    num_exact = len(kinds.pop(_EXACT))
    often = _often([result for result in results if _kind(result) == _EXACT])
    parts = [f"{num_exact} of {len(results)} {_EXACT}{often}"]
    # What was not measured is the least of news, and the longest list.
    names = sorted(kinds, key=lambda kind: kind == _NOT_MEASURED)
    return "; ".join([*parts, *(f"{kind}: {', '.join(kinds[kind])}" for kind in names)])


def _kind(result: Result) -> str:
    measurement, reconciled = result.measurement, result.reconciliation
    if measurement is not None and measurement.out_of_memory is not None:
        return "out of memory"
    if measurement is None or reconciled is None:
        return _NOT_MEASURED
    if not measurement.is_repeatable:
        return f"not alike in {measurement.num_runs} runs"
    if measurement.tenants:
        return "beside other processes"
    if reconciled.is_exact:
        return _EXACT
    return "within the bound" if reconciled.is_explained else "unexplained"


def _often(results: Sequence[Result]) -> str:
    counts = {one.measurement.num_runs for one in results if one.measurement is not None}
    num_runs = min(counts, default=1)
    return f", {num_runs} times alike" if num_runs > 1 else ""


def _peaks(result: Result) -> str:
    found = result.reconciliation
    if found is None:
        return "no figures"
    if found.measured is None:
        return f"{format_bytes(found.measured_requested_bytes)} requested"
    peaks = found.measured
    return (
        f"{format_bytes(peaks.requested_bytes)} requested, "
        f"{format_bytes(peaks.allocated_bytes)} allocated, "
        f"{format_bytes(peaks.reserved_bytes)} reserved"
    )
