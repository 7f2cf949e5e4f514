"""Two result files compared: what grew, what shrank, what is there no more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError
from oom_suite.records import Environment
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Key = tuple[str, str, str, str]

KINDS = ("requested_bytes", "allocated_bytes", "reserved_bytes")
JUDGED = ("requested_bytes", "allocated_bytes")
"""Figures that must not grow; reserved ones are shown alone, for they depend on the past."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison says.

    Attributes:
        lines: one for each call that differs, and the counts.
        has_grown: whether a judged figure is larger, or a call of the old file is missing.
    """

    lines: tuple[str, ...]
    has_grown: bool


@dataclass(frozen=True, slots=True)
class _Figures:
    """One call's figures, and where they were measured; None where nothing was."""

    values: Mapping[str, int | None]
    environment: Environment | None


def compare_files(old: Path, new: Path, *, across_environments: bool = False) -> Comparison:
    """The figures of the new file against the old one's, by subject, workload, scenario, lane.

    Args:
        old: written by ``check --json`` or ``measure --json``.
        new: the same, made later.
        across_environments: compare although the measurements were made in different places.

    Raises:
        UsageError: a file is not such a one, they have no call in common, or their
            environments differ.
    """
    before, after = _read(old), _read(new)
    common = [key for key in before if key in after]
    if not common:
        raise UsageError(f"{old} and {new} have no call in common: nothing can be compared")
    if not across_environments:
        for key in common:
            _require_same_place(key, before[key].environment, after[key].environment)
    lines: list[str] = []
    has_grown = False
    for key, was in before.items():
        name = printable(" ".join(key))
        if key not in after:
            lines.append(f"missing: {name}")
            has_grown = True
            continue
        changes = list(_changes(was.values, after[key].values))
        if changes:
            lines.append(f"{name}: {', '.join(text for _, text in changes)}")
        has_grown = has_grown or any(is_growth for is_growth, _ in changes)
    num_equal = sum(before[key].values == after[key].values for key in common)
    added = len(after) - len(common)
    lines.append(f"{num_equal} of {len(common)} calls equal" + (f", {added} new" if added else ""))
    return Comparison(tuple(lines), has_grown)


def _changes(
    was: Mapping[str, int | None], now: Mapping[str, int | None]
) -> Iterator[tuple[bool, str]]:
    """Each figure that differs: whether that is to be stopped, and how to say it."""
    for kind in KINDS:
        before, after = was.get(kind), now.get(kind)
        if before == after:
            continue
        label = kind.removesuffix("_bytes")
        if before is None or after is None:
            yield after is None and kind in JUDGED, f"{label} {_text(before)} to {_text(after)}"
        else:
            change = f"{label} {after - before:+,} bytes ({before:,} to {after:,})"
            yield after > before and kind in JUDGED, change


def _text(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes:,} bytes"


def _require_same_place(key: Key, was: Environment | None, now: Environment | None) -> None:
    if was == now:
        return
    if was is None or now is None:
        what = "one was measured and the other was not"
    else:
        what = f"measured in different environments: {', '.join(was.differences(now))}"
    name = printable(" ".join(key))
    raise UsageError(f"{name}: {printable(what)}; --across-environments compares all the same")


def _read(path: Path) -> dict[Key, _Figures]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UsageError(f"cannot read results from {str(path)!r}: {why}") from error
    try:
        if "rows" in body:
            return dict(_measured(body))
        return dict(_checked(body["results"]))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        msg = (
            f"{str(path)!r} holds no results ({type(error).__name__}: {error}): give a file that "
            "check --json or measure --json wrote"
        )
        raise UsageError(msg) from error


def _checked(results: list[dict[str, Any]]) -> Iterator[tuple[Key, _Figures]]:
    for each in results:
        values = {kind: each[f"peak_{kind}"] for kind in KINDS}
        measurement = each["measurement"]
        place = None if measurement is None else Environment(**measurement["environment"])
        key = (each["subject"], each["workload"], each["scenario"], each["lane"])
        yield (*key[:2], _scenario(key[2], each["sizes"]), key[3]), _Figures(values, place)


def _measured(body: Mapping[str, Any]) -> Iterator[tuple[Key, _Figures]]:
    places = [Environment(**each) for each in body["measured_on"]]
    for each in body["rows"]:
        values = {kind: each.get("measured", {}).get(kind) for kind in KINDS}
        key = (each["subject"], each["workload"])
        scenario = _scenario(each["scenario"], each["sizes"])
        yield (*key, scenario, "measure"), _Figures(values, places[0] if places else None)


def _scenario(name: str, sizes: Mapping[str, int]) -> str:
    """The name and the sizes: the same name at other sizes is another call."""
    return f"{name} ({', '.join(f'{axis}={value}' for axis, value in sorted(sizes.items()))})"
