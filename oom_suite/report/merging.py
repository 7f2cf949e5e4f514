"""Files of scans: shards put together as the scan of one process, and one that goes on."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError
from oom_suite.records.scan import Found, ScanRow
from oom_suite.records.shards import Shard
from oom_suite.report.files import where_made
from oom_suite.report.rows import printable
from oom_suite.targets.versions import DECIDES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from oom_suite.records.scan import Unit

_SUITE = "oom_suite"
"""What the suite's own code is called among the states of code."""


@dataclass(frozen=True, slots=True)
class MergedScan:
    """What all shards found together.

    Attributes:
        subjects: in the order of the scan.
        rows: one for each unit, in the order of the scan.
        compares: whether it says what changed.
        own_code: as of `oom_suite.pipeline.scan.units.own_code`, the same for all of them.
        made: the environment that the last of them was made in.
    """

    subjects: tuple[str, ...]
    rows: tuple[ScanRow, ...]
    compares: bool
    own_code: Mapping[str, str]
    made: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    shard: Shard
    subjects: tuple[str, ...]
    rows: tuple[ScanRow, ...]
    own_code: Mapping[str, str]
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
        own_code=first.own_code,
        made=max((part.made for part in parts), key=lambda made: str(made.get("made_at"))),
    )


def _differing_code(one: _Part, other: _Part) -> tuple[str, str] | None:
    """The first subject whose code differs, as each has it; None where none does."""
    for subject in one.own_code.keys() | other.own_code:
        commits = [part.own_code.get(subject) for part in (one, other)]
        if commits[0] != commits[1]:
            then, now = (f"{subject} at {commit or 'no commit'}" for commit in commits)
            return printable(then), printable(now)
    return None


def rows_to_keep(
    path: Path, units: Collection[Unit], own_code: Mapping[str, str]
) -> tuple[tuple[ScanRow, ...], tuple[str, ...]]:
    """The rows of an interrupted scan that stand, and the names of code that may have changed.

    What could not be judged is none of them: there may be more time now, or a package. Nor is
    what was found of code that may have changed; where there is no file, nothing was.

    Args:
        path: what ``scan --json`` wrote.
        units: of this scan.
        own_code: as of `oom_suite.pipeline.scan.units.own_code`.

    Raises:
        UsageError: it is no such file, has rows of another scan, or was made by other versions.
    """
    if not path.exists():
        return (), ()
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(map(ScanRow.from_json, body["scan"]["rows"]))
        made_then = dict(body["environment"])
        code_then = dict(body["scan"].get("own_code", {}))
    except OSError as error:
        raise UsageError(f"cannot read {_named(path)}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"--resume: {_named(path)} is no file of oom-suite scan --json FILE: give one, or "
        raise UsageError(msg + "leave --resume out to replace it") from error
    if others := {row.unit for row in rows} - set(units):
        msg = f"--resume: {_named(path)} is of another scan, which has "
        msg += repr(printable(min(others).key))
        raise UsageError(f"{msg}: give the subjects and options of that one, or another file")
    if differing := _differing(made_then, where_made()):
        msg = f"--resume: {_named(path)} was made by {differing[0]}, and here is {differing[1]}"
        raise UsageError(f"{msg}: leave --resume out to judge all anew")

    changed = {name for name, code in own_code.items() if not code or code != code_then.get(name)}
    kept = {
        row.unit: row
        for row in rows
        if row.found is not Found.INCONCLUSIVE and not {_SUITE, row.unit.subject} & changed
    }
    return tuple(kept.values()), tuple(sorted(changed))


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
            own_code=dict(scan.get("own_code", {})),
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
    parts = (one, other)
    if differing := _differing(*(each.made for each in parts)) or _differing_code(*parts):
        both = f"{_named(one.path)} and {_named(other.path)}"
        seen = " and ".join(differing)
        raise UsageError(f"{both} were made by different versions, {seen}: run both with one")


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first of what decides laws that differs, as each has it; None where nothing does."""
    for name in (*DECIDES, "working_tree"):
        if one.get(name) != other.get(name):
            return _shown(name, one.get(name)), _shown(name, other.get(name))
    return None


def _shown(name: str, value: Any) -> str:
    """``torch 2.13.0``, or the commit of a working tree."""
    if isinstance(value, dict):
        changed = ", changed" * bool(value.get("dirty"))
        return f"{name} {printable(str(value.get('commit')))}{changed}"
    return f"{name} {printable(str(value))}"


def _named(path: Path) -> str:
    return repr(printable(str(path)))
