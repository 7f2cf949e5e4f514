"""SIGINT, SIGTERM and SIGKILL at any moment: no process is left, and nothing judged is lost.

Each push tries the moments that have a way of their own to go wrong; ``tox -e nightly`` tries all
of them with each signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from oom_suite.processes.ending import Interrupted

IS_NIGHTLY = bool(os.environ.get("OOM_SUITE_NIGHTLY"))
EVENT_S, GONE_S, OVER_S = 120.0, 5.0, 2.0

SUBJECTS = """
import pathlib, subprocess, time
import torch


def good(q, **step):
    torch.empty_like(q)
    step["output"].zero_()


def fine(q, **step):
    torch.empty_like(q)
    step["output"].zero_()


def sleeps(q, **step):
    # What it starts is to go with it, though it has a group of its own.
    subprocess.Popen(["sleep", "600"])
    pathlib.Path("hangs").touch()
    time.sleep(600)


def spins(q, **step):
    torch.empty_like(q)
    pathlib.Path("hangs").touch()
    while True:
        pass


def hangs_on_device(q, **step):
    # The exact runs and the proof have tensors without data.
    if type(q) is torch.Tensor:
        pathlib.Path("hangs").touch()
        time.sleep(600)
    torch.empty_like(q)
    step["output"].zero_()
"""

ONCE = """
import pathlib, time


def quick(out, k_cache, slot_indices, block_size):
    out.zero_()


def hangs_once(out, k_cache, slot_indices, block_size):
    hangs = pathlib.Path("hangs")
    if not hangs.exists():
        hangs.touch()
        time.sleep(600)
    k_cache.float()
    out.zero_()
"""

CHECK = ("check", "--scenario", "small", "--workload", "decode-swa", "--json", "a.json")


class Run:
    """A command of its own process, the lines that it says, and all that it has started."""

    def __init__(self, folder, words):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "oom_suite", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.said = []
        self._lines = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.started = set()

    def _read(self):
        for line in self.process.stderr:
            self._lines.put(line.rstrip())

    def children(self):
        """All that it has started and that lives."""
        with contextlib.suppress(psutil.Error):
            self.started.update(psutil.Process(self.process.pid).children(recursive=True))
        return {one for one in self.started if is_alive(one)}

    def lines(self):
        with contextlib.suppress(queue.Empty):
            while True:
                self.said.append(self._lines.get_nowait())
        return self.said

    def body(self):
        """The file as it is now; None where there is none yet."""
        file = self.folder / "a.json"
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for one in self.started:
            with contextlib.suppress(psutil.Error):
                one.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()
        self.process.stdout.close()


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def waited_for(is_so, limit_s):
    until = time.monotonic() + limit_s
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


def num_checked(run):
    return sum(line.startswith("checked ") for line in run.lines())


def num_of(run, words):
    """How many processes it has whose command has these words in it."""
    found = 0
    for one in run.children():
        with contextlib.suppress(psutil.Error):
            found += words in " ".join(one.cmdline())
    return found


def is_hanging(run):
    return bool(run.children()) and (run.folder / "hangs").exists()


MOMENTS = {
    "a file without results": (("good",), lambda run: run.body() is not None),
    "a server that imports torch": (("good",), lambda run: num_of(run, "forkserver") == 1),
    "a first child": (("good",), lambda run: num_of(run, "forkserver") > 1),
    "a subject that sleeps": (("sleeps",), is_hanging),
    "a subject that never gives Python a turn": (("spins",), is_hanging),
    "a subject on its device": (("hangs_on_device", "--lane", "measure"), is_hanging),
    "one judged, one hangs": (
        ("good", "sleeps"),
        lambda run: num_checked(run) == 1 and is_hanging(run),
    ),
    "two judged, two hang": (
        ("good", "fine", "sleeps", "spins"),
        lambda run: num_checked(run) == 2 and is_hanging(run),
    ),
    "safety": (("sleeps", "--safety"), is_hanging),
    "the last result": (("good",), lambda run: num_checked(run) == 1),
}
"""Ten moments: what is checked, and what has happened by then."""

AT_EACH_PUSH = {
    "a file without results": (signal.SIGINT,),
    "a server that imports torch": (signal.SIGKILL,),
    "one judged, one hangs": (signal.SIGINT, signal.SIGTERM, signal.SIGKILL),
    "safety": (signal.SIGINT,),
}
ALL = dict.fromkeys(MOMENTS, (signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
TRIED = [
    (moment, number)
    for moment, numbers in (ALL if IS_NIGHTLY else AT_EACH_PUSH).items()
    for number in numbers
]


@pytest.fixture
def begun(tmp_path):
    """`begun(*words)`: a run of check that goes on by itself."""
    (tmp_path / "s.py").write_text(SUBJECTS, encoding="utf-8")
    runs = []

    def begin(*words):
        runs.append(Run(tmp_path, words))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def words_of(subjects):
    """The command that checks them; what is no option of ours is a function of the file."""
    if "--safety" in subjects:
        return ("check", "s.py:sleeps", "--safety", "--workload", "decode-swa", "--json", "a.json")
    named = [f"s.py:{one}" for one in subjects if one not in {"--lane", "measure"}]
    options = [one for one in subjects if one in {"--lane", "measure"}]
    return (CHECK[0], *named, *options, *CHECK[1:])


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("moment", "number"), TRIED, ids=[f"{number.name} at {moment}" for moment, number in TRIED]
)
def test_no_process_is_left_and_nothing_judged_is_lost(begun, moment, number):
    """The signal's own exit code, within two seconds; the file has each result that was told."""
    subjects, has_come = MOMENTS[moment]
    run = begun(*words_of(subjects))
    assert waited_for(lambda: has_come(run) or run.process.poll() is not None, EVENT_S)
    assert run.process.poll() is None, "it ended before the moment came"
    run.children()
    run.process.send_signal(number)
    is_over = waited_for(lambda: run.process.poll() is not None, OVER_S)
    assert is_over
    assert waited_for(lambda: not run.children(), GONE_S), run.children()
    run._reader.join()
    asked_to_end = number is not signal.SIGKILL
    told = [line.split()[1].rstrip(":") for line in run.lines() if line.startswith("checked ")]
    if run.process.returncode == 0:
        # It had judged all and was leaving: there was nothing left to interrupt.
        assert "the last result" == moment
    else:
        code = 128 + number if asked_to_end else -number
        said = [str(Interrupted(number))] if asked_to_end else []
        assert code == run.process.returncode
        assert [f"oom-suite: {line}" for line in said] == [
            line for line in run.lines() if line.startswith("oom-suite")
        ]
    body = run.body()
    if "--safety" in subjects:
        assert ([], False) == (body["safety"], body["is_complete"])
        return
    judged = {result["subject"]: result["verdict"] for result in body["results"]}
    assert set(told) <= judged.keys()
    assert set(judged.values()) <= {"PASS"}, "an interrupt is no verdict"


