"""Steps whose contents change in place, and what a replay of them must then answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.operators.operands import has_tensors, tensors
from oom_suite.records.safety import Hit
from oom_suite.safety.poison import pools_of
from oom_suite.safety.steps import errors, output_of, same_bits

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
    changed: Mapping[str, Any]
    before: torch.Tensor
    after: torch.Tensor


def replays(target: Target) -> Sequence[Replay]:
    """The steps of the workload that can be captured, each with other contents.

    Raises:
        LaneError: it has none.
    """
    found = target.variants.replays(target.workload, target.device, target.arch)
    if not found:
        msg = f"the workload {target.workload.name} has no steps to be replayed on new contents"
        raise LaneError(msg)
    return found


def has_replays(target: Target) -> bool:
    """Whether the workload has steps that can be replayed."""
    return bool(target.variants.replays(target.workload, target.device, target.arch))


def result(target: Target, step: Step, returned: Any) -> torch.Tensor:
    """What a call wrote or, where it writes none of its arguments, the first that it returned.

    Raises:
        LaneError: it returned no tensor.
    """
    written = output_of(target.workload)
    found = next(tensors(step[written] if written else returned), None)
    if found is None:
        raise LaneError("the call returned no tensor: a replay of it has no result")
    (counted, *_) = target.variants.counted(step, (found.detach().clone(),))
    return counted


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
    known = {output_of(target.workload), *sum(groups.values(), ())}
    titles = target.variants.titles()
    for name, value in step.items():
        if name not in known and has_tensors(value):
            groups[titles.get(name, name)] = (name,)
    return {group: names for group, names in groups.items() if names}


def answer(target: Target, step: Step) -> torch.Tensor:
    """What an eager run on copies of these inputs writes or returns."""
    own = {name: copied(value) for name, value in step.items()}
    _forget(target, own)
    return result(target, own, target.call(**own))


def judged(case: Case, replayed: torch.Tensor) -> Hit | None:
    """The hit where a replay after this change does not give the new answer."""
    if same_bits(replayed, case.after) or _is_close(replayed, case.after):
        return None
    if same_bits(replayed, case.before) or _is_close(replayed, case.before):
        text = f"a replay after new {case.group} were written gives the answer to the old ones"
        return Hit(STALE, text)
    wrong = errors(replayed, case.after.cpu().double()).max()
    text = f"a replay after new {case.group} were written is off by {float(wrong):.3g}"
    return Hit(WRONG, text)


def write(target: Target, step: Step, case: Case | None, original: Step) -> None:
    """Put the original contents back in place, then the case's; the output is NaN after it."""
    for name, value in original.items():
        if name != output_of(target.workload):
            changed = value if case is None else case.changed.get(name, value)
            for old, new in zip(tensors(step[name]), tensors(changed), strict=True):
                old.copy_(new)
    _forget(target, step)


def _forget(target: Target, step: Step) -> None:
    """The output, where the call writes one, is NaN."""
    written = output_of(target.workload)
    if written:
        output = step[written]
        output.fill_(torch.nan if output.is_floating_point() else 0)


def copied(value: Any) -> Any:
    """Copies of tensors with the same strides; anything else as it is."""
    if isinstance(value, (tuple, list)):
        return type(value)(copied(one) for one in value)
    return value.clone() if isinstance(value, torch.Tensor) else value


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    finite = other.float()[other.isfinite()] if other.is_floating_point() else other.float()
    allowed = float(finite.abs().max()) * _CLOSE if finite.numel() else 0.0
    # A NaN is close to nothing.
    return bool((errors(one, other.cpu().double()) <= allowed).all())
