"""Reads the files that ``--json`` writes, as what a store keeps of them."""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.history.recorded import Recorded, canonical, law_of
from oom_suite.report.files import STDOUT
from oom_suite.report.rows import printable
from oom_suite.subjects import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HERE, _SUITE = "here", "suite"
"""Whose repository a subject's code lies in: where the command ran, or the suite's own."""
_OUTCOMES = ("verdict", "outcome", "found", "how")
"""What a result's own outcome is called in its JSON: of check, measure, scan, bench."""
_BYTES = {"scan": "peak_bytes", "bench": "scratch_bytes"}
_MOST_BYTES = (1 << 63) - 1
"""The largest whole number that a column takes; beyond, the result's own JSON has it."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """What one file holds.

    Attributes:
        path: as it was given.
        results: what is to be kept of it.
        is_complete: whether the command that wrote it came to its end.
    """

    path: str
    results: tuple[Recorded, ...]
    is_complete: bool


def read_files(patterns: Sequence[str], commit: str | None = None) -> list[ResultFile]:
    """The files that were named, each read as a whole, before anything is kept of one.

    Args:
        patterns: files, or patterns of them for a shell that does not know any; ``-`` for
            standard input.
        commit: the commit of the code under test; None for what each file says.

    Raises:
        UsageError: there is no such file, or it holds no results that can be kept.
    """
    paths = dict.fromkeys(path for pattern in patterns for path in _found(pattern))
    return [_read(path, commit) for path in paths]


def _found(pattern: str) -> list[str]:
    if pattern == str(STDOUT) or Path(pattern).exists() or not glob.has_magic(pattern):
        return [pattern]
    if found := sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  # Path.glob takes no absolute pattern
        return found
    raise UsageError(f"no file is like {pattern!r}: give files that --json wrote")


def _read(path: str, commit: str | None) -> ResultFile:
    try:
        text = sys.stdin.read() if path == str(STDOUT) else Path(path).read_text(encoding="utf-8")
        body = json.loads(text)
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UsageError(f"cannot read results from {path!r}: {printable(why)}") from error
    try:
        made = body.get("environment") or {}
        found = [
            _recorded(kind, each, {**made, **more}, commit) for kind, each, more in _results(body)
        ]
        is_complete = bool(body.get("is_complete", True))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise _holds_none(path, f" ({printable(what)})") from error
    if not found and is_complete:
        raise _holds_none(path, "")
    return ResultFile(path, tuple(found), is_complete)


def _holds_none(path: str, why: str) -> UsageError:
    return UsageError(
        f"{path!r} holds no results that can be kept{why}: give a file that check, law, measure, "
        "bench or scan wrote with --json"
    )


def _results(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], dict[str, Any]]]:
    """Each result of a file: its kind, its JSON, and what else is known of where it was made."""
    dated = {"made_at": body["date"]} if "date" in body else {}
    if "device" in body and "rows" in body:
        yield from _timings(body)
        return
    if "measured_on" in body:
        for row in body["rows"]:
            # What was measured in several environments is in several files.
            yield "measure", row, dated | dict(next(iter(body["measured_on"]), {}))
        return
    for name, values in body.items():
        if name == "law" and values:
            yield "law", values, dated
        elif name == "scan" and values:
            yield from (("scan", each, dated) for each in values["rows"])
        elif isinstance(values, list) and name not in {"locked", "rows"}:
            for each in values:
                kind = {"results": "check"}.get(name, name)
                measured = (each.get("measurement") or {}).get("environment") or {}
                yield kind, each, dated | measured


def _timings(
    body: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], dict[str, Any]]]:
    """Each time that `bench` took, a result of its own, with the shape that it was taken at."""
    device = body["device"] or {}
    made = {"device": device.get("name"), "torch": device.get("torch")} if device else {}
    for row in body["rows"]:
        shape = row["shape"]
        name = " ".join(each for each in (shape["table"], shape["layer"]) if each)
        known = {"workload": shape["part"], "scenario": name, "sizes": shape["sizes"]}
        yield from (("bench", {**timing, **known}, dict(made)) for timing in row["timings"])


def _recorded(
    kind: str, body: Mapping[str, Any], made: Mapping[str, Any], commit: str | None
) -> Recorded:
    subject = printable(str(body["subject"]))
    line, release, lies_in = _known_as(subject)
    trees: dict[str, Mapping[str, Any]] = {
        _HERE: made.get("working_tree") or {},
        _SUITE: {"commit": made.get("commit"), "dirty": made.get("dirty")},
    }
    tree = trees.get(lies_in, {}) if commit is None else {"commit": commit}
    sizes, environment = canonical(body.get("sizes") or {}), canonical(made)
    code = str(tree.get("commit") or ""), bool(tree.get("dirty"))
    whole = canonical([kind, body, environment, code])

    def text(values: Mapping[str, Any], name: str, default: str = "") -> str:
        return printable(str(values.get(name) or default))

    return Recorded(
        key=hashlib.sha256(whole.encode()).hexdigest(),
        kind=kind,
        subject=subject,
        line=line,
        release=release,
        workload=printable(str(body["workload"])),
        lane=text(body, "lane", "measure" if kind == "measure" else "shadow"),
        target=text(body, "target") or _target_of(made),
        scenario=text(body, "scenario"),
        sizes=sizes,
        verdict=next((text(body, name) for name in _OUTCOMES if body.get(name)), ""),
        law=law_of(body),
        num_bytes=_num_bytes(kind, body),
        elapsed_us=body.get("elapsed_us"),
        code_commit=printable(code[0]),
        is_dirty=code[1],
        committed_at=_in_utc(tree.get("committed_at")),
        made_at=_in_utc(made.get("made_at")),
        python=text(made, "python"),
        torch=text(made, "torch"),
        triton=text(made, "triton"),
        driver=text(made, "driver"),
        device=text(made, "device"),
        oom_suite=text(made, "oom_suite"),
        environment=environment,
        body=canonical(body),
    )


@functools.cache
def _known_as(subject: str) -> tuple[str, str, str]:
    """The life that a subject belongs to, its release, and the repository that has its code.

    One that no family reads here, as without the plugin that brings it, is a life of its own.
    """
    try:
        spec = parse(subject)
    except OomSuiteError:
        return subject, "", _HERE
    if spec.version:
        return spec.family, spec.version, ""
    if spec.family == "built-in":
        return subject, "", _SUITE
    path = Path(spec.path or "")
    return subject, "", "" if path.is_absolute() or ".." in path.parts else _HERE


def _target_of(made: Mapping[str, Any]) -> str:
    """The target that a measurement's environment is, in a target's spelling."""
    runtime = {"hip": "rocm"}.get(str(made.get("device_type")), made.get("device_type"))
    return str(runtime or "") if runtime in {"cpu", None} else f"{runtime}:{made.get('arch')}"


def _num_bytes(kind: str, body: Mapping[str, Any]) -> int | None:
    """The peak of requested bytes at the scenario."""
    if kind == "law":
        at = (body.get("scenarios") or {}).get(body["scenario"]) or {}
        found = at["law_bytes"] if at.get("run_bytes") is None else at["run_bytes"]
    elif kind == "measure":
        found = (body.get("measured") or {}).get("requested_bytes")
    else:
        found = body.get(_BYTES.get(kind, "peak_requested_bytes"))
    return found if isinstance(found, int) and found <= _MOST_BYTES else None


def _in_utc(text: Any) -> str:
    if not text:
        return ""
    moment = datetime.fromisoformat(str(text))
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
