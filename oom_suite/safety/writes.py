"""A step writes all of ``output``, and nothing else that it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit, Region
from oom_suite.safety.guarded import guard_step
from oom_suite.safety.steps import answer, described, make_step, options_for
from oom_suite.workloads.sparse_mla.caches.guards import changed_run
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oom_suite.safety.guarded import GuardedStep
    from oom_suite.safety.steps import Target

NOT_PROVED = (
    "A write beyond the red zones, one of the very bytes that stood there, or one that "
    "is undone before the call returns."
)
_PREFILLS = (0x7FA5, 0x7FDA)
"""NaN as bf16, with payloads that no arithmetic gives: a quiet NaN of IEEE 754 is 0x7FC0.

Two of them, because code might copy one: what nobody writes keeps both.
"""


class Writes:
    """Runs a step between red zones, and compares every byte that it was given before and after.

    ``output`` is prefilled with a NaN that no arithmetic gives, twice with different ones: an
    element that keeps both was not written, rows of length zero included.

    **Does not prove:** that nothing was written beyond the red zones, or with the bytes that
    stood there, or put back before the call returned.
    """

    name = "writes"

    def __call__(self, target: Target) -> Finding:
        """The verdict on writes."""
        hits: dict[tuple[str, str], Hit] = {}
        num_bytes = 0
        for options in options_for(target):
            where = described(options)
            unwritten: torch.Tensor | None = None
            for prefill in _PREFILLS:
                step = guard_step(make_step(target, options))
                output = step.step["output"].view(torch.int16)
                output.fill_(prefill)
                before = {name: buffer.own_bytes.clone() for name, buffer in step.buffers.items()}
                got = answer(target, step.step)
                if got.output is None:
                    reason = f"a plain step ({where}) raised {got.error}"
                    return Finding(self.name, Verdict.INCONCLUSIVE, reason, not_proved=NOT_PROVED)
                untouched = output == prefill
                unwritten = untouched if unwritten is None else unwritten & untouched
                num_bytes += sum(buffer.memory.numel() for buffer in step.buffers.values())
                for hit in (*_zone_hits(step, where), *_input_hits(step, before, where)):
                    hits.setdefault((hit.kind, hit.region.tensor if hit.region else ""), hit)
            for hit in _unwritten_hits(unwritten, where):
                hits.setdefault((hit.kind, "output"), hit)
        if hits:
            found = tuple(hits.values())
            return Finding(self.name, Verdict.FAIL, found[0].text, found, (), NOT_PROVED)
        reason = f"only output changed of {num_bytes:,} bytes compared, and all of it was written"
        return Finding(self.name, Verdict.PASS, reason, not_proved=NOT_PROVED)


def _zone_hits(step: GuardedStep, where: str) -> Iterator[Hit]:
    for buffer in step.buffers.values():
        for region in buffer.hits():
            side = region.what.removeprefix("red zone ")
            text = (
                f"{region.num_bytes:,} bytes written {side} {region.tensor}, from byte "
                f"{region.first_byte:,}, {region.distance_bytes:,} past its edge ({where})"
            )
            yield Hit("writes-outside", text, None, region)


def _input_hits(step: GuardedStep, before: dict[str, torch.Tensor], where: str) -> Iterator[Hit]:
    for name, buffer in step.buffers.items():
        if name == "output":
            continue
        run = changed_run(buffer.own_bytes != before[name])
        if run is None:
            continue
        first_byte, num_bytes = run
        block, slot = _place(step, name, first_byte)
        region = Region(name, "input", block, slot, first_byte, num_bytes, None)
        place = "" if block is None else f" (block {block}, slot {slot})"
        text = (
            f"{name} changed within bytes {first_byte:,} to {first_byte + num_bytes - 1:,}"
            f"{place} ({where})"
        )
        kind = "writes-cache" if name in step.slots else "writes-input"
        yield Hit(kind, text, None, region)


def _place(step: GuardedStep, name: str, byte: int) -> tuple[int | None, int | None]:
    """The block and token that a pool's byte belongs to; its padding belongs to no token."""
    if name not in step.slots:
        return None, None
    pool = step.step[name]
    block, within = divmod(byte, pool.stride(0))
    data_bytes = pool.shape[1] * FP8_DS_MLA_V4.token_stride_bytes
    if within < data_bytes:
        return block, within // FP8_DS_MLA_V4.token_stride_bytes
    slot = (within - data_bytes) // FP8_DS_MLA_V4.scales_bytes
    return block, slot if slot < pool.shape[1] else None


def _unwritten_hits(unwritten: torch.Tensor | None, where: str) -> Iterator[Hit]:
    if unwritten is None or not bool(unwritten.any()):
        return
    run = changed_run(unwritten.flatten())
    assert run is not None
    rows = unwritten.flatten(1).any(dim=1).nonzero().flatten().tolist()
    first, num_elements = run
    region = Region("output", "unwritten", None, None, 2 * first, 2 * num_elements, None)
    text = (
        f"{int(unwritten.sum()):,} of {unwritten.numel():,} elements of output were not written, "
        f"in rows {', '.join(str(row) for row in rows[:8])} ({where})"
    )
    yield Hit("leaves-output-unwritten", text, None, region)
