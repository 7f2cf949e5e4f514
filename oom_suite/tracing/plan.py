"""What the recorder does with each operator, decided once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.operators import scratch
from oom_suite.operators.compositions import COMPOSITIONS
from oom_suite.operators.cuda.composed import COMPOSED_ON_GPU
from oom_suite.operators.operands import operator
from oom_suite.torch_compat.dispatch import is_composed, visible_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.operators.compositions import Composition
    from oom_suite.operators.operands import Operator
    from oom_suite.torch_compat.dispatch import OpOverload

COPY = "aten::_to_copy"
IS_PINNED = "aten::is_pinned"
PINNING = frozenset({IS_PINNED, "aten::_pin_memory"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What the recorder does with an operator, decided once."""

    facts: Operator
    compose: Composition | None
    compose_on_gpu: Composition | None
    is_composed: bool
    is_noted: bool
    is_pinning: bool
    body: Callable[..., Any] | None


@functools.cache
def plan_of(func: OpOverload) -> Plan:
    """What the recorder does with this operator."""
    facts = operator(func)
    reads = facts.family in scratch.HOST_READS or facts.family in scratch.SHAPE_READS
    is_little = facts.family in scratch.LOOKED_AT
    is_noted = reads or facts.family == COPY or is_little or scratch.may_be_unseen(func)
    compose, is_pinning = COMPOSITIONS.get(facts.name), facts.family in PINNING
    on_gpu, body = COMPOSED_ON_GPU.get(facts.name), visible_body(func)
    return Plan(facts, compose, on_gpu, is_composed(func), is_noted, is_pinning, body)
