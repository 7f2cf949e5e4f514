"""The lockfile as TOML: one formula a line, in a stable order, to be reviewed in a pull request.

Layout (format 1)::

    format = 1

    [laws."vllm==0.33.0".decode.generic]      # subject, workload, architecture
    scenario = "issue-41962"                  # the sizes that the law was found around
    sizes = { swa_num_blocks = 221839, ... }
    held = ["block_size"]                     # axes that the law speaks of one value of
    quantities = ["distinct_values"]          # sizes that data decides, where there are any
    law = [                                   # the peak is the largest of these
        "8*num_tokens + 1024*num_tokens*num_heads",
    ]
    notes = []                                # what else the law assumes
    bytes = { small = 1000, ... }             # exact runs at the named scenarios
    made_with = { oom_suite = "0.1.0", torch = "2.13.0" }

    [[laws."vllm==0.33.0".decode.generic.elsewhere]]
    at = { swa_topk = 32 }                    # where another law holds
    ...
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from oom_suite.errors import UsageError
from oom_suite.laws.contracts import parse_polynomial
from oom_suite.records import Law, Polynomial
from oom_suite.records.lock import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tomlkit.items import Array, InlineTable, Table

    from oom_suite.records.lock import Key

FORMAT = 1
"""The one layout that this version reads and writes."""

_HEADER = (
    "The peak memory laws that this repository has promised: bytes requested, for all sizes.",
    "Written by `oom-suite lock`, held by `oom-suite check --locked`; see docs/lockfile.md.",
)


def merged(old: Mapping[Key, Entry], new: Iterable[Entry]) -> dict[Key, Entry]:
    """The old entries with the new ones in their place.

    A law that has not changed keeps its entry, with the versions that it was found with, so
    that locking again changes nothing.
    """
    entries = dict(old)
    for entry in new:
        kept = entries.get(entry.key)
        if kept is None or _promise(kept) != _promise(entry):
            entries[entry.key] = entry
    return entries


def dumps(entries: Mapping[Key, Entry]) -> str:
    """The text of the lockfile; the same entries give the same text."""
    document = tomlkit.document()
    for line in _HEADER:
        document.add(tomlkit.comment(line))
    document.add("format", tomlkit.item(FORMAT))
    laws = tomlkit.table(is_super_table=True)
    for key in sorted(entries):
        place = laws
        for name in key[:2]:
            if name not in place:
                place.add(name, tomlkit.table(is_super_table=True))
            place = place[name]
        place.add(key[2], _entry_table(entries[key]))
    if entries:
        document.add("laws", laws)
    return tomlkit.dumps(document).rstrip("\n") + "\n"


def read(path: str | Path) -> dict[Key, Entry]:
    """The entries of a lockfile.

    Raises:
        UsageError: it is not there, cannot be read, or is of another format version.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        msg = f"no lockfile {str(path)!r}: write one with oom-suite lock, or name it with --file"
        raise UsageError(msg) from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        msg = f"cannot read lockfile {str(path)!r}: {why}"
        raise UsageError(msg) from None
    return loads(text, str(path))


def loads(text: str, name: str) -> dict[Key, Entry]:
    """The entries that a lockfile's text holds.

    Args:
        text: the TOML.
        name: the file's name, for messages.

    Raises:
        UsageError: it is no lockfile, or one of another format version.
    """
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = " ".join(str(error).split())
        msg = f"lockfile {name!r} is not TOML: {why}; write it again with oom-suite lock"
        raise UsageError(msg) from None
    version = body.get("format")
    if version != FORMAT or isinstance(version, bool):
        seen = "no format version" if version is None else f"format {version!r}"
        msg = (
            f"lockfile {name!r} has {seen}, this oom-suite reads format {FORMAT}: "
            "use the version that wrote it, or move it away and run oom-suite lock"
        )
        raise UsageError(msg)
    entries: dict[Key, Entry] = {}
    for subject, workloads in _table(body.get("laws", {}), name, "laws").items():
        for workload, archs in _table(workloads, name, subject).items():
            for arch, fields in _table(archs, name, f"{subject} {workload}").items():
                key = (subject, workload, arch)
                entries[key] = _entry(key, _table(fields, name, " ".join(key)), name)
    return entries


