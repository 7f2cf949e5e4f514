"""Scans on a cluster of processes, some of which are killed: minutes of runs.

A push tries the same with a cluster of threads and made-up rows
(tests/integration/test_scan_scheduler.py).
"""

from __future__ import annotations

import json
import os
import signal

import pytest

from fixtures.command import run_here

RELEASES = tuple(f"vllm==0.{minor}.0" for minor in range(21, 27))
SCAN = (*RELEASES, "--workload", "decode-swa")
TOPIC = "oom-suite scan"
KILLER = """
import os
import signal
from pathlib import Path


def bad(out, k_cache, slot_indices, block_size):
    # This process is forked from a server, which the worker has started.
    server = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2]
    worker = server.split()[1]
    # Of one worker's death several of its processes may be the cause.
    if len(list(Path().glob("killed-*"))) < NUM_KILLS:
        Path(f"killed-{worker}").touch()
    if Path(f"killed-{worker}").exists():
        os.kill(int(worker), signal.SIGKILL)
        signal.pause()
    out.zero_()
"""
FINE = """

def fine_{number}(out, k_cache, slot_indices, block_size):
    out.zero_()
"""
NUM_FINE = 3


def body(path):
    """A file of a scan, but for what two runs differ in."""
    whole = json.loads(path.read_text("utf-8"))
    for row in whole["scan"]["rows"]:
        del row["elapsed_s"]
    del whole["environment"]
    return whole


@pytest.mark.oom_registry
def test_a_scan_with_a_worker_killed_in_a_unit_is_that_of_one_process(tmp_path, fleet):
    """Of six releases: the table, the JSON and the exit code; the unit is judged by another."""
    here = run_here("scan", *SCAN, "--json", "here.json", folder=tmp_path)
    client = fleet(2)
    pids = client.run(os.getpid)
    began, killed = [], []

    def heard(event):
        _, said = event
        began.append((said["unit"]["subject"], said["worker"]))
        if said["unit"]["subject"] == RELEASES[2] and not killed:
            killed.append(said["worker"])
            os.kill(pids[said["worker"]], signal.SIGKILL)

    client.subscribe_topic(TOPIC, heard)
    address = client.scheduler.address
    words = ("--scheduler", address, "--json", "there.json")
    there = run_here("scan", *SCAN, *words, folder=tmp_path)
    assert (here.returncode, here.stdout) == (there.returncode, there.stdout)
    assert body(tmp_path / "here.json") == body(tmp_path / "there.json")
    assert 1 == there.returncode
    assert 1 == len(killed)
    assert pids[killed[0]] not in client.run(os.getpid).values()
    assert {killed[0]} < {worker for subject, worker in began if subject == RELEASES[2]}


@pytest.mark.parametrize(
    ("num_kills", "found"),
    [(1, "PASS"), (3, "PASS"), (4, "INCONCLUSIVE")],
    ids=["once", "as often as is allowed", "once more"],
)
def test_a_unit_is_given_up_when_it_has_killed_too_many(
    tmp_path, fleet, monkeypatch, num_kills, found
):
    """With one failure allowed, two among others and one alone; others are judged anyway."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    fine = range(NUM_FINE)
    text = f"NUM_KILLS = {num_kills}\n{KILLER}" + "".join(FINE.format(number=n) for n in fine)
    (tmp_path / "s.py").write_text(text, encoding="utf-8")
    subjects = ["s.py:bad", *(f"s.py:fine_{number}" for number in fine)]
    words = ("--workload", "gather", "--scheduler", fleet(2).scheduler.address, "--json", "a.json")
    done = run_here("scan", *subjects, *words, folder=tmp_path)
    assert num_kills == len(list(tmp_path.glob("killed-*")))
    rows = body(tmp_path / "a.json")["scan"]["rows"]
    assert [found, *["PASS"] * NUM_FINE] == [row["found"] for row in rows]
    assert (3 if found == "INCONCLUSIVE" else 0) == done.returncode
    said = "killed: 2 workers have died with it, the last of them tcp://127.0.0.1:"
    assert (found == "INCONCLUSIVE") == rows[0]["reason"].startswith(said)
    assert "Traceback" not in done.stderr
