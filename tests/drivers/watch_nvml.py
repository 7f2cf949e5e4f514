"""Watches a simulated GPU whose use rises and falls while the block runs; prints what was said."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from oom_suite.targets.meters import Device, Watch, openers
from oom_suite.targets.meters.nvml import NvmlMeter

FIGURES = Path(os.environ["SIMULATED_DRIVER"])
PEAK = "9000"
seen = threading.Event()


class Told(NvmlMeter):
    """The meter itself, which tells when it has read the peak."""

    def read(self):
        """What the meter says."""
        readings = super().read()
        if any(one.num_bytes == int(PEAK) for one in readings):
            seen.set()
        return readings


def use(amount):
    """Let the driver say `amount`; the file is replaced whole, as it is read all the time."""
    other = FIGURES.with_suffix(".new")
    own = f"0.processes=2\n0.0.pid={os.getpid()}\n0.0.used={amount}\n0.1.pid=4000000\n"
    other.write_text(f"0.total=10000\n0.used={amount}\n{own}0.1.used=77\n", encoding="utf-8")
    other.replace(FIGURES)


assert "nvml" in openers(Device("cuda", 0))
use("1000")
with Watch("cuda", 0, meters={"nvml": lambda: Told(Device("cuda", 0), None)}) as watch:
    use(PEAK)
    assert seen.wait(60)
    use("2000")
said = {"readings": [asdict(one) for one in watch.readings]}
sys.stdout.write(json.dumps({**said, "tenants": [asdict(one) for one in watch.tenants]}))