def _promise(entry: Entry) -> object:
    """What an entry says, whoever found it and however often he ran it."""
    laws = [(law.regimes, law.sizes, law.held, law.notes) for law in (entry.law, *entry.elsewhere)]
    return entry.key, entry.scenario, laws, entry.scenario_bytes


def _entry_table(entry: Entry) -> Table:
    table = tomlkit.table()
    table.add("scenario", entry.scenario)
    table.add("sizes", _inline(entry.law.sizes))
    _add_law(table, entry.law)
    table.add("bytes", _inline(entry.scenario_bytes))
    table.add("made_with", _inline(entry.versions))
    if entry.elsewhere:
        others = tomlkit.aot()
        for law in entry.elsewhere:
            start = entry.law.sizes
            moved = {axis: v for axis, v in law.sizes.items() if v != start.get(axis)}
            other = tomlkit.table()
            other.add("at", _inline(moved))
            _add_law(other, law)
            others.append(other)
        table.add("elsewhere", others)
    return table


def _add_law(table: Table, law: Law) -> None:
    table.add("held", _array(sorted(law.held)))
    quantities = sorted(law.axes - law.sizes.keys())
    if quantities:
        table.add("quantities", _array(quantities))
    table.add("law", _array([str(regime) for regime in law.regimes], a_line_each=True))
    table.add("notes", _array(law.notes, a_line_each=True))


def _array(texts: Iterable[str], *, a_line_each: bool = False) -> Array:
    array = tomlkit.array()
    array.extend(texts)
    return array.multiline(a_line_each and bool(array))


def _inline(values: Mapping[str, int | str]) -> InlineTable:
    table = tomlkit.inline_table()
    table.update(values)
    return table


def _entry(key: Key, fields: Mapping[str, Any], name: str) -> Entry:
    where = " ".join(key)
    try:
        sizes = _counts(fields["sizes"])
        return Entry(
            *key,
            scenario=_text(fields["scenario"]),
            law=_law(fields, sizes),
            elsewhere=tuple(
                _law(other, {**sizes, **_counts(other["at"])})
                for other in _list(fields.get("elsewhere", []))
            ),
            scenario_bytes=_counts(fields["bytes"]),
            versions={k: _text(v) for k, v in fields["made_with"].items()},
        )
    except UsageError as error:
        why = str(error)
    except KeyError as error:
        why = f"{error} is missing"
    except (TypeError, AttributeError) as error:
        why = f"a value is of another kind than it should be ({error})"
    msg = f"lockfile {name!r}, {where}: {why}; write it again with oom-suite lock"
    raise UsageError(msg)


def _law(fields: Mapping[str, Any], sizes: Mapping[str, int]) -> Law:
    names = (*sizes, *map(_text, _list(fields.get("quantities", []))))
    regimes = tuple(parse_polynomial(_text(text), names) for text in _list(fields["law"]))
    return Law(
        regimes=regimes or (Polynomial({}),),
        sizes=sizes,
        held={axis: sizes[axis] for axis in map(_text, _list(fields["held"]))},
        notes=tuple(map(_text, _list(fields.get("notes", [])))),
    )


def _table(value: Any, name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        msg = f"lockfile {name!r}: {where} is no table; write it again with oom-suite lock"
        raise UsageError(msg)
    return value


def _checked(kind: type, what: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kind) or isinstance(value, bool):
            msg = f"{value!r} is no {what}"
            raise TypeError(msg)
        return value

    return check


_text: Callable[[Any], str] = _checked(str, "text")
_list: Callable[[Any], Sequence[Any]] = _checked(list, "list")
_count: Callable[[Any], int] = _checked(int, "whole number")


def _counts(value: Mapping[str, Any]) -> dict[str, int]:
    return {name: _count(each) for name, each in value.items()}
