"""What a creep check costs: real steps, fake steps, and cycles repeated in the allocator model.

Run it with ``python benchmarks/bench_creep.py``; processor seconds, one line for each part.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from oom_suite.safety.creep import judged
from oom_suite.safety.creep_run import real_run, shadow_run
from oom_suite.safety.steps import Target
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.workload import DECODE

NUM_STEADY = 102
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Time the sessions of each built-in."""
    torch.set_num_threads(1)
    for name, call in BUILTINS.items():
        target = Target(call, ROOT, DECODE, torch.device("cpu"))
        with torch.no_grad():
            # Once, so that torch has loaded what it loads with the first fake tensor.
            shadow_run(target, 6, lambda _hook: None, grows=False)
            began = time.process_time()
            run = real_run(target, NUM_STEADY)
            real_s = time.process_time() - began
            began = time.process_time()
            found = judged(run, "cpu")
            judge_s = time.process_time() - began
            began = time.process_time()
            judged(shadow_run(target, 6, lambda _hook: None, grows=False), "shadow")
            shadow_s = time.process_time() - began
        print(
            f"{name:18} {found.num_run} real steps {real_s:5.2f} s, judged with "
            f"{found.num_repeated} repeated {judge_s:5.2f} s, 18 fake steps {shadow_s:5.2f} s"
        )


if __name__ == "__main__":
    main()