def test_every_moment_is_tried_every_night():
    """Ten moments with three signals; what each push tries is among them."""
    assert 30 == sum(len(numbers) for numbers in ALL.values())
    assert set(AT_EACH_PUSH) <= set(MOMENTS)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGKILL} == {
        number for numbers in AT_EACH_PUSH.values() for number in numbers
    }


@pytest.mark.usefixtures("interruptible")
def test_standard_output_has_what_was_judged(begun):
    """Though it can be written to but once."""
    words = [*words_of(("good", "sleeps"))]
    words[-1] = "-"
    run = begun(*words)
    assert waited_for(lambda: num_checked(run) == 1 and is_hanging(run), EVENT_S)
    run.process.send_signal(signal.SIGINT)
    body = json.loads(run.process.stdout.read())
    assert 130 == run.process.wait(GONE_S)
    assert [("s.py:good", "PASS")] == [(r["subject"], r["verdict"]) for r in body["results"]]
    assert not body["is_complete"]


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_scan_is_resumed(begun, tmp_path):
    """What it had judged is not judged again, and it ends as a scan at one go does."""
    (tmp_path / "once.py").write_text(ONCE, encoding="utf-8")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    named = ("git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run([*named, "commit", "-q", "--allow-empty", "-m", "a"], check=True)
    words = ("scan", "once.py:quick", "once.py:hangs_once", "--workload", "gather", "--jobs", "1")
    run = begun(*words, "--json", "a.json")
    assert waited_for(lambda: len(run.lines()) == 1 and is_hanging(run), EVENT_S)
    run.process.send_signal(signal.SIGINT)
    assert 130 == run.process.wait(GONE_S)
    known = run.body()["scan"]["rows"]
    assert ["once.py:quick"] == [row["subject"] for row in known]
    resumed, at_once = (
        begun(*words, *more) for more in (("--json", "a.json", "--resume"), ("--json", "b.json"))
    )
    assert at_once.process.stdout.read() == resumed.process.stdout.read()
    assert [1, 1] == [each.process.wait(GONE_S) for each in (resumed, at_once)]
    assert waited_for(lambda: len(resumed.lines()) == 2, GONE_S)
    told = [line.rstrip("\n") for line in resumed.lines()]
    assert "1 of 2 units were judged before" == told[0]
    assert [True] == [line.startswith("2 of 2: once.py:hangs_once") for line in told[1:]]
    rows = [
        json.loads((tmp_path / name).read_text("utf-8"))["scan"] for name in ("a.json", "b.json")
    ]
    assert known == rows[0]["rows"][:1]
    for row in (*rows[0]["rows"], *rows[1]["rows"]):
        del row["elapsed_s"]
    assert rows[0] == rows[1]
