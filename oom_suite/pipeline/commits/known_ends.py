"""What was found at the ends of a search, kept from one step of `git bisect run` to the next."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import dumps, loads
from oom_suite.records import Verdict
from oom_suite.records.commits import Finding, Judged, Place, Step
from oom_suite.targets.versions import environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FOLDER, _FILE = "oom-suite", "probe.json"


def key_of(words: Sequence[str], files: Sequence[Path]) -> str:
    """What tells one question from others: its words, the versions, and files that git ignores.

    Args:
        words: the predicate's, and the commits' names.
        files: files outside of the commits that the answer depends on.
    """
    whole = hashlib.sha256(json.dumps([*words, environment()], sort_keys=True).encode())
    for file in files:
        whole.update(file.read_bytes())
    return whole.hexdigest()


def load(git_dir: Path, key: str) -> tuple[Step, ...]:
    """The ends that were kept for a question; none where there are none."""
    try:
        body = json.loads((git_dir / _FOLDER / _FILE).read_text(encoding="utf-8"))
        if body["key"] != key:
            return ()
        return tuple(_step(each) for each in body["ends"])
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        # A file of another version, or half of one: the ends are judged anew.
        return ()


def save(git_dir: Path, key: str, ends: Sequence[Step]) -> None:
    """Keep the ends; where git's folder cannot be written, each step judges them anew."""
    folder = git_dir / _FOLDER
    body = {"key": key, "ends": [_to_json(step) for step in ends]}
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        scratch = folder / f"{_FILE}.{os.getpid()}"
        scratch.write_text(json.dumps(body), encoding="utf-8")
        scratch.replace(folder / _FILE)


def _to_json(step: Step) -> dict[str, Any]:
    return {
        "commit": step.commit,
        "title": step.title,
        "end": step.end,
        "elapsed_s": step.elapsed_s,
        **judged_to_json(step.judged),
    }


def _step(body: dict[str, Any]) -> Step:
    judged = judged_of(body)
    return Step(body["commit"], body["title"], judged, body["elapsed_s"], body["end"])


def judged_to_json(judged: Judged) -> dict[str, Any]:
    """What was found as JSON values, from which `judged_of` makes it again."""
    findings = [
        {
            "name": each.name,
            "workload": each.workload,
            "verdict": each.verdict.value,
            "reason": each.reason,
            "law": each.law,
            "peak_requested_bytes": each.peak_requested_bytes,
            "blame": [line.to_json() for line in each.blame],
            "entries": {kind: dumps({e.key: e}) for kind, e in each.entries.items()},
            "is_baseline": each.is_baseline,
            "judged_as": each.judged_as,
        }
        for each in judged.findings
    ]
    return {"problem": judged.problem, "findings": findings}


def judged_of(body: dict[str, Any]) -> Judged:
    """What `judged_to_json` wrote; how laws differ from the good end's is not among it.

    Raises:
        KeyError: it is of another version.
        TypeError: as before.
        ValueError: as before.
        UsageError: as before.
    """
    findings = tuple(
        Finding(
            name=each["name"],
            workload=each["workload"],
            verdict=Verdict(each["verdict"]),
            reason=each["reason"],
            law=each["law"],
            peak_requested_bytes=each["peak_requested_bytes"],
            blame=tuple(Place.of(line) for line in each["blame"]),
            entries={
                kind: next(iter(loads(text, _FILE).values()))
                for kind, text in each["entries"].items()
            },
            is_baseline=each["is_baseline"],
            judged_as=each["judged_as"],
        )
        for each in body["findings"]
    )
    return Judged(findings, body["problem"])
