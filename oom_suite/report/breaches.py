"""The words for what broke a promise: terms marked, lines blamed, each with its own sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.records import Verdict
from oom_suite.report.rows import Line, Row, printable
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oom_suite.records import Blame, Polynomial, Result

SCENARIO = "at the scenario"


def is_guilty(result: Result, formula: Polynomial | None, term: Polynomial) -> bool:
    """Whether a term breaks the promise: of that formula, or of any where None is given."""
    breach = result.breach
    if breach is None:
        return bool({blame.axis for blame in result.blame} & term.axes)
    is_asked = formula is None or breach.formula == formula
    return is_asked and not breach.memory and term in breach.terms


def where(result: Result, sizes: Mapping[str, int]) -> str:
    """``at the scenario``, or ``at num_blocks=64`` with the sizes that are not the scenario's."""
    moved = {axis: size for axis, size in sizes.items() if result.sizes.get(axis) != size}
    if not moved:
        return SCENARIO
    return "at " + ", ".join(f"{axis}={size:,}" for axis, size in moved.items())


def term_lines(
    result: Result, formula: Polynomial, sizes: Mapping[str, int], *, is_breach: bool = False
) -> Iterator[Line]:
    """The terms, guilty ones marked, each with its bytes at these sizes, largest first.

    Args:
        result: the failure.
        formula: the terms are its.
        sizes: where their bytes are counted.
        is_breach: whether the formula is the one that breaks the promise, whosever memory it is.
    """
    guilty_terms = () if result.breach is None or not is_breach else result.breach.terms
    rows = []
    for term in formula.parts:
        num_bytes = int(term(sizes)) if term.axes <= sizes.keys() else None
        guilty = term in guilty_terms if is_breach else is_guilty(result, formula, term)
        rows.append((str(term), num_bytes, guilty))
    width = max((len(text) for text, _, _ in rows), default=0)
    for text, num_bytes, guilty in sorted(rows, key=lambda row: (-(row[1] or 0), row[0])):
        amount = "-" if num_bytes is None else format_bytes(num_bytes)
        yield Line(f"{'>' if guilty else ' '} {text:<{width}}  {amount:>10}", guilty)


def other_formula_lines(result: Result, memory: str) -> Iterator[Line]:
    """What breaks the promise, where it is not in the law that is shown.

    Args:
        result: the failure.
        memory: whose: as of `oom_suite.records.Breach`.
    """
    breach = result.breach
    if breach is None or breach.memory != memory:
        return
    at = where(result, breach.sizes)
    if breach.seen:
        yield Line(printable(f"> {breach.seen}"), guilty=True)
    elif breach.formula is not None and (memory or not _is_shown(result, breach.formula)):
        yield Line(printable(f"what breaks the promise, {at}:"))
        yield from term_lines(result, breach.formula, breach.sizes or result.sizes, is_breach=True)


def _is_shown(result: Result, formula: Polynomial) -> bool:
    return result.law is not None and result.law.here == formula


def blame_lines(result: Result) -> Iterator[Line]:
    """Each guilty line once, and under it what it holds for each forbidden axis, and where."""
    places: dict[str, list[Blame]] = {}
    for blame in result.blame:
        at = printable(f"{blame.file}:{blame.line} ({blame.function})")
        places.setdefault(at, []).append(blame)
    for at, held in places.items():
        yield Line(at, guilty=True)
        yield from (Line(f"  {held_text(result, blame)}") for blame in held)


def held_text(result: Result, blame: Blame) -> str:
    """``13.54 GiB at the scenario, 65,536 bytes per num_blocks``."""
    each = f"{blame.bytes_per_unit:,.10g}"
    at = where(result, blame.sizes)
    return printable(f"{format_bytes(blame.bytes)} {at}, {each} bytes per {blame.axis}")


def advice_rows(result: Result) -> Iterator[Row]:
    """What to do about what could not be judged."""
    lines = tuple(Line(printable(each)) for each in dict.fromkeys(result.advice))
    if lines and result.verdict is Verdict.INCONCLUSIVE:
        yield Row("next", lines)
