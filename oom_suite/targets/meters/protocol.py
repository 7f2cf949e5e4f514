"""What every meter is: figures of now, peaks that somebody else counted, and who holds memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from oom_suite.records.measurement import Reading, Tenant

DEVICE_TOTAL = "device total"
DEVICE_USED = "device used"
THIS_PROCESS = "this process"


class MeterError(Exception):
    """A meter has no figure. `str(error)` says why in one clause, without a full stop."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device as torch numbers it, and as its driver can find it.

    Attributes:
        kind: ``"cpu"``, ``"cuda"`` or ``"hip"``.
        index: torch's index, counted among the devices that are visible to this process.
        pci: its address ``domain:bus:device`` in lower hexadecimal, for example
            ``0000:c1:00``; empty where torch does not say.
        uuid: the driver's name of it, without ``GPU-``; empty where torch does not say.
    """

    kind: str
    index: int
    pci: str = ""
    uuid: str = ""


class Meter(Protocol):
    """One source of figures about a device, a process or a group of processes.

    A figure that the source does not have, or that is nonsense, is a `Reading` with `why_not`.
    Any method may raise; `Watch` then names the meter and leaves it out.
    """

    name: ClassVar[str]
    is_sampled: ClassVar[bool]
    """Whether `read` has no peak counter behind it and may be called from a second thread."""
    steady: ClassVar[frozenset[str]]
    """Quantities of `read` that do not change while a call runs, for example a total."""

    def begin(self) -> None:
        """Start counting peaks from now on, where the source counts them."""

    def read(self) -> tuple[Reading, ...]:
        """The figures of now."""

    def peaks(self) -> tuple[Reading, ...]:
        """What the source itself counted as largest since `begin`; empty where it does not."""

    def holders(self) -> tuple[Tenant, ...] | None:
        """Every process that the source lists on the device, ours included; None: no list."""

    def close(self) -> None:
        """Give back what the source holds open."""
