"""What was judged before, kept by the content that decided it: a search goes on where it ended."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.laws.lockfile import dumps, loads
from oom_suite.records import Verdict
from oom_suite.records.commits import Finding, Judged, Place, Step
from oom_suite.subjects import obtain, parse
from oom_suite.subjects.families.cache import MARKER, cache_folder
from oom_suite.targets.default import default_targets
from oom_suite.targets.versions import environment, working_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from oom_suite.pipeline.commits.repository import Repository

_NAME = "judged"
_SUITE = Path(__file__).parents[2]
_OF_A_SHELL = frozenset({"_", "COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM"})
_NO_CODE = frozenset({".md", ".rst", ".png", ".jpg", ".jpeg", ".gif", ".svg"})
"""Endings of files that decide no law."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and all but the code under test that the answer depends on.

    Attributes:
        words: what tells this question from others.
        reference: what was found of the good end; an answer depends on it where others are held
            to its law.
    """

    words: tuple[str, ...]
    reference: Judged | None = None

    def key(self, content: str) -> str:
        """What an answer is found by."""
        known = self.reference
        is_held_to = known is not None and any(each.is_baseline for each in known.findings)
        then = judged_to_json(known) if known is not None and is_held_to else None
        around = [environment(), default_targets(), _variables(), *_installed()]
        whole = [self.words, then, content, around]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _variables() -> dict[str, str]:
    """The variables of the environment, which code may read, but those of a shell and a screen."""
    return {name: value for name, value in os.environ.items() if name not in _OF_A_SHELL}


@functools.cache
def _installed() -> tuple[Any, ...]:
    """Every installed package, and the suite as its files are now."""
    packages = {f"{each.name} {each.version}" for each in metadata.distributions()}
    suite = [
        (str(path.relative_to(_SUITE)), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(_SUITE.rglob("*.py"))
    ]
    return sorted(packages), suite


class Kept:
    """Answers in a folder, a file each.

    Good and bad are kept. What could not be judged is tried again: a package may be there next
    time, or more time.

    Args:
        folder: where; None to keep nothing and know nothing.
        reads: whether what is there already counts.
    """

    def __init__(self, folder: Path | None, *, reads: bool = True) -> None:
        self._folder = folder
        self._reads = reads

    def step(
        self,
        name: str,
        question: Question,
        content: str,
        judge: Callable[[], Judged],
        *,
        title: str = "",
        end: str = "",
        is_new: bool = False,
    ) -> Step:
        """What was found before of the same code, else what `judge` finds, which is kept.

        Where `is_new`, it is judged now, whatever was found before.
        """
        start = time.monotonic()
        known = None if is_new else self.find(question, content)
        judged = known or judge()
        if known is None:
            self.keep(question, content, judged)
        took_s = time.monotonic() - start
        return Step(name, title or name, judged, took_s, end, is_kept=known is not None)

    def find(self, question: Question, content: str) -> Judged | None:
        """What was found before of the same code; None where nothing is known."""
        if self._folder is None or not content or not self._reads:
            return None
        try:
            text = (self._folder / f"{question.key(content)}.json").read_text(encoding="utf-8")
            return judged_of(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError, UsageError):
            # None there, or half of one: it is judged anew.
            return None

    def keep(self, question: Question, content: str, judged: Judged) -> None:
        """Nothing; afterwards it is found. Where the folder cannot be written, it is not."""
        is_final = judged.verdict is not Verdict.INCONCLUSIVE
        if self._folder is None or not content or not is_final:
            return
        file = self._folder / f"{question.key(content)}.json"
        scratch = file.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            scratch.write_text(json.dumps(judged_to_json(judged)), encoding="utf-8")
            scratch.replace(file)


NOTHING_KEPT = Kept(None)
"""Finds nothing, and keeps nothing."""


def folder_in(repository: Repository) -> Path:
    """Where a repository's own answers are kept: in git's folder."""
    return repository.git_dir / "oom-suite" / _NAME


def folder_of_releases() -> Path:
    """Where answers about releases are kept: beside the releases."""
    return cache_folder(_NAME)


def decides(name: str) -> bool:
    """Whether a file of a tree can decide a law, as far as its name tells."""
    return Path(name).suffix.lower() not in _NO_CODE


def digest(parts: Iterable[Sequence[str] | bytes]) -> str:
    """A digest of what code is made of: names with their contents, or the digests of these."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else "\0".join(part).encode())
        whole.update(b"\0\n")
    return whole.hexdigest()


def content_of_subject(subject: str) -> str:
    """A digest of the code that is judged; empty where none is known, or it cannot be had."""
    spec = parse(subject)
    if spec.version is not None:
        try:
            return content_of_folder(obtain(spec))
        except OomSuiteError:
            # That it cannot be had is for the judge to say.
            return ""
    tree = working_tree(Path.cwd())
    return "" if tree["dirty"] or not tree["commit"] else f"{tree['commit']} {subject}"


def content_of_folder(folder: Path | None) -> str:
    """A digest of all files below a folder; empty where there is none."""
    if folder is None:
        return ""
    return digest(
        part
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARKER and decides(path.name)
        for part in ((path.relative_to(folder).as_posix(),), path.read_bytes())
    )


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
                kind: next(iter(loads(text, _NAME).values()))
                for kind, text in each["entries"].items()
            },
            is_baseline=each["is_baseline"],
            judged_as=each["judged_as"],
        )
        for each in body["findings"]
    )
    return Judged(findings, body["problem"])
