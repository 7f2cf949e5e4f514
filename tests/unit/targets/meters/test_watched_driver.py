"""A watch over a simulated driver, from the first reading to the last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_a_peak_of_device_and_process_is_sampled_and_the_stranger_named(driver, tmp_path):
    """Through the real bindings: what rose and fell between the two ends, and who else is there."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "drivers" / "watch_nvml.py"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "LD_LIBRARY_PATH": str(driver("nvml")),
            "SIMULATED_DRIVER": str(tmp_path / "figures"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (0, "") == (done.returncode, done.stderr)
    said = json.loads(done.stdout)
    figures = {one["quantity"]: one["num_bytes"] for one in said["readings"]}
    assert [
        ("device total", 10000),
        ("driver's reserve", 0),
        ("device used, before", 1000),
        ("device used, after", 2000),
        ("device used, peak of the samples", 9000),
        ("this process, peak of the samples", 9000),
    ] == [
        (quantity, figures[quantity])
        for quantity in (
            "device total",
            "driver's reserve",
            "device used, before",
            "device used, after",
            "device used, peak of the samples",
            "this process, peak of the samples",
        )
    ]
    assert [{"pid": 4000000, "num_bytes": 77, "name": ""}] == said["tenants"]
