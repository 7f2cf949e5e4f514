"""A step writes all of ``output``, and nothing else that it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit, Region
from oom_suite.safety.guarded import guard_step
from oom_suite.safety.guards import changed_run
from oom_suite.safety.steps import answer, output_of, plain_steps

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import torch

    from oom_suite.safety.guarded import GuardedStep
    from oom_suite.safety.steps import Target

NOT_PROVED = (
    "A write beyond the red zones, one of the very bytes that stood there, or one that "
    "is undone before the call returns."
)
_PREFILLS = (0x7FA5, 0x7FDA)
"""NaN as bf16, with payloads that no arithmetic gives: a quiet NaN of IEEE 754 is 0x7FC0.

Two of them, because code might copy one: what nobody writes keeps both. An element of more bytes
is filled with them again and again, a single byte with their low one.
"""


class Writes:
    """Runs a step between red zones, and compares every byte that it was given before and after.

    The output that a call writes is prefilled with a NaN that no arithmetic gives, twice with
    different ones: an element that keeps both was not written, rows of length zero included.

    **Does not prove:** that nothing was written beyond the red zones, or with the bytes that
    stood there, or put back before the call returned.
    """

    name = "writes"
    needs: tuple[str, ...] = ("variants",)

    def __call__(self, target: Target) -> Finding:
        """The verdict on writes."""
        hits: dict[tuple[str, str], Hit] = {}
        num_bytes = 0
        written = output_of(target.workload)
        convention = target.workload.convention
        in_place = convention.in_place if convention is not None else ()
        for variant in plain_steps(target):
            where = variant.name
            unwritten: torch.Tensor | None = None
            for prefill in _PREFILLS:
                step = guard_step(target, variant.make())
                if written:
                    _prefill(step, written, prefill)
                before = {name: buffer.own_bytes.clone() for name, buffer in step.buffers.items()}
                got = answer(target, step.step)
                if got.outputs is None:
                    reason = f"a plain step ({where}) raised {got.error}"
                    return Finding(self.name, Verdict.INCONCLUSIVE, reason, not_proved=NOT_PROVED)
                if written:
                    untouched = _untouched(step, written, before[written])
                    unwritten = untouched if unwritten is None else unwritten & untouched
                num_bytes += sum(buffer.memory.numel() for buffer in step.buffers.values())
                for hit in (
                    *_zone_hits(step, where),
                    *_input_hits(step, before, written, in_place, where),
                ):
                    hits.setdefault((hit.kind, hit.region.tensor if hit.region else ""), hit)
            if unwritten is not None:
                for hit in _unwritten_hits(unwritten, step.step[written], written, where):
                    hits.setdefault((hit.kind, written), hit)
        if hits:
            found = tuple(hits.values())
            return Finding(self.name, Verdict.FAIL, found[0].text, found, (), NOT_PROVED)
        reason = (
            f"only {written} changed of {num_bytes:,} bytes compared, and all of it was written"
            if written
            else f"not one of {num_bytes:,} bytes compared was changed"
        )
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


def _input_hits(
    step: GuardedStep,
    before: dict[str, torch.Tensor],
    written: str,
    in_place: Collection[str],
    where: str,
) -> Iterator[Hit]:
    for name, buffer in step.buffers.items():
        if name == written or name in in_place:
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
    return step.pool_bytes.place(step.step[name], byte)


def _prefill(step: GuardedStep, written: str, prefill: int) -> None:
    own = step.buffers[written].own_bytes
    own.fill_(prefill & 0xFF)
    if step.step[written].element_size() > 1:
        own[1::2] = prefill >> 8


def _untouched(step: GuardedStep, written: str, before: torch.Tensor) -> torch.Tensor:
    """Which elements keep every byte that they were filled with: bool, as the output."""
    output = step.step[written]
    unwritten = step.buffers[written].own_bytes == before
    size = output.element_size()
    elements = unwritten.view(len(unwritten) // size, size).all(dim=1)
    return elements.as_strided(output.shape, output.stride())


def _unwritten_hits(
    unwritten: torch.Tensor, output: torch.Tensor, written: str, where: str
) -> Iterator[Hit]:
    if not bool(unwritten.any()):
        return
    run = changed_run(unwritten.flatten())
    assert run is not None
    rows = unwritten.flatten(1).any(dim=1).nonzero().flatten().tolist()
    first, num_elements = run
    size = output.element_size()
    region = Region(written, "unwritten", None, None, size * first, size * num_elements, None)
    text = (
        f"{int(unwritten.sum()):,} of {unwritten.numel():,} elements of {written} were not "
        f"written, in rows {', '.join(str(row) for row in rows[:8])} ({where})"
    )
    yield Hit("leaves-output-unwritten", text, None, region)
