"""The folders whose code is mutated, and the test files that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reach import PACKAGE, tests_by_source

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPLAINED = "docs/mutation.md"


@dataclass(frozen=True)
class Folder:
    """What is mutated, and where its tests are.

    Attributes:
        tests: folders or files of tests; those whose imports lead to a file are run for it.
        only: names of the files that are mutated; all where it is empty.
        without: names of the files that are left out, because only a GPU runs them.
        through: other rooms of the package through which its tests come to it.
    """

    tests: tuple[str, ...]
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    through: tuple[str, ...] = ()


FOLDERS = {
    "laws": Folder(
        (
            "tests/unit/laws",
            "tests/unit/cli/test_limits.py",
            "tests/unit/pipeline/test_flatness.py",
        ),
        through=("pipeline",),
    ),
    "tracing": Folder(
        ("tests/unit/tracing", "tests/unit/pipeline/test_kept_state.py"),
        without=("cuda_device.py",),
    ),
    "operators": Folder(
        (
            "tests/unit/operators",
            "tests/unit/tracing/test_unique_scratch.py",
            "tests/unit/tracing/test_operators.py",
            "tests/unit/tracing/test_symbolic_compositions.py",
            "tests/unit/tracing/test_attention.py",
            "tests/unit/tracing/test_norms.py",
        ),
    ),
    "allocator": Folder(("tests/unit/allocator",)),
    "safety": Folder(
        ("tests/unit/safety",),
        only=(
            "addresses.py", "capture_record.py", "capture_table.py", "creep_judge.py",
            "creep_steps.py", "index_cases.py", "indices.py", "precision.py", "reads.py",
            "writes.py",
        ),
    ),
}  # fmt: skip


def sources(root: Path, name: str) -> list[Path]:
    """A folder's files that are mutated, relative to the repository."""
    folder = FOLDERS[name]
    return [
        file.relative_to(root)
        for file in sorted((root / PACKAGE / name).rglob("*.py"))
        if file.name not in folder.without and (not folder.only or file.name in folder.only)
    ]


def holders(root: Path, name: str) -> Mapping[Path, list[str]]:
    """For each file that is mutated the test files whose imports lead to it.

    Raises:
        LookupError: no test leads to a file, so that every mutant of it would survive.
    """
    tests = [test for place in FOLDERS[name].tests for test in _test_files(root / place)]
    found = tests_by_source(root, tests, (*FOLDERS, *FOLDERS[name].through))
    held = {
        source: [str(test.relative_to(root)) for test in found.get(root / source, ())]
        for source in sources(root, name)
    }
    without = [str(source) for source, led in held.items() if not led]
    if without:
        message = (
            f"no test of {', '.join(FOLDERS[name].tests)} imports what leads to "
            f"{', '.join(without)}: name its tests in {Path(__file__).name}, or leave it out there"
        )
        raise LookupError(message)
    return held


def _test_files(place: Path) -> list[Path]:
    return sorted(place.rglob("test_*.py")) if place.is_dir() else [place] * place.exists()
