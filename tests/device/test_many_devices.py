"""Workers and ranks on real GPUs: runs of their own, each of which sees all that this one sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oom_suite.targets import visible_gpus

pytestmark = pytest.mark.oom_device

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300
PATHS = tuple(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
SIZES = ("--oom-scenario", "small", "--oom-subject", "block_compaction,token_gather")
WHICH = """
import pytest
import time

import torch

@pytest.mark.oom_device
@pytest.mark.parametrize("number", range(4))
def test_which(number, worker_id):
    assert 1 == torch.cuda.device_count()
    with open(worker_id, "w") as sink:
        sink.write(str(torch.cuda.get_device_properties(0).uuid))
    time.sleep(1)
"""


def run(*arguments, cwd=ROOT, **variables):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


@pytest.fixture
def gpus():
    """The GPUs that this run may use."""
    return visible_gpus(os.environ)


@pytest.fixture
def two_gpus(gpus):
    """The same, where there are two."""
    num_gpus = len(gpus.entries)
    if num_gpus < 2:
        pytest.skip(f"needs two GPUs, and sees {num_gpus}; a worker of pytest-xdist has but one")
    return gpus


def test_each_worker_has_a_gpu_of_its_own(two_gpus, tmp_path):
    """As the driver tells it, by the device's UUID."""
    (tmp_path / "test_which.py").write_text(WHICH)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = run("pytest", "-n2", "--oom-device=cuda", "-p", "no:cacheprovider", cwd=tmp_path)
    assert 0 == done.returncode, done.stdout
    assert 2 == len({(tmp_path / worker).read_text() for worker in ("gw0", "gw1")})


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """`gate(num_gpus, *workers)`: what the gate finds on the first GPUs, in the table's order."""

    def found(num_gpus, *workers):
        gpus = visible_gpus(os.environ)
        path = tmp_path_factory.mktemp("gate") / "found.json"
        seen = {gpus.variable: ",".join(gpus.entries[:num_gpus])}
        where = ("tests/gate", "-k", "measure", "--oom-device=cuda", f"--oom-json={path}")
        done = run("pytest", *where, *SIZES, *workers, "-p", "no:cacheprovider", **seen)
        assert 0 == done.returncode, done.stdout
        return [
            (one["subject"], one["workload"], one["lane"], one["verdict"], peaks(one))
            for one in json.loads(path.read_text())["results"]
        ]

    return found


@pytest.fixture(scope="module")
def found_alone(gate):
    """What the gate finds without workers."""
    return gate(1)


@pytest.mark.parametrize("num_gpus", [1, 2], ids=["one-gpu-shared", "two-gpus"])
def test_the_gate_says_the_same_on_workers_as_alone(request, gate, found_alone, num_gpus):
    """Every verdict and every measured byte; two workers on one GPU take turns."""
    if num_gpus > 1:
        request.getfixturevalue("two_gpus")
    assert found_alone == gate(num_gpus, "-n2")


def peaks(result):
    """The figures to be compared: requested and allocated."""
    measurement = result["measurement"]
    if measurement is None or measurement["peaks"] is None:
        return result["peak_requested_bytes"], result["peak_allocated_bytes"]
    return measurement["peaks"]["requested_bytes"], measurement["peaks"]["allocated_bytes"]


@pytest.mark.parametrize("num_ranks", [1, 2], ids=["one-rank", "two-ranks"])
def test_each_rank_is_measured_on_its_own_gpu(request, gpus, tmp_path, num_ranks):
    """With its share of the heads; equal shares take equal bytes."""
    if num_ranks > 1:
        request.getfixturevalue("two_gpus")
    path = tmp_path / "ranks.json"
    done = run(
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={num_ranks}",
        "-m",
        "oom_suite",
        "ranks",
        "full_dequant",
        "token_gather",
        "--scenario=small",
        f"--json={path}",
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    for group in json.loads(path.read_text())["subjects"]:
        ranks = group["ranks"]
        assert [64 // num_ranks] * num_ranks == [one["num_heads"] for one in ranks]
        for entry, one in zip(gpus.entries, ranks, strict=False):
            assert one["device"].endswith(f"({gpus.variable}={entry})")
        assert 1 == len({peaks(one["result"]) for one in ranks})
