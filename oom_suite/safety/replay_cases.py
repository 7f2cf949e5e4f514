"""Steps whose contents change in place, and what a replay of them must then answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.records.safety import Hit
from oom_suite.safety.poison import pools_of
from oom_suite.safety.steps import output_of, same_bits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.safety.steps import Target
    from oom_suite.workloads.variants import Replay

Step = dict[str, Any]

STALE = "stale-replay"
WRONG = "wrong-replay"

_CLOSE = 2.0**-6
"""Allowed share of the largest value where bits differ: a bf16 result is rounded to 2**-8."""


@dataclass(frozen=True, slots=True)
class Case:
    """One change of contents, and the answers of eager runs before and after it.

    Attributes:
        group: which inputs change; all of them where it is ``everything``.
        changed: the new contents, by argument.
        before: what the call writes for the old contents.
        after: the answer to the new ones.
    """

    group: str
    changed: Mapping[str, torch.Tensor]
    before: torch.Tensor
    after: torch.Tensor


def replays(target: Target) -> Sequence[Replay]:
    """The steps of the workload that can be captured, each with other contents.

    Raises:
        LaneError: it has none, or its calls write no output that a replay could write again.
    """
    found = target.variants.replays(target.workload, target.device, target.arch)
    if not found or not written(target):
        msg = f"the workload {target.workload.name} has no steps to be replayed on new contents"
        raise LaneError(msg)
    return found


def written(target: Target) -> str:
    """The keyword of the tensor that a call writes."""
    return output_of(target.workload)


def cases(target: Target, step: Step, other: Step) -> list[Case]:
    """Every change that alters the answer, each answered by an eager run on its own buffers.

    Raises:
        LaneError: two eager runs on the same contents differ.
    """
    before = answer(target, step)
    if not same_bits(before, answer(target, step)):
        raise LaneError("two runs on the same contents differ: a replay cannot be judged")
    found = []
    groups = _groups(target, step)
    for group, names in (*groups.items(), ("everything", sum(groups.values(), ()))):
        changed = {name: other[name] for name in names}
        after = answer(target, {**step, **changed})
        if not same_bits(before, after):
            found.append(Case(group, changed, before, after))
    return found


def _groups(target: Target, step: Step) -> dict[str, tuple[str, ...]]:
    """What a server writes anew into the same buffers before each replay, and what it is."""
    pools = pools_of(target.workload.pools, step)
    groups = {
        "indices": tuple(pool.indices for pool in pools),
        "lengths": tuple(pool.lens for pool in pools if pool.lens),
        "cache contents": tuple(pool.name for pool in pools),
    }
    known = {written(target), *sum(groups.values(), ())}
    titles = target.variants.titles()
    for name, value in step.items():
        if isinstance(value, torch.Tensor) and name not in known:
            groups[titles.get(name, name)] = (name,)
    return {group: names for group, names in groups.items() if names}


def answer(target: Target, step: Step) -> torch.Tensor:
    """What an eager run on copies of these inputs writes."""
    own = {name: copied(value) for name, value in step.items()}
    _forget(own[written(target)])
    target.call(**own)
    result: torch.Tensor = own[written(target)]
    return result


def judged(case: Case, replayed: torch.Tensor) -> Hit | None:
    """The hit where a replay after this change does not give the new answer."""
    if same_bits(replayed, case.after) or _is_close(replayed, case.after):
        return None
    if same_bits(replayed, case.before) or _is_close(replayed, case.before):
        text = f"a replay after new {case.group} were written gives the answer to the old ones"
        return Hit(STALE, text)
    wrong = (replayed.float() - case.after.float()).abs().max()
    text = f"a replay after new {case.group} were written is off by {float(wrong):.3g}"
    return Hit(WRONG, text)


def write(target: Target, step: Step, case: Case | None, original: Step) -> None:
    """Put the original contents back in place, then the case's; the output is NaN after it."""
    for name, value in original.items():
        if isinstance(value, torch.Tensor) and name != written(target):
            step[name].copy_(value if case is None else case.changed.get(name, value))
    _forget(step[written(target)])


def _forget(output: torch.Tensor) -> None:
    output.fill_(torch.nan if output.is_floating_point() else 0)


def copied(value: Any) -> Any:
    """A copy of a tensor with the same strides; anything else as it is."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    allowed = float(other.float().abs().max()) * _CLOSE
    # A NaN is close to nothing.
    return bool(((one.float() - other.float()).abs() <= allowed).all())
