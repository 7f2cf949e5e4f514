"""Where results go: there at any moment, alone on standard output, and never the verdict's loss."""

from __future__ import annotations

import json
import os
import re
import threading

import pytest

from oom_suite.cli import law as law_command
from oom_suite.cli import main
from oom_suite.errors import UsageError
from oom_suite.report.files import STDOUT, refuse_unwritable, write_body
from oom_suite.report.output import Output

SUBJECTS = """
import torch


def good(q, **step):
    torch.empty_like(q)
    step["output"].zero_()


def grows(q, swa_k_cache, **step):
    torch.empty(swa_k_cache.shape[0], 7, dtype=torch.uint8, device=q.device)
"""
SMALL = ("--scenario", "small", "--workload", "decode-swa")


@pytest.fixture
def run(suite, tmp_path):
    (tmp_path / "s.py").write_text(SUBJECTS, encoding="utf-8")
    return suite


COMMANDS = {
    "check": (("s.py:good", *SMALL), "results", "s.py:good  PASS"),
    "law": (("s.py:good", *SMALL), "law", "the law around scenario small"),
    "doctor": ((), "doctor", "lanes"),
    "measure": (("s.py:good", "--workload", "decode-swa"), "rows", "s.py:good"),
    "sanitize": (("s.py:good",), "sanitizer", "under memcheck"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_dash_has_json_alone_on_standard_output(run, tmp_path, name):
    """What people read is on standard error; no file of that name is made."""
    words, key, shown = COMMANDS[name]
    done = run(name, *words, "--json", "-")
    body = json.loads(done.stdout)
    assert (True, True) == (body[key] not in (None, [], {}), body["is_complete"])
    assert shown in done.stderr
    assert not (tmp_path / "-").exists()


def test_a_file_and_standard_output_have_the_same(run, tmp_path):
    """Whichever is asked for, when it was made apart; a pipe has the whole of it, once."""
    os.mkfifo(tmp_path / "pipe")
    texts = []
    reader = threading.Thread(target=lambda: texts.append((tmp_path / "pipe").read_text("utf-8")))
    reader.start()
    assert 0 == run("check", "s.py:good", *SMALL, "--json", "pipe").returncode
    reader.join()
    on_stdout = run("check", "s.py:good", *SMALL, "--json", "-").stdout
    assert 0 == run("check", "s.py:good", *SMALL, "--json", "a.json").returncode
    in_file = (tmp_path / "a.json").read_text("utf-8")
    made = re.compile(r'"made_at": "[^"]+"')
    whole = {made.sub("", text) for text in (in_file, on_stdout, texts[0])}
    assert 1 == len(whole)


def test_a_disk_that_fills_up_leaves_the_verdict_its_code(run):
    """Only the file is lost: the table is there, and one line says why the file is not."""
    for subject, code in (("s.py:good", 0), ("s.py:grows", 1)):
        done = run("check", subject, *SMALL, "--json", "/dev/full")
        assert code == done.returncode
        assert subject in done.stdout
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("oom-suite")]
        assert "cannot write '/dev/full': No space left on device" in line


def test_a_page_that_cannot_be_written_leaves_the_verdict_its_code(run, monkeypatch):
    """What was writable when the run began may be full when it ends."""

    def full(*_):
        raise UsageError("cannot write 'a.html': No space left on device")

    monkeypatch.setattr(main.HtmlReporter, "write", full)
    monkeypatch.setattr(law_command, "write_law_page", full)
    for name, subject, code in (("check", "s.py:grows", 1), ("law", "s.py:good", 0)):
        done = run(name, subject, *SMALL, "--html", "a.html")
        assert code == done.returncode
        assert "oom-suite: cannot write 'a.html': No space left" in done.stderr


def test_what_has_no_law_has_its_reason_in_the_file(run, tmp_path):
    """Nobody takes an older file for this run's."""
    (tmp_path / "a.json").write_text('{"law": {"older": 1}}', encoding="utf-8")
    done = run("law", "s.py:absent", *SMALL, "--json", "a.json")
    body = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert (3, None, "s.py:absent") == (done.returncode, body["law"], body["subject"])
    assert "has no function 'absent'" in body["reason"]


@pytest.fixture
def output(tmp_path):
    """An output into a folder of its own, and what it has been told."""
    known = []
    return Output(tmp_path / "a.json", lambda: {"rows": list(known)}), known


def read(tmp_path):
    body = json.loads((tmp_path / "a.json").read_text("utf-8"))
    return body["rows"], body["is_complete"]


def test_a_file_has_at_any_moment_what_is_known(output, tmp_path):
    """From the start, so that a file of an earlier run is not taken for this one's."""
    out, known = output
    with out:
        assert ([], False) == read(tmp_path)
        known.append(1)
        out.keep()
        assert ([1], False) == read(tmp_path)
        known.append(2)
        out.finish()
        assert ([1, 2], True) == read(tmp_path)
    assert ["a.json"] == [path.name for path in tmp_path.iterdir()]


class _Signal(BaseException):
    """As an interrupt is raised."""


def interrupt(out, known):
    with out:
        known.append(1)
        raise _Signal


def test_an_interrupt_leaves_what_is_known(output, tmp_path):
    """Also where nothing was kept since."""
    with pytest.raises(_Signal):
        interrupt(*output)
    assert ([1], False) == read(tmp_path)


def test_standard_output_has_what_is_known_when_it_is_interrupted(capfd):
    """It is written to once, whatever was kept meanwhile."""
    known = []
    with pytest.raises(_Signal):
        interrupt(Output(STDOUT, lambda: {"rows": known}), known)
    body = json.loads(capfd.readouterr().out)
    assert ([1], False) == (body["rows"], body["is_complete"])


def test_a_file_is_tried_without_a_trace(tmp_path):
    """Neither an empty file nor a changed one; a pipe is not opened."""
    (tmp_path / "old").write_text("old", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    for name in ("new", "old", "pipe"):
        refuse_unwritable(tmp_path / name)
    assert ["old", "pipe"] == sorted(path.name for path in tmp_path.iterdir())
    assert "old" == (tmp_path / "old").read_text("utf-8")


def test_rows_take_a_line_each_from_the_first(tmp_path):
    """None, one and two of them are JSON."""
    for rows in ([], [{"a": 1}], [{"a": 1}, {"a": 2}]):
        write_body({"rows": rows}, tmp_path / "a.json", row_key="rows")
        assert rows == json.loads((tmp_path / "a.json").read_text("utf-8"))["rows"]
