"""`oom-suite replay` on a CPU, as its users meet it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from oom_suite.units import MIB

SUBJECTS = """
import os, time
import torch
from torch._subclasses.fake_tensor import FakeTensor


def asks(q, **step):
    torch.empty(64 << 20, dtype=torch.uint8, device=q.device)


def raises(q, **step):
    if not isinstance(q, FakeTensor):
        raise ValueError("no [such] thing")


def needs_a_gpu(q, **step):
    if not isinstance(q, FakeTensor):
        raise RuntimeError("0 active drivers ([]). There should only be one.")


def hangs(q, **step):
    if not isinstance(q, FakeTensor):
        with open("pid.new", "w") as sink:
            sink.write(str(os.getpid()))
        os.rename("pid.new", "pid")
        time.sleep(3600)
"""
ON_CPU = ("--device", "cpu")
# The first request of full_dequant is 65,536 bytes a block: 128 MiB.
SMALL = (*ON_CPU, "--set", "num_blocks=2048")


@pytest.fixture
def replay(tmp_path, suite):
    """`replay(*arguments)`: the exit code, the text as a pipe gets it, and the JSON."""
    (tmp_path / "s.py").write_text(SUBJECTS, encoding="utf-8")

    def run(*arguments):
        done = suite("replay", *arguments, "--json", "replay.json")
        return done.returncode, done.stdout, json.loads((tmp_path / "replay.json").read_text())

    return run


def attempts(body):
    return {attempt["subject"]: attempt for attempt in body["replay"]["attempts"]}


def test_the_issue_as_it_was_reported(replay):
    """The culprit runs out of 12.74 GiB with one request of 13.54 GiB; the fixes run in it."""
    fixes = ("block_compaction", "token_gather", "streaming")
    code, text, body = replay("issue-41962", "full_dequant", *fixes, *ON_CPU)
    text = " ".join(text.split())
    assert code == 0
    assert "full_dequant: ran OUT OF MEMORY" in text
    assert "13.54 GiB (14,538,440,704 bytes) by oom_suite/workloads/sparse_mla/builtins" in text
    assert "Reproduced and fixed: full_dequant ran out of memory in 12.74 GiB" in text
    found = attempts(body)
    culprit = found["full_dequant"]
    failed, predicted = culprit["out_of_memory"], culprit["predicted"]
    assert "tried to allocate 14538440704 bytes" in failed["message"]
    assert 14_538_440_704 == failed["requested_bytes"] == predicted["request_bytes"]
    assert failed["stack"][0] == predicted["where"]
    for name in fixes:
        assert (found[name]["end"], found[name]["out_of_memory"]) == ("ran", None)
        assert found[name]["peak_bytes"] == found[name]["predicted"]["peak_bytes"]


def test_every_line_fits_eighty_columns(replay):
    """Where nobody watches there are no colours, and no line is longer than a terminal's."""
    _, text, _ = replay("issue-41962", "full_dequant", "streaming", *SMALL, "--headroom=100MiB")
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_a_culprit_with_room_enough_is_not_as_reported(replay):
    """The same step in the same way, with more left free: the OOM was the headroom's."""
    code, text, _ = replay("issue-41962", "full_dequant", *SMALL, "--headroom=100MiB")
    assert (0, True) == (code, "Reproduced: full_dequant ran out of memory in 100.00 MiB" in text)
    code, text, body = replay("issue-41962", "full_dequant", *SMALL, "--headroom=600MiB")
    assert code == 1
    assert "Not as reported: full_dequant did not run out of memory in 600.00 MiB" in text
    assert (1, "ran") == (body["replay"]["exit_code"], attempts(body)["full_dequant"]["end"])


def test_a_fix_that_runs_out_of_memory_is_not_as_reported(replay):
    """A request of 64 MiB is served in 80 MiB and not in 63."""
    code, _, body = replay("issue-41962", "s.py:asks", *SMALL, "--headroom=80MiB")
    assert (0, 64 * MIB) == (code, attempts(body)["s.py:asks"]["peak_bytes"])
    code, text, body = replay("issue-41962", "s.py:asks", *SMALL, "--headroom=63MiB")
    assert code == 1
    assert "Not as reported: s.py:asks ran out of memory in 63.00 MiB" in text
    assert 64 * MIB == attempts(body)["s.py:asks"]["out_of_memory"]["requested_bytes"]


def test_after_an_out_of_memory_the_run_goes_on(replay):
    """What cannot run here is left out; what breaks is not judged, and is no out-of-memory."""
    subjects = ("full_dequant", "s.py:needs_a_gpu", "streaming")
    code, text, body = replay("issue-41962", *subjects, *SMALL, "--headroom=100MiB")
    assert code == 0
    ends = [attempt["end"] for attempt in body["replay"]["attempts"]]
    assert ends == ["out of memory", "left out", "ran"]
    assert "s.py:needs_a_gpu: needs a GPU: it launches a Triton kernel in needs_a_gpu" in text
    code, text, body = replay("issue-41962", "s.py:raises", *SMALL, "--headroom=100MiB")
    assert (3, "not run") == (code, attempts(body)["s.py:raises"]["end"])
    assert "s.py:raises was not run: raised: ValueError: no [such] thing" in text


def test_where_there_is_no_gpu_it_says_so(replay, monkeypatch):
    """Nothing is run, and that is not green."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "-1")
    code, text, body = replay("issue-41962", "streaming", "--device=cuda", "--set=num_blocks=64")
    assert (3, []) == (code, body["replay"]["attempts"])
    assert "Not replayed: device 'cuda' cannot be used: " in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["issue-41926"], "unknown scenario 'issue-41926'"),
        (["small"], "scenario 'small' reports no free memory: give --headroom"),
        (["issue-41962", "ful_dequant"], "unknown subject 'ful_dequant'"),
        (["--device", "gpu"], "--device 'gpu': choose cpu, cuda or cuda:N"),
        (["--by", "balast"], "unknown way to leave a headroom 'balast'"),
        (["--headroom", "12.74GB"], "unknown unit 'GB'"),
        (["--headroom", "0"], "--headroom '0' is not an amount of memory"),
        (["--device", "cpu", "--snapshot", "here"], "--snapshot 'here': only a GPU's allocator"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_told_in_one_line(suite, arguments, expected):
    """Nothing was run then."""
    done = suite("replay", *arguments)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("oom-suite: ")
    assert expected in line


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("whom", ["process", "group"])
def test_an_interrupt_ends_every_child(tmp_path, whom):
    """Ctrl-C, to the command or to all in its terminal: one line, and the device is free again."""
    (tmp_path / "s.py").write_text(SUBJECTS, encoding="utf-8")
    command = [sys.executable, "-m", "oom_suite", "replay", "issue-41962", "s.py:hangs", *SMALL]
    run = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for((tmp_path / "pid").exists)
        child = int((tmp_path / "pid").read_text())
        assert child in {one.pid for one in psutil.Process(run.pid).children(recursive=True)}
        started = psutil.Process(run.pid).children(recursive=True)
        if whom == "process":
            run.send_signal(signal.SIGINT)
        else:
            os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=60)
        wait_for(lambda: not any(one.is_running() and one.status() != "zombie" for one in started))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 130
    assert errors.splitlines() == ["oom-suite: interrupted by SIGINT; no process is left"]


def wait_for(is_so, limit_s=60):
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)
