"""Which tests a mutant is tried on, and in which order: those that enter its function first."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_START_S = 30.0
_TIMES = 6
"""A part may take this many times what it takes without a mutant, and as long to begin."""
_FIRST_S = 10.0
_SLOW_S = 2.0
"""Seconds that the first part takes, and what a single test of it may."""


@dataclass
class Seen:
    """What the tests did without a mutant.

    Attributes:
        seconds: of each test, by its node id.
        entered: for each function, by its file and first line, the tests that entered it.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    entered: dict[tuple[str, int], set[str]] = field(default_factory=dict)


class Part(NamedTuple):
    """Tests that are run together.

    Attributes:
        files: test files.
        tests: node ids of the tests that are run of them.
        limit_s: seconds after which they are taken to hang.
    """

    files: list[str]
    tests: frozenset[str]
    limit_s: float


def parts(source: Path, line: int, near: Sequence[str], seen: Seen) -> list[Part]:
    """The tests of a mutant, in parts that are run one by one until a test fails.

    First quick tests that enter the function in which the mutant is; then the rest of the files
    that such tests are in, for what a fixture or a cache has kept, and of the file that is named
    as the source is. Tests that enter it only in a process that they start are left out: a fault
    that they alone would notice counts as a survivor. Outside of functions, in tables, the
    functions of the whole file are taken; where none is entered, all test files that lead there.

    Args:
        source: the mutated file, relative to the repository.
        line: where in it.
        near: test files whose imports lead to it.
        seen: what the tests did without a mutant.
    """
    entering: set[str] = set()
    for first in _functions(source, line):
        entering |= seen.entered.get((str(source), first), set())
    by_time = sorted(entering, key=lambda test: (seen.seconds.get(test, 0.0), test))
    quick, taken_s = [], 0.0
    for test in by_time:
        seconds = seen.seconds.get(test, 0.0)
        if seconds > _SLOW_S or taken_s + seconds > _FIRST_S:
            break
        taken_s += seconds
        quick.append(test)
    files = {_file(test) for test in entering}
    files |= {test for test in near if Path(test).stem == f"test_{source.stem}"}
    rest = {test for test in seen.seconds if _file(test) in (files or set(near))} - set(quick)
    return [_part(tests, seen) for tests in (quick, rest) if tests]


def _part(tests: Iterable[str], seen: Seen) -> Part:
    chosen = frozenset(tests)
    seconds: dict[str, float] = {}
    for test in chosen:
        seconds[_file(test)] = seconds.get(_file(test), 0.0) + seen.seconds.get(test, 0.0)
    files = sorted(seconds, key=lambda file: (seconds[file], file))
    return Part(files, chosen, _START_S + _TIMES * sum(seconds.values()))


def _file(test: str) -> str:
    return test.partition("::")[0]


def _functions(source: Path, line: int) -> list[int]:
    """The first line of the innermost function around a line; of all functions where none is."""
    found = [
        (min([node.lineno, *(one.lineno for one in node.decorator_list)]), node.end_lineno or 0)
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    around = [first for first, last in found if first <= line <= last]
    return [max(around)] if around else [first for first, _ in found]
