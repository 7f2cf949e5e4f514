"""Subjects that cannot be judged: one clear line each, and the others are judged all the same."""

from __future__ import annotations

import pytest

BROKEN = """
import os
import signal
import time

def raises(**step):
    raise ValueError("no such page")

def killed(**step):
    os.kill(os.getpid(), signal.SIGKILL)

def missing_parameter(q, kv_cache, *, page_table, **step):
    pass

def sleeps(**step):
    time.sleep(60)

def healthy(output, **step):
    output.fill_(1)
"""
EXPECTED = {
    "broken.py:raises": "raised: ValueError: no such page at *broken.py:6 (raises)",
    "broken.py:killed": "killed: the process was killed by SIGKILL*",
    "broken.py:missing_parameter": "*requires `page_table`, which the workload decode*",
    "broken.py:sleeps": "timed out: no answer within 5 s*",
    "broken.py:nothing": "*has no function 'nothing'*",
    "missing.py:decode": "missing.py:decode: missing.py does not exist*",
    "missing_package:decode": "*No module named 'missing_package'*",
}


TIME_LIMIT = ("--oom-time-limit=5",)


@pytest.mark.parametrize("xdist", [(), ("-n1",)], ids=["plain", "xdist"])
def test_each_is_one_line_and_a_failure_and_the_others_results_are_kept(pytester, oom_gate, xdist):
    """Never a skip, never a traceback, never the end of the run."""
    pytester.makepyfile(broken=BROKEN)
    # A worker's first child waits for torch, for which a short limit is not fair.
    expected = {s: why for s, why in EXPECTED.items() if not (xdist and "sleeps" in s)}
    subjects = [*expected, "broken.py:healthy"]
    arguments = ("-k", "decode-swa", *(xdist or TIME_LIMIT))
    done, results = oom_gate(*arguments, subjects=subjects)
    counts = done.parseoutcomes()
    assert (len(expected), 1) == (counts["failed"], counts["passed"])
    assert subjects == [result["subject"] for result in results]
    assert ["INCONCLUSIVE"] * len(expected) + ["PASS"] == [r["verdict"] for r in results]
    assert len(expected) == len([o for o in done.outlines if o.startswith("INCONCLUSIVE  ")])
    place = "workload decode-swa, lane shadow, scenario small"
    for subject, reason in expected.items():
        done.stdout.fnmatch_lines_random([f"INCONCLUSIVE  {subject}: {place}: {reason}"])
    assert not [line for line in done.outlines if line.startswith(("E  ", "Traceback"))]
