"""`oom-suite ranks` under torchrun: two ranks on the CPU, faults planted in one of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from test_documentation import agrees, commands

from fixtures.torchrun import SUITE

TIMEOUT_S = 180
# A rank's own process ends or hangs: what it measures runs in a child, and could not do that.
PLANTED = """
import os, signal, time
from pathlib import Path

from oom_suite.pipeline.ranks import run

measure = run._Measuring.run

def measure_and_say(self):
    # However slow the machine: what has to end in time after torchrun's request is short.
    measure(self)
    Path("the other measures").touch()
    if "{how}" == "dies":
        time.sleep(3)

def never_measure(self):
    # Not before the other rank hears what torchrun asks of it.
    while not Path("the other measures").exists():
        time.sleep(0.05)
    if "{how}" == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)

is_planted = os.environ["RANK"] == "{rank}"
run._Measuring.run = never_measure if is_planted else measure_and_say
"""
GROWS_ON_RANK_1 = """
import os

import torch


def decode(swa_k_cache, output, **step):
    if os.environ["RANK"] == "1":
        keys = swa_k_cache.to(torch.bfloat16)
    output.fill_(1)
"""
SMALL = ("--device", "cpu", "--scenario", "small")


@pytest.fixture
def planted(tmp_path, torchrun):
    """`planted(rank, how)`: a group with one rank that dies or hangs, and what it wrote."""

    def run(rank, how):
        limit = ("--time-limit", "30" if how == "dies" else "5", "--json", "out.json")
        program = PLANTED.format(rank=rank, how=how) + SUITE
        done = torchrun("token_gather", *SMALL, *limit, program=program)
        written = tmp_path / "out.json"
        return done, json.loads(written.read_text()) if written.exists() else None

    return run


def rows(text):
    """The rank and verdict of each row; rows of what is expected to fail end otherwise."""
    found = re.findall(r"^ *(\d+)  .*  (PASS|FAIL|INCONCLUSIVE)$", text, re.MULTILINE)
    return [(int(rank), verdict) for rank, verdict in found]


def test_each_rank_takes_its_heads_and_rank_0_alone_prints(tmp_path):
    """As the documentation shows it: the exit code is 0, and torchrun adds nothing."""
    start = "torchrun --standalone --nproc-per-node 2 -m oom_suite ranks"
    (documented,) = (one for one in commands() if one.text.startswith(start))
    words = documented.text.split()[1:]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, "--json", "out.json"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert 0 == done.returncode
    assert agrees(documented.shown, done.stdout), done.stdout
    assert [(0, "PASS"), (1, "PASS")] == rows(done.stdout)
    assert "Traceback" not in done.stderr
    body = json.loads((tmp_path / "out.json").read_text())
    assert {"world_size": 2, "num_heads": 64, "heads_of": "DeepSeek-V4-Flash"} == body["group"]
    (group,) = body["subjects"]
    assert [32, 32] == [one["result"]["sizes"]["num_heads"] for one in group["ranks"]]
    assert "PASS" == group["verdict"]


def test_a_rank_that_breaks_its_contract_is_the_groups_verdict(torchrun, tmp_path):
    """The other passes; torchrun's report ends with the group's verdict."""
    (tmp_path / "grows.py").write_text(GROWS_ON_RANK_1)
    done = torchrun("grows.py:decode", *SMALL)
    assert 1 == done.returncode
    assert [(0, "PASS"), (1, "FAIL")] == rows(done.stdout)
    assert "law of rank 1: 74752*swa_num_blocks" in done.stdout
    said = "FAIL grows.py:decode, by rank 1: peak grows with swa_num_blocks (74,752 bytes per block"
    assert said in done.stdout
    assert said in done.stderr.splitlines()[-2]


def test_a_rank_that_dies_is_named_and_the_others_are_in_the_table(planted):
    """torchrun asks the others to end at once; what they measure is kept."""
    done, body = planted(1, "dies")
    assert 1 == done.returncode
    assert [(0, "PASS"), (1, "INCONCLUSIVE")] == rows(done.stdout), done.stdout
    (group,) = body["subjects"]
    assert ("INCONCLUSIVE", 1) == (group["verdict"], group["worst_rank"])
    expected = "rank 1: its process ended without an answer: killed, or crashed"
    assert expected == group["ranks"][1]["result"]["reason"]


def test_a_rank_that_hangs_is_named_when_its_time_is_over(planted):
    """The group ends then, the hanging rank too."""
    done, body = planted(1, "hangs")
    assert 1 == done.returncode
    (group,) = body["subjects"]
    assert ["PASS", "INCONCLUSIVE"] == [one["result"]["verdict"] for one in group["ranks"]]
    expected = "rank 1: no answer within 5 s of rank 0's: it hangs"
    assert expected == group["ranks"][1]["result"]["reason"]


def test_without_rank_0_the_next_says_so(planted):
    """There is no table then."""
    done, body = planted(0, "dies")
    assert (1, "", None) == (done.returncode, done.stdout, body)
    lines = [line for line in done.stderr.splitlines() if line.startswith("oom-suite: ")]
    assert ["oom-suite: rank 0 ended without a verdict: killed, or crashed"] == lines


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--heads-total", "7"), "7 heads (--heads-total) do not divide by 2 ranks: "),
        (("--set", "num_heads=4"), "--set num_heads is divided among the ranks: give "),
    ],
    ids=["uneven-heads", "heads-of-a-rank"],
)
def test_what_cannot_be_run_is_one_line_of_rank_0(torchrun, arguments, expected):
    """And the last words of torchrun's report."""
    done = torchrun("token_gather", *SMALL, *arguments)
    lines = [line for line in done.stderr.splitlines() if line.startswith("oom-suite: ")]
    assert 1 == len(lines)
    assert lines[0].startswith(f"oom-suite: {expected}")
    assert lines[0] in done.stderr.splitlines()[-2]
    assert "" == done.stdout


def test_outside_torchrun_it_says_what_to_run(tmp_path):
    """One line, exit code 2."""
    environ = {name: value for name, value in os.environ.items() if name != "RANK"}
    done = subprocess.run(
        [sys.executable, "-m", "oom_suite", "ranks", "token_gather"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    expected = (
        "oom-suite: ranks are started by torchrun, and RANK is not set: run torchrun "
        "--standalone --nproc-per-node N -m oom_suite ranks SUBJECT...\n"
    )
    assert (2, "", expected) == (done.returncode, done.stdout, done.stderr)
