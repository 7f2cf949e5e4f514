"""The records that pass between the parts of the suite. No torch, no behaviour beyond reading."""

from oom_suite.records.blame import Blame, Breach
from oom_suite.records.bound import Bound
from oom_suite.records.covering import Coverage, CoveredBy
from oom_suite.records.frame import Frame
from oom_suite.records.law import Contract, KernelTerm, Law, Polynomial
from oom_suite.records.measured_row import MeasuredRow
from oom_suite.records.measurement import (
    AllocatorPeaks,
    Environment,
    Measurement,
    OutOfMemory,
    Reading,
    Reconciliation,
    Tenant,
    Workspace,
)
from oom_suite.records.result import BudgetFit, HostMemory, Result, Verdict
from oom_suite.records.subject import SubjectSpec
from oom_suite.records.trace import Allocation, DataSize, Event, Launch, Peak, Trace, Unseen
from oom_suite.records.workload import Axis, Convention, Scenario, Workload

__all__ = [
    "Allocation",
    "AllocatorPeaks",
    "Axis",
    "Blame",
    "Bound",
    "Breach",
    "BudgetFit",
    "Contract",
    "Convention",
    "Coverage",
    "CoveredBy",
    "DataSize",
    "Environment",
    "Event",
    "Frame",
    "HostMemory",
    "KernelTerm",
    "Launch",
    "Law",
    "MeasuredRow",
    "Measurement",
    "OutOfMemory",
    "Peak",
    "Polynomial",
    "Reading",
    "Reconciliation",
    "Result",
    "Scenario",
    "SubjectSpec",
    "Tenant",
    "Trace",
    "Unseen",
    "Verdict",
    "Workload",
    "Workspace",
]
