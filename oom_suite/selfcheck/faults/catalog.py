"""Every mutant and every twin of the suite's own, as their files declare them."""

from __future__ import annotations

from oom_suite.selfcheck.faults import (
    addresses,
    axes,
    bad_indices,
    builders,
    capture,
    creep,
    growth,
    precision,
    reach,
    twins,
)
from oom_suite.selfcheck.faults.record import Mutant, Subject, Twin, declared_in

_MODULES = (
    twins,
    growth,
    axes,
    builders,
    reach,
    bad_indices,
    addresses,
    capture,
    creep,
    precision,
)

SUBJECTS: tuple[Subject, ...] = tuple(one for module in _MODULES for one in declared_in(module))
"""All of them, group by group."""

MUTANTS: tuple[Mutant, ...] = tuple(one for one in SUBJECTS if isinstance(one, Mutant))
"""Steps with one planted fault."""

TWINS: tuple[Twin, ...] = tuple(one for one in SUBJECTS if isinstance(one, Twin))
"""Steps that are unusual and right."""
