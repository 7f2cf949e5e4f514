"""One worker of pytest-xdist for each GPU; the GPUs are planted in drivers' files."""

from __future__ import annotations

import json
import os

import pytest

QUICK = ("-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "no:cacheprovider")
VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")

# Loaded by every process of the run, before the options are read.
PLANTED = """
from pathlib import Path

import oom_suite.pytest_plugin
from oom_suite.targets import machine
from oom_suite.pytest_plugin import options

machine.ROOT = Path({root!r})
machine.nvml_gpus = lambda: None
machine.torch_build = lambda: ""
options.missing_gpu = oom_suite.pytest_plugin.missing_gpu = lambda: {missing}
"""

SEEN = """
import json, os, sys, time
from pathlib import Path

import pytest

TORCH_CAME_FIRST = "torch" in sys.modules

@pytest.mark.parametrize("number", range({num_tests}))
{mark}
def test_seen(number, worker_id):
    seen = {{name: os.environ.get(name) for name in {variables}}}
    seen["torch_came_first"] = TORCH_CAME_FIRST
    Path(f"{{worker_id}}.json").write_text(json.dumps(seen))
    # Long enough for every worker to be given a test.
    time.sleep(0.3)
"""


@pytest.fixture
def machine(pytester, monkeypatch):
    """`machine(nvidia=0, amd=0, missing='""', **variables)`: what the run finds."""

    def plant(nvidia=0, amd=0, missing='""', **variables):
        root = pytester.mkdir("machine")
        for index in range(nvidia):
            (root / "proc/driver/nvidia/gpus" / f"0000:0{index}:00.0").mkdir(parents=True)
        for index, simd_count in enumerate([0] + [1216] * amd if amd else []):
            node = root / "sys/class/kfd/kfd/topology/nodes" / str(index)
            node.mkdir(parents=True)
            (node / "properties").write_text(f"simd_count {simd_count}\n")
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        pytester.makepyfile(planted=PLANTED.format(root=str(root), missing=missing))
        monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)

    return plant


@pytest.fixture
def seen(pytester):
    """`seen(*arguments, mark="")`: the finished run, and what each worker's test saw."""

    def run(*arguments, mark="", num_tests=6):
        body = SEEN.format(variables=VARIABLES, mark=mark, num_tests=num_tests)
        pytester.makepyfile(test_seen=body)
        done = pytester.runpytest_subprocess("-p", "planted", *QUICK, *arguments)
        found = {
            path.stem: json.loads(path.read_text()) for path in sorted(pytester.path.glob("*.json"))
        }
        return done, found

    return run


def values(found, name):
    return [saw[name] for _, saw in sorted(found.items())]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, ["2", "3"]),
        ({"CUDA_VISIBLE_DEVICES": "MIG-aa,MIG-bb"}, ["MIG-aa", "MIG-bb"]),
        ({}, ["0", "1"]),
    ],
    ids=["indices", "mig", "all"],
)
def test_each_worker_has_one_gpu_of_the_callers_list(machine, seen, variables, expected):
    """Before torch is imported, and not indexed into the machine."""
    machine(nvidia=4, **variables)
    done, found = seen("--oom-device=cuda", "-n2")
    done.assert_outcomes(passed=6)
    assert expected == values(found, "CUDA_VISIBLE_DEVICES")
    assert [False, False] == values(found, "torch_came_first")
    done.stdout.fnmatch_lines([f"gw{i}: CUDA_VISIBLE_DEVICES={e}" for i, e in enumerate(expected)])
    assert "shared" not in str(done.stdout)


@pytest.mark.parametrize(
    ("variables", "expected", "rocr"),
    [
        ({"HIP_VISIBLE_DEVICES": "2,3"}, ["2", "3"], None),
        ({"CUDA_VISIBLE_DEVICES": "4,5"}, ["4", "5"], None),
        ({"ROCR_VISIBLE_DEVICES": "6,7"}, ["0", "1"], "6,7"),
    ],
    ids=["hip", "cuda", "rocr"],
)
def test_a_rocm_machine_narrows_what_hip_reads(machine, seen, variables, expected, rocr):
    """What ROCR leaves is the list that HIP indexes into, and stays as it is."""
    machine(amd=8, **variables)
    done, found = seen("--oom-device=cuda", "-n2")
    done.assert_outcomes(passed=6)
    assert expected == values(found, "HIP_VISIBLE_DEVICES")
    assert [rocr, rocr] == values(found, "ROCR_VISIBLE_DEVICES")


def test_auto_starts_one_worker_a_gpu(machine, seen):
    """The header and the summary say so."""
    machine(nvidia=3)
    done, found = seen("--oom-device=cuda", "-nauto", num_tests=9)
    assert ["0", "1", "2"] == values(found, "CUDA_VISIBLE_DEVICES")
    header = "oom_suite: GPUs CUDA_VISIBLE_DEVICES=0,1,2 (from /proc/driver/nvidia/gpus)*"
    done.stdout.fnmatch_lines([header])


