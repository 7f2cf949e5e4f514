"""`oom-suite conformance` on the command line: what it prints, writes and exits with."""

from __future__ import annotations

import json
import signal
import sys

import pytest

from oom_suite.cli import main
from oom_suite.pipeline.conformance import run
from oom_suite.processes.ending import Interrupted
from oom_suite.records.conformance import Conformance, ConformanceRow, Status


def found(measured_bytes):
    """A run of one call, predicted at 512 bytes."""
    status = Status.EXACT if measured_bytes == 512 else Status.WRONG
    row = ConformanceRow("operators", "sort", "float32", status, 512, 512, measured_bytes)
    return Conformance("H200", "cuda:sm_90", (row,), torch="2.13.0")


@pytest.mark.parametrize(("measured_bytes", "code"), [(512, 0), (513, 1)])
def test_one_byte_that_nobody_named_fails_the_run(suite, monkeypatch, measured_bytes, code):
    """The planted byte has its line; its healthy twin passes."""
    monkeypatch.setattr(run, "conformance", lambda *_: found(measured_bytes))
    done = suite("conformance")
    assert code == done.returncode
    line = "WRONG operators: sort: float32: 512 bytes predicted, 513 measured (+1)"
    assert (code == 1) == (line in done.stdout)


def test_a_run_that_compared_nothing_is_not_green(suite, monkeypatch):
    nothing = Conformance("H200", "cuda:sm_90", (), left_out=("sort",), torch="2.13.0")
    monkeypatch.setattr(run, "conformance", lambda *_: nothing)
    assert 3 == suite("conformance").returncode


def test_what_is_asked_for_reaches_the_run(suite, monkeypatch, tmp_path):
    """The evidence has every call and where it was made."""
    asked = []

    def conformance(options, *_):
        asked.append(options)
        return found(512)

    monkeypatch.setattr(run, "conformance", conformance)
    file = tmp_path / "evidence.json"
    words = ("--device", "cuda", "--scaled", "--models", "--only", "sort", "--only", "Llama")
    assert 0 == suite("conformance", *words, "--limit-s", "9", "--out", file).returncode
    expected = run.Options("cuda", ("scaled", "models"), ("sort", "Llama"), 9.0)
    assert [expected] == asked
    body = json.loads(file.read_text("utf-8"))
    assert [found(512).rows[0].to_json()] == body["rows"]
    assert {"exact": 1} == body["calls"]
    assert "python" in body["environment"]


def test_what_is_known_is_kept_when_the_run_dies(suite, monkeypatch, tmp_path):
    def conformance(options, on_progress, keep):
        del options, on_progress
        keep(found(512))
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(run, "conformance", conformance)
    file = tmp_path / "evidence.json"
    monkeypatch.setattr(main, "leave", lambda code, _: sys.exit(code))
    done = suite("conformance", "--out", file)
    assert (130, "oom-suite: interrupted by SIGINT; no process is left\n") == (
        done.returncode,
        done.stderr,
    )
    assert [found(512).rows[0].to_json()] == json.loads(file.read_text("utf-8"))["rows"]


def test_without_a_choice_three_suites_are_run(suite, monkeypatch):
    asked = []
    monkeypatch.setattr(run, "conformance", lambda options, *_: asked.append(options) or found(512))
    suite("conformance")
    assert [("operators", "modules", "scaled")] == [options.suites for options in asked]


def test_a_device_that_cannot_be_measured_is_one_line(suite):
    done = suite("conformance", "--device", "tpu")
    assert (2, "oom-suite: --device 'tpu': choose cpu, cuda or cuda:N\n") == (
        done.returncode,
        done.stderr,
    )


def test_a_gpu_that_is_not_here_is_one_line(suite):
    done = suite("conformance", "--device", "cuda:77", "--scaled", "--only", "sort")
    assert 2 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert done.stderr.startswith("oom-suite: device 'cuda:77' was asked for, and torch ")
