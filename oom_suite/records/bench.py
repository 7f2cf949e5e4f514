"""What a benchmark found: times and memory of subjects, shape by shape, on one device."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

GRAPH, EVENTS, UNTIMED = "graph", "events", "untimed"
"""How a time was taken: replays of a captured graph; calls between events; not at all."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is called: sizes of a part of the benchmark.

    Attributes:
        part: ``"gather"``, ``"decode"`` or ``"prefill"``.
        table: which of the part's tables it stands in.
        sizes: by name, in the plural; ``percent`` is a share.
        layer: of a decode step, ``"swa_only"``, ``"c4a"`` or ``"c128a"``; empty otherwise.
    """

    part: str
    table: str
    sizes: Mapping[str, int]
    layer: str = ""

    @property
    def name(self) -> str:
        """The same in words, ``c4a, 64 heads, 1 token``."""
        words = [_counted(size, axis) for axis, size in self.sizes.items()]
        return ", ".join([self.layer, *words] if self.layer else words)


def _counted(size: int, axis: str) -> str:
    if axis == "percent":
        return f"{size} %"
    return f"{size:,} {axis.removesuffix('s') if size == 1 else axis}"


@dataclass(frozen=True, slots=True)
class Timing:
    """One subject at one shape.

    Attributes:
        subject: as it was asked for.
        how: `GRAPH`, `EVENTS` or `UNTIMED`.
        elapsed_us: the median of a call's microseconds on the device; None where there is none.
        scratch_bytes: what a call requests at its peak beyond what is there; None where it failed.
        num_inputs: inputs that were rotated over.
        moved_bytes: what a call reads and writes at least; None where it is not known.
        note: why it was not timed, or not captured; empty otherwise.
    """

    subject: str
    how: str
    elapsed_us: float | None = None
    scratch_bytes: int | None = None
    num_inputs: int = 0
    moved_bytes: int | None = None
    note: str = ""

    @property
    def gb_per_s(self) -> float | None:
        """Bytes that it has to move, a nanosecond."""
        if not self.elapsed_us or self.moved_bytes is None:
            return None
        return self.moved_bytes / self.elapsed_us / 1e3


@dataclass(frozen=True, slots=True)
class BenchRow:
    """All subjects at one shape, in the order that they were timed."""

    shape: Shape
    timings: tuple[Timing, ...]


@dataclass(frozen=True, slots=True)
class BenchDevice:
    """The device, and how fast it copies in the same run.

    Attributes:
        name: as the driver has it.
        torch: torch's version.
        l2_bytes: its last cache; inputs are rotated past twice that.
        copy_gb_per_s: bytes that a copy of 2 GiB reads and writes, a nanosecond.
    """

    name: str
    torch: str
    l2_bytes: int
    copy_gb_per_s: float


@dataclass(frozen=True, slots=True)
class Bench:
    """The whole of a run, or what is known of it by now.

    Attributes:
        device: None before it was asked.
        rows: shape by shape.
        absent: subjects that were not timed at all, ``SUBJECT for PART``, each with why.
    """

    device: BenchDevice | None = None
    rows: tuple[BenchRow, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_timed(self) -> bool:
        """Whether there is one time at least."""
        return any(one.elapsed_us is not None for row in self.rows for one in row.timings)

    def to_json(self) -> dict[str, Any]:
        """The run as JSON values."""
        device = None if self.device is None else asdict(self.device)
        rows = [asdict(row) for row in self.rows]
        return {"device": device, "absent": dict(self.absent), "rows": rows}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Bench:
        """The run that `to_json` wrote.

        Raises:
            KeyError, TypeError: it is none.
        """
        rows = tuple(
            BenchRow(
                Shape(**row["shape"]),
                tuple(Timing(**one) for one in row["timings"]),
            )
            for row in body["rows"]
        )
        device = None if body["device"] is None else BenchDevice(**body["device"])
        return cls(device, rows, body["absent"])
