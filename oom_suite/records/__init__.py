"""The records that pass between the parts of the suite. No torch, no behaviour beyond reading."""

from oom_suite.records.bisection import Bisection
from oom_suite.records.job import Job
from oom_suite.records.law import Contract, Law, Polynomial
from oom_suite.records.result import Blame, BudgetFit, Result, Verdict
from oom_suite.records.trace import Allocation, Event, Frame, Launch, Peak, Trace, Unseen
from oom_suite.records.workload import Axis, Workload

__all__ = [
    "Allocation",
    "Axis",
    "Bisection",
    "Blame",
    "BudgetFit",
    "Contract",
    "Event",
    "Frame",
    "Job",
    "Launch",
    "Law",
    "Peak",
    "Polynomial",
    "Result",
    "Trace",
    "Unseen",
    "Verdict",
    "Workload",
]