def test_auto_is_pytest_xdists_where_no_gpu_is_asked_for(machine, seen, monkeypatch):
    """Its own variable decides, and the workers' environment is the caller's."""
    machine(nvidia=3, CUDA_VISIBLE_DEVICES="0,1,2")
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "2")
    done, found = seen("-nauto")
    assert ["0,1,2"] * 2 == values(found, "CUDA_VISIBLE_DEVICES")
    assert "GPUs" not in str(done.stdout)


def test_without_workers_nothing_is_narrowed(machine, seen, pytester):
    """The process of the run keeps the caller's list."""
    machine(nvidia=3, CUDA_VISIBLE_DEVICES="1,2")
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef worker_id(): return 'alone'")
    _, found = seen("--oom-device=cuda", "-p", "no:xdist")
    assert ["1,2"] == values(found, "CUDA_VISIBLE_DEVICES")


def test_a_test_that_needs_a_gpu_narrows_its_worker_too(machine, seen, pytester):
    """Without an option: the worker chooses when it has collected the test; JUnit names its GPU."""
    machine(nvidia=2)
    done, found = seen("-n2", "--junit-xml=junit.xml", mark="@pytest.mark.oom_device")
    done.assert_outcomes(passed=6)
    assert ["0", "1"] == values(found, "CUDA_VISIBLE_DEVICES")
    done.stdout.fnmatch_lines(["gw0: CUDA_VISIBLE_DEVICES=0", "gw1: CUDA_VISIBLE_DEVICES=1"])
    text = (pytester.path / "junit.xml").read_text()
    for index in range(2):
        assert f'<property name="oom_gpu" value="CUDA_VISIBLE_DEVICES={index}"' in text


def test_a_replaced_worker_has_the_crashed_ones_gpu(machine, pytester):
    """The number of the new one is the next, and would name another."""
    machine(nvidia=2)
    pytester.makepyfile(
        """
        import os, time
        from pathlib import Path
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_dies_once(number, worker_id):
            gpu = os.environ["CUDA_VISIBLE_DEVICES"]
            Path(f"{worker_id}-{gpu}").touch()
            if gpu == "1" and not Path("died").exists():
                Path("died").touch()
                os._exit(7)
            time.sleep(0.3)
        """
    )
    done = pytester.runpytest_subprocess("-p", "planted", *QUICK, "--oom-device=cuda", "-n2")
    done.assert_outcomes(passed=7, failed=1)
    had = sorted(path.name for path in pytester.path.glob("gw*-*"))
    assert ["gw0-0", "gw1-1", "gw2-1"] == had


TURNS = """
import time
from pathlib import Path
import pytest

{mark}
@pytest.mark.parametrize("number", range(4))
def test_measures(number, worker_id):
    with Path("log").open("a") as log:
        log.write(f"in {{worker_id}}\\n")
    time.sleep(0.4)
    with Path("log").open("a") as log:
        log.write(f"out {{worker_id}}\\n")
"""


def overlaps(path):
    """How often a test began before the one that had begun last had ended."""
    inside = num_overlaps = 0
    for line in path.read_text().splitlines():
        inside += 1 if line.startswith("in") else -1
        num_overlaps += inside > 1
    return num_overlaps


@pytest.mark.parametrize(
    ("mark", "takes_turns"), [("@pytest.mark.oom_device", True), ("", False)], ids=["gpu", "cpu"]
)
def test_workers_that_share_a_gpu_take_turns_on_it(machine, pytester, mark, takes_turns):
    """What needs no GPU does not wait; the summary says that they shared."""
    machine(nvidia=1)
    pytester.makepyfile(TURNS.format(mark=mark))
    done = pytester.runpytest_subprocess("-p", "planted", *QUICK, "--oom-device=cuda", "-n2")
    done.assert_outcomes(passed=4)
    workers = {line.split()[1] for line in (pytester.path / "log").read_text().splitlines()}
    assert {"gw0", "gw1"} == workers
    assert takes_turns == (overlaps(pytester.path / "log") == 0)
    done.stdout.fnmatch_lines(["2 workers shared 1 GPU(s): *"])


def test_a_worker_whose_gpu_is_lost_fails_alone(machine, pytester):
    """Its tests fail in one line that names the worker and the GPU; the others go on."""
    lost = '"torch sees no GPU" if __import__("os").environ["CUDA_VISIBLE_DEVICES"] == "1" else ""'
    machine(nvidia=2, missing=lost, CUDA_VISIBLE_DEVICES="0,1")
    pytester.makepyfile(TURNS.format(mark="@pytest.mark.oom_device"))
    done = pytester.runpytest_subprocess(
        "-p", "planted", *QUICK, "--oom-device=cuda", "-n2", "--dist=each"
    )
    done.assert_outcomes(passed=4, errors=4)
    line = "the GPU cannot be used: torch sees no GPU (gw1, CUDA_VISIBLE_DEVICES=1)"
    done.stdout.fnmatch_lines([f"*{line}*"])
    assert "Traceback" not in str(done.stdout)
