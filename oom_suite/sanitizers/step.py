"""What runs under the sanitizer: one warm step of a subject, with real contents."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from oom_suite import doors
from oom_suite.errors import OomSuiteError
from oom_suite.processes.ending import live_by_environment
from oom_suite.report.screen import say_error
from oom_suite.safety.steps import Target, builder_of
from oom_suite.sanitizers.record import STEP_DONE
from oom_suite.subjects import load, parse

USAGE = 2


def main(subject: str, root: str, workload: str, scenario_name: str) -> None:
    """Run one step on the GPU and wait for it.

    Args:
        subject: its spelling.
        root: where a release's tree lies; empty for none.
        workload: the workload's name.
        scenario_name: the sizes; where the workload has contents for them, as far as it has.
    """
    spec, known, device = parse(subject), doors.workload(workload), torch.device("cuda")
    with load(spec, known, root=Path(root) if root else None) as loaded:
        target = Target(loaded.call, loaded.root, known, device)
        sizes = known.scenario(scenario_name).sizes
        variant = target.variants.at_sizes(known, sizes, device)
        step = variant.make() if variant else builder_of(known)(sizes, device)
        with target.gradients():
            loaded.call(**step)
        torch.cuda.synchronize()
    sys.stdout.write(f"{STEP_DONE}\n")


if __name__ == "__main__":
    live_by_environment()
    try:
        main(*sys.argv[1:])
    except OomSuiteError as error:
        say_error(error)
        sys.exit(USAGE)
