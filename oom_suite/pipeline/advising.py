"""What to do about what could not be judged: nothing is left at "inconclusive" alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.processes.child import ChildError
from oom_suite.processes.child_main import Outcome
from oom_suite.records import Verdict

if TYPE_CHECKING:
    from oom_suite.errors import OomSuiteError
    from oom_suite.records import Result

_BY_OUTCOME = {
    Outcome.RAISED: (
        "call the code with real tensors of these sizes: where it raises there too, correct it or "
        "name sizes that it takes; where it does not, measure it on a device (--device cuda)"
    ),
    Outcome.REFUSED: (
        "as the reason says; or measure the code on a device, where nothing is replaced: "
        "--device cuda, --oom-device cuda under pytest"
    ),
    Outcome.NOT_APPLICABLE: (
        "name a workload or a subject that has such code, or run it where its device is"
    ),
    Outcome.OUT_OF_MEMORY: (
        "name smaller sizes, or allow more with --memory-limit; real tensors of these sizes do not "
        "fit this machine"
    ),
    Outcome.TIMED_OUT: (
        "allow more seconds (--time-limit, --oom-time-limit under pytest), or name sizes with "
        "fewer turns of its loops"
    ),
    Outcome.KILLED: "see who ended the process (dmesg, the runner's log), and run it again",
    Outcome.CRASHED: "call the code alone under python -X faulthandler: it ends its process",
    Outcome.EXITED: "remove what ends the process in the code: sys.exit, os._exit",
}

ANYTHING = (
    "measure the code on a device, where nothing is predicted: --device cuda, --oom-device cuda "
    "under pytest"
)
"""For what has no advice of its own."""

DISAGREEMENT = "report this with the code: two ways of counting differ, and one of them is wrong"
OPAQUE = (
    "say what the operator takes with oom_suite.register_scratch(operator, function), or make it "
    "of torch's own operators"
)
TARGET = (
    "name a target whose kernels are known, such as --target cuda:sm_90 (--oom-target under "
    "pytest), or measure on a device: --device cuda"
)
REPEATED = "let the call be made again at the same sizes: it leaves something that refuses a second"
MEASURED = (
    "see what this machine can measure with oom-suite doctor; measure=False, or --lane shadow, "
    "judges without it"
)
EACH_SIDE = (
    "judge each side as a test of its own: make inputs that lead there, so that no data decides"
)


def advice_on(error: OomSuiteError) -> str:
    """What to do about code that could not be run."""
    if isinstance(error, ChildError):
        return _BY_OUTCOME[error.outcome]
    return _BY_OUTCOME[Outcome.REFUSED]


def with_advice(result: Result) -> Result:
    """The result, with something to do where it was not judged."""
    if result.verdict is not Verdict.INCONCLUSIVE or result.advice:
        return result
    return replace(result, advice=(ANYTHING,))
