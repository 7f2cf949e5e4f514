"""Every mutant and every twin of the suite's own, as their files declare them."""

from __future__ import annotations

from oom_suite.selfcheck.faults import oom_faults
from oom_suite.selfcheck.faults.declare import each_once
from oom_suite.selfcheck.faults.record import Mutant, Subject, Twin

SUBJECTS: tuple[Subject, ...] = each_once(oom_faults())
"""All of them, file by file."""

MUTANTS: tuple[Mutant, ...] = tuple(one for one in SUBJECTS if isinstance(one, Mutant))
"""Steps with one planted fault."""

TWINS: tuple[Twin, ...] = tuple(one for one in SUBJECTS if isinstance(one, Twin))
"""Steps that are unusual and right."""
