"""Which test files hold a source file: those whose imports lead to it."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

PACKAGE = "oom_suite"


def tests_by_source(
    root: Path, tests: Iterable[Path], through: Iterable[str]
) -> Mapping[Path, list[tuple[int, Path]]]:
    """For every source file that some test leads to, those tests, with how many imports it takes.

    Args:
        root: the repository.
        tests: test files.
        through: rooms of the package whose own imports are followed (``laws``, ``allocator``);
            elsewhere almost everything leads to almost everything.
    """
    rooms = tuple(root / PACKAGE / room for room in through)
    found: dict[Path, list[tuple[int, Path]]] = {}
    for test in sorted(tests):
        for source, distance in _reached(root, test, rooms).items():
            found.setdefault(source, []).append((distance, test))
    return found


def _reached(root: Path, test: Path, rooms: tuple[Path, ...]) -> dict[Path, int]:
    """Every file that a test's imports lead to, with the number of imports on the way."""
    distances = {test: 0}
    waiting = [test, *(folder / "conftest.py" for folder in (test.parent, test.parent.parent))]
    for file in waiting:
        is_followed = file.is_file() and (
            file.is_relative_to(root / "tests") or any(file.is_relative_to(room) for room in rooms)
        )
        for imported in _imports(root, file) if is_followed else ():
            if imported not in distances:
                distances[imported] = distances.get(file, 0) + 1
                waiting.append(imported)
    return distances


@functools.cache
def _imports(root: Path, file: Path) -> tuple[Path, ...]:
    """The files of the package, and beside a test, that a file imports anywhere in it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = dict.fromkeys(name for node in ast.walk(tree) for name in _names(node))
    return tuple(path for name in names for path in _files(root, file, name))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{one.name}" for one in node.names)


def _files(root: Path, importer: Path, name: str) -> Iterator[Path]:
    parts = name.split(".")
    base = root if parts[0] == PACKAGE else importer.parent
    # An import of a module runs the packages that it lies in first.
    packages = [base.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    for path in (base.joinpath(*parts).with_suffix(".py"), *packages):
        if path.is_file():
            yield path
