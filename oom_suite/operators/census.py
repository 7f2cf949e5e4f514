"""How many of torch's operators are exact, bounded or named on a target."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oom_suite.operators.compositions import COMPOSITIONS
from oom_suite.operators.cuda.composed import COMPOSED_ON_GPU
from oom_suite.operators.families import takes_nothing
from oom_suite.operators.inside import BOUNDED, NEEDS_CUDA, SOMETIMES, formula, needs_cub
from oom_suite.operators.operands import operator
from oom_suite.operators.scratch import LOOKED_AT, unseen_always
from oom_suite.torch_compat.dispatch import every_operator, is_composed

if TYPE_CHECKING:
    from oom_suite.operators.kernels import Kernels
    from oom_suite.torch_compat.dispatch import OpOverload

EXACT, AT_MOST, PARTLY, NAMED = "exact", "at most", "by its arguments", "unseen"
"""What is known of an operator: every request; a bound; one of these for some arguments and a
name for the others; a name alone."""


def census(kernels: Kernels) -> dict[str, str]:
    """What is known of each operator of torch, by its name without overload and ``_``.

    Operators that are made of others on every device are left out: torch takes them apart.
    """
    found: dict[str, str] = {}
    for func in every_operator("aten"):
        if not is_composed(func):
            name = operator(func).family.removeprefix("aten::")
            short = name if name.endswith("__") else name.removesuffix("_")
            found.setdefault(short, _kind(func, kernels))
    return found


def counted(kernels: Kernels) -> Counter[str]:
    """How many operators there are of each kind."""
    return Counter(census(kernels).values())


def _kind(func: OpOverload, kernels: Kernels) -> str:
    facts = operator(func)
    short = facts.family.removesuffix("_")
    if facts.name in COMPOSED_ON_GPU:
        return EXACT
    if formula(facts.family) is not None:
        if short in NEEDS_CUDA and kernels.backend != "cuda":
            return NAMED
        if short in SOMETIMES:
            return PARTLY
        is_bounded = short in BOUNDED or (short in needs_cub() and not kernels.has_cub)
        return AT_MOST if is_bounded else EXACT
    if unseen_always(func) is None and (takes_nothing(func) or facts.name in COMPOSITIONS):
        return EXACT
    return NAMED if facts.family not in LOOKED_AT else PARTLY
