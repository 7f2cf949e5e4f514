"""A scan: its units, what was found of each, and what differs between two releases."""

from __future__ import annotations

import enum
import itertools
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Found(enum.Enum):
    """What became of a unit: a verdict, or that the subject has no such code."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ABSENT = "ABSENT"


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One piece of work: what is judged, on what, at which sizes, for which device.

    Attributes:
        subject: its spelling.
        workload: the workload's name.
        scenario: the scenario's name.
        target: the device that the law is for.
    """

    subject: str
    workload: str
    scenario: str
    target: str

    @property
    def key(self) -> str:
        """What tells it from every other one, the same in every process and on every machine."""
        return " | ".join((self.subject, *self.place))

    @property
    def place(self) -> tuple[str, str, str]:
        """All of it but the subject: what is the same for every release."""
        return self.workload, self.scenario, self.target

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Unit:
        """The unit that `to_json` wrote."""
        return cls(*(str(values[one.name]) for one in fields(cls)))


@dataclass(frozen=True, slots=True)
class ScanRow:
    """What was found of a unit.

    Attributes:
        unit: the unit.
        found: the verdict, or that there is no such code.
        reason: one line: why.
        law: the formula that wins at the scenario; empty where no law was found.
        regimes: every formula whose maximum the law is, that one first.
        peak_bytes: peak requested bytes at the scenario; None where it was not run.
        by_design: the capacities that the law grows with and may, each with the reason; nothing
            where a promise is broken.
        where: the line to blame, the first of them; empty for none.
        notes: what its family says of every result of the subject.
        next_command: what to run next; empty where nothing is wrong.
        elapsed_s: seconds that judging it took.
    """

    unit: Unit
    found: Found
    reason: str
    law: str = ""
    regimes: tuple[str, ...] = ()
    peak_bytes: int | None = None
    by_design: Mapping[str, str] = field(default_factory=dict, hash=False)
    where: str = ""
    notes: tuple[str, ...] = ()
    next_command: str = ""
    elapsed_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values = asdict(self)
        lists = {"regimes": list(self.regimes), "notes": list(self.notes)}
        return {**values.pop("unit"), **values, "found": self.found.value, **lists}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ScanRow:
        """The row that `to_json` wrote."""
        own = {one.name: values[one.name] for one in fields(cls) if one.name != "unit"}
        lists = {name: tuple(own[name]) for name in ("regimes", "notes")}
        return cls(Unit.from_json(values), **{**own, "found": Found(own["found"]), **lists})


@dataclass(frozen=True, slots=True)
class Change:
    """What differs for a workload between two releases.

    Attributes:
        place: workload, scenario and target.
        kind: ``"broken"``, ``"cured"``, ``"came"``, ``"went"``, ``"grew"``, ``"shrank"``,
            ``"law"`` where formulas differ and the bytes at the scenario do not, or ``"unclear"``
            where one of the two could not be judged.
        before: the earlier release's row.
        after: the later one's.
    """

    place: tuple[str, str, str]
    kind: str
    before: ScanRow
    after: ScanRow

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        place = zip(("workload", "scenario", "target"), self.place, strict=True)
        return {
            **dict(place),
            "kind": self.kind,
            "before": self.before.unit.subject,
            "after": self.after.unit.subject,
        }


def changes(rows: Iterable[ScanRow], subjects: Sequence[str]) -> tuple[Change, ...]:
    """What differs between each subject and the next, where both were scanned."""
    known = {(row.unit.subject, row.unit.place): row for row in rows}
    places = dict.fromkeys(place for _, place in known)
    found = []
    for earlier, later in itertools.pairwise(subjects):
        for place in places:
            before, after = known.get((earlier, place)), known.get((later, place))
            kind = "" if before is None or after is None else _kind(before, after)
            if before is not None and after is not None and kind:
                found.append(Change(place, kind, before, after))
    return tuple(found)


def _kind(before: ScanRow, after: ScanRow) -> str:
    """What kind of change it is; empty where nothing differs."""
    if before.found is not after.found:
        pair = (before.found, after.found)
        if Found.ABSENT in pair:
            return "came" if before.found is Found.ABSENT else "went"
        if Found.INCONCLUSIVE in pair:
            return "unclear"
        return "broken" if after.found is Found.FAIL else "cured"
    if before.peak_bytes != after.peak_bytes:
        return "grew" if (after.peak_bytes or 0) > (before.peak_bytes or 0) else "shrank"
    return "law" if set(before.regimes) != set(after.regimes) else ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring subjects of which the same was found.

    Attributes:
        subjects: in their order.
        row: that of the last of them.
    """

    subjects: tuple[str, ...]
    row: ScanRow

    @property
    def place(self) -> tuple[str, str, str]:
        """Workload, scenario and target."""
        return self.row.unit.place


def stretches(rows: Iterable[ScanRow], subjects: Sequence[str]) -> tuple[Stretch, ...]:
    """Every place's stretches, place by place, subjects in the order that is given.

    A subject that was not scanned at a place, such as after an interruption, ends a stretch.
    """
    known = {(row.unit.subject, row.unit.place): row for row in rows}
    found: list[Stretch] = []
    for place in dict.fromkeys(place for _, place in known):
        last: Stretch | None = None
        for subject in subjects:
            row = known.get((subject, place))
            if row is None:
                last = None
                continue
            if last is not None and not _kind(last.row, row):
                found.pop()
                last = Stretch((*last.subjects, subject), row)
            else:
                last = Stretch((subject,), row)
            found.append(last)
    return tuple(found)


def exit_code(rows: Iterable[ScanRow]) -> int:
    """1 where a contract is broken, 3 where one could not be judged, else 0."""
    found = {row.found for row in rows}
    if Found.FAIL in found:
        return 1
    return 3 if Found.INCONCLUSIVE in found else 0
