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
) -> Mapping[Path, list[Path]]:
    """For every source file that some test leads to, those tests.

    Args:
        root: the repository.
        tests: test files.
        through: rooms of the package whose own imports are followed (``laws``, ``allocator``);
            elsewhere almost everything leads to almost everything.
    """
    rooms = (root / "tests", *(root / PACKAGE / room for room in through))
    found: dict[Path, list[Path]] = {}
    for test in sorted(tests):
        for source in _reached(root, test, rooms):
            found.setdefault(source, []).append(test)
    return found


def _reached(root: Path, test: Path, rooms: tuple[Path, ...]) -> list[Path]:
    """A test, and every file that its imports lead to."""
    found = dict.fromkeys(
        (test, *(folder / "conftest.py" for folder in (test.parent, test.parent.parent)))
    )
    waiting = list(found)
    for file in waiting:
        for imported in _imports(root, file) if _is_followed(file, rooms) else ():
            if imported not in found:
                found[imported] = None
                waiting.append(imported)
    return waiting


@functools.cache
def _is_followed(file: Path, rooms: tuple[Path, ...]) -> bool:
    return file.is_file() and any(file.is_relative_to(room) for room in rooms)


@functools.cache
def _imports(root: Path, file: Path) -> tuple[Path, ...]:
    """The files of the package, of the tests and beside a test that a file imports anywhere."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = dict.fromkeys(name for node in _statements(tree) for name in _names(node))
    return tuple(path for name in names for path in _files(root, file, name))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement inside, at any depth; not what they are made of, which is most of it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield child
            yield from _statements(child)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{one.name}" for one in node.names)


def _files(root: Path, importer: Path, name: str) -> Iterator[Path]:
    parts = name.split(".")
    base = root if parts[0] in (PACKAGE, "tests") else importer.parent
    # An import of a module runs the packages that it lies in first.
    packages = [base.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    for path in (base.joinpath(*parts).with_suffix(".py"), *packages):
        if path.is_file():
            yield path
