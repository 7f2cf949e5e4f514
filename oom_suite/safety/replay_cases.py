"""Steps whose contents change in place, and what a replay of them must then answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.records.safety import Hit
from oom_suite.workloads.sparse_mla.caches import write_blocks
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.step import StepOptions, random_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.safety.steps import Target

Step = dict[str, Any]

STALE = "stale-replay"
WRONG = "wrong-replay"

GROUPS: dict[str, tuple[str, ...]] = {
    "indices": ("swa_indices", "topk_indices"),
    "lengths": ("swa_lens", "topk_lens"),
    "cache contents": ("swa_k_cache", "kv_cache"),
    "queries": ("q",),
    "attention sink": ("attn_sink",),
}
"""What a server writes into the same buffers before each replay."""

_AS_SERVED: dict[str, Any] = {
    "num_heads": 8,
    "swa_topk": 128,
    "extra_topk": 512,
    "num_blocks": 16,
    "block_size": 64,
}
"""DeepSeek-V4-Flash's own widths: a GPU's kernels may be built for them."""

_SMALL: dict[str, Any] = {
    "num_heads": 2,
    "swa_topk": 8,
    "extra_topk": 16,
    "num_blocks": 8,
    "block_size": 4,
}
"""On the CPU it is only looked at what Python decides, for which any sizes do."""

_CLOSE = 2.0**-6
"""Allowed share of the largest value where bits differ: a bf16 result is rounded to 2**-8."""


@dataclass(frozen=True, slots=True)
class Case:
    """One change of contents, and the answers of eager runs before and after it.

    Attributes:
        group: which inputs change; all of them where it is ``everything``.
        changed: the new contents, by argument.
        before: the answer to the old contents, bfloat16 [num_tokens, num_heads, 512].
        after: the answer to the new ones.
    """

    group: str
    changed: Mapping[str, torch.Tensor]
    before: torch.Tensor
    after: torch.Tensor


def first_step(target: Target, num_tokens: int) -> Step:
    """A step with real contents in every block, to be captured."""
    return _step(target, num_tokens, seed=1, lens="short")


def cases(target: Target, step: Step, num_tokens: int) -> list[Case]:
    """Every change that alters the answer, each answered by an eager run on its own buffers.

    Raises:
        LaneError: two eager runs on the same contents differ.
    """
    other = _step(target, num_tokens, seed=2, lens="mixed")
    before = answer(target.call, step)
    if not _same(before, answer(target.call, step)):
        raise LaneError("two runs on the same contents differ: a replay cannot be judged")
    found = []
    groups = {**GROUPS, "everything": tuple(name for names in GROUPS.values() for name in names)}
    for group, names in groups.items():
        changed = {name: other[name] for name in names if step[name] is not None}
        after = answer(target.call, {**step, **changed})
        if not _same(before, after):
            found.append(Case(group, changed, before, after))
    return found


def answer(call: Callable[..., object], step: Step) -> torch.Tensor:
    """What an eager run on copies of these inputs writes."""
    own = {name: copied(value) for name, value in step.items()}
    own["output"].fill_(torch.nan)
    call(**own)
    result: torch.Tensor = own["output"]
    return result


def judged(case: Case, replayed: torch.Tensor) -> Hit | None:
    """The hit where a replay after this change does not give the new answer."""
    if _same(replayed, case.after) or _is_close(replayed, case.after):
        return None
    if _same(replayed, case.before) or _is_close(replayed, case.before):
        text = f"a replay after new {case.group} were written gives the answer to the old ones"
        return Hit(STALE, text)
    wrong = (replayed.float() - case.after.float()).abs().max()
    text = f"a replay after new {case.group} were written is off by {float(wrong):.3g}"
    return Hit(WRONG, text)


def write(step: Step, case: Case | None, original: Step) -> None:
    """Put the original contents back in place, then the case's; the output is NaN after it."""
    for name, value in original.items():
        if isinstance(value, torch.Tensor) and name != "output":
            step[name].copy_(value if case is None else case.changed.get(name, value))
    step["output"].fill_(torch.nan)


def copied(value: Any) -> Any:
    """A copy of a tensor with the same strides; anything else as it is."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def _step(target: Target, num_tokens: int, seed: int, lens: str) -> Step:
    options = StepOptions(
        layer_kind="swa_only" if target.workload == "decode-swa" else "c4a",
        lens=lens,
        num_tokens=num_tokens,
        fp8_dtype=target.fp8_dtype,
        seed=seed,
        **(_SMALL if target.device.type == "cpu" else _AS_SERVED),
    )
    step = random_step(options, target.device)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    for name in ("swa_k_cache", "kv_cache"):
        pool = step[name]
        if pool is not None:
            num_blocks, block_size, _ = pool.shape
            keys = torch.randn((num_blocks, block_size, 512), generator=generator)
            blocks = torch.arange(num_blocks, device=target.device)
            write_blocks(pool, blocks, keys.to(target.device), FP8_DS_MLA_V4, target.fp8_dtype)
    return step


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.view(torch.int16), other.view(torch.int16))


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    allowed = float(other.float().abs().max()) * _CLOSE
    # A NaN is close to nothing.
    return bool(((one.float() - other.float()).abs() <= allowed).all())
