"""Checks that code makes of values, and that do no more than raise where these are wrong.

A call that raises has no peak to speak of: code goes on where it does not.
"""

from __future__ import annotations

import ast
import functools
import linecache
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import oom_suite

if TYPE_CHECKING:
    from types import FrameType

_OWN = str(Path(oom_suite.__file__).parent)
_TORCH = str(Path(torch.__file__).parent)
_MACHINERY = (
    _OWN,
    f"{_TORCH}/_ops.py",
    f"{_TORCH}/_subclasses",
    f"{_TORCH}/utils/_python_dispatch.py",
    f"{_TORCH}/utils/_stats.py",
)
"""Where an operator goes through on its way to a lane."""


def truth_that_passes() -> bool | None:
    """What a condition that is asked for now has to be, where all that it decides is to raise.

    ``if torch.any(x < 0): raise ...`` passes with False, ``assert (x > 0).all()`` with True.
    None where it decides anything else, or where it cannot be told.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_MACHINERY):
        frame = frame.f_back
    if frame is None:
        return None
    return _checks(frame.f_code.co_filename).get(frame.f_lineno)


@functools.cache
def _checks(file: str) -> dict[int, bool]:
    """Each line with nothing but the condition of such a check, and what passes it."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[int, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            asked, passing = node.test, True
        elif isinstance(node, ast.If) and _only_raises(node):
            asked, passing = node.test, False
        else:
            continue
        while isinstance(asked, ast.UnaryOp) and isinstance(asked.op, ast.Not):
            asked, passing = asked.operand, not passing
        if isinstance(asked, ast.Call):
            # The value of one call: a comparison or a choice may ask for several.
            lines = range(asked.lineno, (asked.end_lineno or asked.lineno) + 1)
            found.update(dict.fromkeys(lines, passing))
    return found


def _only_raises(node: ast.If) -> bool:
    return not node.orelse and len(node.body) == 1 and isinstance(node.body[0], ast.Raise)
