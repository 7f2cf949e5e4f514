"""Shares of a scan: which units each of several processes or machines judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from oom_suite.records.scan import Unit


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares of a scan, which knows the whole scan.

    Attributes:
        number: which share, from 1 on.
        num_shards: how many there are.
        keys: those of all units of the scan, in the order of its table.
        compares: whether the whole says what changed from each subject to the next.
    """

    number: int
    num_shards: int
    keys: tuple[str, ...]
    compares: bool

    def __str__(self) -> str:
        """``shard 2 of 4``."""
        return f"shard {self.number} of {self.num_shards}"

    @property
    def own_keys(self) -> frozenset[str]:
        """The keys of this share's units.

        Every key is in one share, whatever the order they come in, and the sizes of two shares
        differ by one at most. Neighbours by key are much the same work: they go to different ones.
        """
        return frozenset(sorted(self.keys)[self.number - 1 :: self.num_shards])

    def own(self, units: Collection[Unit]) -> tuple[Unit, ...]:
        """The units of this share, in their order."""
        keys = self.own_keys
        return tuple(unit for unit in units if unit.key in keys)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "number": self.number,
            "num_shards": self.num_shards,
            "compares": self.compares,
            "units": list(self.keys),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Shard:
        """The share that `to_json` wrote."""
        return cls(
            number=int(values["number"]),
            num_shards=int(values["num_shards"]),
            keys=tuple(map(str, values["units"])),
            compares=bool(values["compares"]),
        )
