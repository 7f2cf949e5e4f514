"""What runs under the sanitizer: one warm step of a subject, with real contents."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from oom_suite import doors
from oom_suite.errors import OomSuiteError
from oom_suite.sanitizers.record import STEP_DONE
from oom_suite.subjects import load, parse
from oom_suite.workloads.sparse_mla.geometry.scenarios import scenario
from oom_suite.workloads.sparse_mla.step import StepOptions, random_step

USAGE = 2
_MAX_BLOCKS = 1024


def main(subject: str, root: str, workload: str, scenario_name: str) -> None:
    """Run one step on the GPU and wait for it.

    Args:
        subject: its spelling.
        root: where a release's tree lies; empty for none.
        workload: ``"decode"`` or ``"decode-swa"``.
        scenario_name: the sizes; pools are cut to 1,024 blocks, for under a sanitizer each byte
            of them is written with contents.
    """
    sizes = scenario(scenario_name).sizes
    options = StepOptions(
        layer_kind="swa_only" if workload == "decode-swa" else "c4a",
        lens="mixed",
        padding="tail",
        num_tokens=sizes["num_tokens"],
        num_heads=sizes["num_heads"],
        swa_topk=sizes["swa_topk"],
        extra_topk=sizes["extra_topk"],
        num_blocks=min(sizes["swa_num_blocks"], _MAX_BLOCKS),
        block_size=sizes["block_size"],
    )
    spec, at = parse(subject), Path(root) if root else None
    with load(spec, doors.workload(workload), root=at) as loaded, torch.no_grad():
        loaded.call(**random_step(options, "cuda"))
        torch.cuda.synchronize()
    sys.stdout.write(f"{STEP_DONE}\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OomSuiteError as error:
        sys.stderr.write(f"oom-suite: {error}\n")
        sys.exit(USAGE)
