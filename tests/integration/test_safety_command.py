"""`oom-suite check --safety` as its users meet it."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import time

import psutil
import pytest

from oom_suite.records.safety import PROPERTIES
from oom_suite.targets.process_memory import peak_resident_bytes

SUBJECTS = """
import os, signal
import torch
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode


def writes_cache(**step):
    token_gather_decode(**step)
    step["swa_k_cache"][-1, -1, -1] += 1


def raises(**step):
    raise ValueError("no [such] thing")


def crashes(**step):
    os.kill(os.getpid(), signal.SIGSEGV)


def incomplete(q, kv_cache):
    pass
"""


@pytest.fixture
def run(tmp_path, suite):
    (tmp_path / "s.py").write_text(SUBJECTS, encoding="utf-8")
    return functools.partial(suite, "check", "--safety")


@pytest.fixture
def checked(run, tmp_path):
    """Runs the check with JSON; the finished process, and verdicts by subject and property."""

    def check(*words):
        file = tmp_path / "out.json"
        done = run(*words, "--json", str(file))
        reports = json.loads(file.read_text("utf-8"))["safety"]
        return done, {
            report["subject"]: {one["name"]: one for one in report["findings"]}
            for report in reports
        }

    return check


def test_built_ins_are_as_expected_without_a_subject(checked):
    """All pass but the one that is known to refuse a capture, and the exit code is 0."""
    done, found = checked()
    assert 0 == done.returncode, done.stdout + done.stderr
    broken = [
        (subject, name)
        for subject, findings in found.items()
        for name, one in findings.items()
        if one["verdict"] != "PASS"
    ]
    assert [("block_compaction", "capture")] == broken
    assert "FAIL (expected) block_compaction: capture" in done.stdout
    assert f"4 subjects, {4 * len(PROPERTIES)} verdicts" in done.stdout


def test_a_breach_is_shown_with_its_bytes(checked):
    """A write into the cache fails its property, with block, slot and byte, and exit code 1."""
    done, found = checked("s.py:writes_cache")
    assert 1 == done.returncode
    (hit,) = found["s.py:writes_cache"]["writes"]["hits"]
    assert ("writes-cache", 23, 7) == (hit["kind"], hit["region"]["block"], hit["region"]["slot"])
    assert "FAIL s.py:writes_cache: writes" in done.stdout
    assert "block 23, slot 7" in done.stdout


@pytest.mark.parametrize(
    ("subject", "name", "verdict", "said"),
    [
        ("s.py:raises", "reads", "INCONCLUSIVE", "raised ValueError: no [such] thing"),
        ("s.py:crashes", "writes", "FAIL", "crashed: the process crashed with SIGSEGV"),
        ("s.py:incomplete", "reads", "INCONCLUSIVE", "does not take `swa_k_cache`"),
        ("none.py:f", "precision", "INCONCLUSIVE", "none.py does not exist"),
    ],
)
def test_whatever_a_subject_does_is_a_finding(checked, subject, name, verdict, said):
    """A broken subject gives one line a property, never a traceback, and never green."""
    done, found = checked(subject)
    findings = found[subject]
    assert verdict == findings[name]["verdict"]
    assert said in findings[name]["reason"]
    assert "PASS" not in {one["verdict"] for one in findings.values()}
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lane", "measure"], "--lane means nothing with --safety"),
        (["--budget", "12.74GiB"], "--budget means nothing with --safety"),
        (["--device", "tpu"], "--device 'tpu': choose cpu, cuda or cuda:N"),
        (["--arch", "gfx94"], "did you mean 'gfx942'?"),
        (["ful_dequant"], "did you mean 'full_dequant'?"),
    ],
    ids=" ".join,
)
def test_bad_usage_is_one_line_and_exit_code_2(run, words, said):
    """What cannot be understood is refused before anything runs."""
    done = run(*words)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert said in done.stderr


def test_a_pool_past_2_to_the_32_bytes_costs_no_memory(tmp_path):
    """All processes of the check together peak under 2 GiB resident, by the kernel's own count.

    VmHWM is the largest that a process ever was. At most four of any size run at once: this one,
    the server that forks, the child, and the fork that a far placement runs in.
    """
    started = subprocess.Popen(
        [sys.executable, "-m", "oom_suite", "check", "--safety", "token_gather"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    main = psutil.Process(started.pid)
    peaks: dict[int, int] = {}
    while started.poll() is None:
        for process in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                peak = peak_resident_bytes(process.pid) or 0
                peaks[process.pid] = max(peaks.get(process.pid, 0), peak)
        time.sleep(0.01)
    assert 0 == started.returncode
    assert started.stdout is not None
    assert "token_gather  PASS" in started.stdout.read()
    largest = sum(sorted(peaks.values())[-4:])
    assert 200 * 2**20 < largest < 2 * 2**30
