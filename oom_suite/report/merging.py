"""Files of a scan's shards, put together as the scan that one process would have made."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError
from oom_suite.records.scan import ScanRow
from oom_suite.records.shards import Shard
from oom_suite.report.rows import printable
from oom_suite.targets.versions import DECIDES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MergedScan:
    """What all shards found together.

    Attributes:
        subjects: in the order of the scan.
        rows: one for each unit, in the order of the scan.
        compares: whether it says what changed.
        made: the environment that the last of them was made in.
    """

    subjects: tuple[str, ...]
    rows: tuple[ScanRow, ...]
    compares: bool
    made: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    shard: Shard
    subjects: tuple[str, ...]
    rows: tuple[ScanRow, ...]
    made: Mapping[str, Any]


def merged_scan(paths: Sequence[Path]) -> MergedScan:
    """The scan of which these files are all shards.

    Args:
        paths: what ``scan --shard i/n --json`` wrote, in any order.

    Raises:
        UsageError: a file is no such one or was interrupted, a shard is missing or doubled, or
            they are of different scans or were made by different versions.
    """
    parts = sorted(map(_read, paths), key=lambda part: part.shard.number)
    first, *others = parts
    for other in others:
        _refuse_other_scan(first, other)
        _refuse_other_versions(first, other)
    for one, next_one in itertools.pairwise(parts):
        if one.shard == next_one.shard:
            both = f"{_named(one.path)} and {_named(next_one.path)}"
            raise UsageError(f"{both} are both {one.shard}: give each shard once")
    numbers = {part.shard.number for part in parts}
    num_shards = first.shard.num_shards
    missing = [str(at) for at in range(1, num_shards + 1) if at not in numbers]
    if missing:
        what = f"shard{'s' * (len(missing) > 1)} {', '.join(missing)} of {num_shards}"
        advice = f"run the scan with --shard {missing[0]}/{num_shards} --json FILE, and give it too"
        raise UsageError(f"{what} {'are' if len(missing) > 1 else 'is'} missing: {advice}")
    place = {key: at for at, key in enumerate(first.shard.keys)}
    rows = itertools.chain.from_iterable(part.rows for part in parts)
    return MergedScan(
        subjects=first.subjects,
        rows=tuple(sorted(rows, key=lambda row: place[row.unit.key])),
        compares=first.shard.compares,
        made=max((part.made for part in parts), key=lambda made: str(made.get("made_at"))),
    )


def _read(path: Path) -> _Part:
    """The shard in a file.

    Raises:
        UsageError: there is none, or not all of its units are there.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        scan = body["scan"]
        part = _Part(
            path=path,
            shard=Shard.from_json(scan["shard"]),
            subjects=tuple(map(str, scan["subjects"])),
            rows=tuple(map(ScanRow.from_json, scan["rows"])),
            made=dict(body["environment"]),
        )
    except OSError as error:
        raise UsageError(f"cannot read {_named(path)}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{_named(path)} is no shard of a scan: give files of oom-suite scan --shard i/n "
        raise UsageError(msg + "--json FILE") from error
    shard, keys = part.shard, [row.unit.key for row in part.rows]
    is_whole = 1 <= shard.number <= shard.num_shards and set(keys) <= shard.own_keys
    if not is_whole or len(keys) != len(set(keys)):
        raise UsageError(f"{_named(path)} is not as scan wrote it: it has rows that are not its")
    if len(keys) < len(shard.own_keys):
        how_many = f"{len(keys)} of the {len(shard.own_keys)} units of {shard}"
        advice = f"run the scan with --shard {shard.number}/{shard.num_shards} again"
        raise UsageError(f"{_named(path)} has {how_many}, and was interrupted: {advice}")
    return part


def _refuse_other_scan(one: _Part, other: _Part) -> None:
    both = f"{_named(one.path)} and {_named(other.path)} are shards of different scans"
    if one.shard.num_shards != other.shard.num_shards:
        what = f"one of {one.shard.num_shards} and one of {other.shard.num_shards}"
    elif difference := set(one.shard.keys) ^ set(other.shard.keys):
        what = f"only one of them has {printable(min(difference))!r}"
    elif one.shard.compares != other.shard.compares:
        what = "only one of them has --since"
    elif (one.subjects, one.shard.keys) != (other.subjects, other.shard.keys):
        what = "their subjects are in different orders"
    else:
        return
    raise UsageError(f"{both}, {what}: give those of one command")


def _refuse_other_versions(one: _Part, other: _Part) -> None:
    for name in (*DECIDES, "working_tree"):
        values = [part.made.get(name) for part in (one, other)]
        if values[0] != values[1]:
            both = f"{_named(one.path)} and {_named(other.path)}"
            seen = f"{_shown(name, values[0])} and {_shown(name, values[1])}"
            msg = f"{both} were made by different versions, {seen}: run both with one"
            raise UsageError(msg)


def _shown(name: str, value: Any) -> str:
    """``torch 2.13.0``, or the commit of a working tree."""
    if isinstance(value, dict):
        changed = ", changed" * bool(value.get("dirty"))
        return f"{name} {printable(str(value.get('commit')))}{changed}"
    return f"{name} {printable(str(value))}"


def _named(path: Path) -> str:
    return repr(printable(str(path)))
