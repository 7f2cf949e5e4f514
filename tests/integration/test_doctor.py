"""`oom-suite doctor` as a user runs it: on this machine, and where torch is broken."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def doctor(suite, tmp_path, monkeypatch):
    """`doctor(*arguments)`: how it ended, with a cache of its own."""
    monkeypatch.setenv("OOM_SUITE_CACHE", str(tmp_path / "cache"))
    return functools.partial(suite, "doctor")


@pytest.fixture
def doctor_with(tmp_path):
    """`doctor_with(torch)`: how it ended, as a process that finds this code as torch."""

    def doctor(torch):
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text(torch, encoding="utf-8")
        path = (str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", ""))
        return subprocess.run(
            [sys.executable, "-m", "oom_suite", "doctor"],
            env={
                **os.environ,
                "OOM_SUITE_CACHE": str(tmp_path / "cache"),
                "PYTHONPATH": os.pathsep.join(path),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return doctor


def state(done, name):
    """The second column of the line that begins with a name."""
    (line,) = (x for x in done.stdout.splitlines() if x.startswith(f"  {name:<18}"))
    return line[20:28].strip()


def test_a_sound_machine_is_told_what_it_can_measure(doctor):
    """Every lane and every meter has a line, a figure or a reason, and nothing is broken."""
    done = doctor()
    assert (0, "") == (done.returncode, done.stderr)
    assert ["yes"] * 3 == [state(done, name) for name in ("prove", "shadow", "measure on cpu")]
    assert "yes" == state(done, "psutil")
    assert done.stdout.endswith("\nnothing is broken\n")


def test_a_piped_page_has_80_columns_and_no_escapes(doctor):
    """Where there are 100. Only a path may be wider: it is not cut."""
    done = doctor()
    wide = [x for x in done.stdout.splitlines() if len(x) > 80 and "/" not in x]
    assert [] == wide
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("torch", "expected"),
    [
        ("raise KeyError('libamd_smi.so')", "KeyError: 'libamd_smi.so'"),
        ("raise ImportError('libcudart.so.12: cannot open')", "ImportError: libcudart.so.12"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os.abort()", "was ended by SIGABRT"),
        ("import os; os._exit(7)", "ended with exit code 7"),
    ],
    ids=["amdsmi", "import-error", "exit", "crash", "silent-exit"],
)
def test_a_torch_that_cannot_be_imported_is_a_line(doctor_with, torch, expected):
    """It is named as broken; what needs no torch is told all the same."""
    done = doctor_with(torch)
    assert (1, "") == (done.returncode, done.stderr)
    assert expected in " ".join(done.stdout.split())
    assert ["no", "BROKEN", "yes"] == [state(done, x) for x in ("shadow", "torch", "psutil")]
    assert done.stdout.endswith("\nbroken: torch\n")


def test_a_torch_that_dies_of_amdsmi_is_told_what_to_do(doctor_with):
    """The library that the bindings miss, by name."""
    said = " ".join(doctor_with("raise KeyError('libamd_smi.so')").stdout.split())
    assert "-> install ROCm's amd-smi-lib, or pip uninstall the amdsmi that lacks its" in said


def test_the_file_holds_what_the_page_says(doctor, tmp_path):
    """Every finding with its state, its text and what to do."""
    done = doctor("--json", "doctor.json")
    assert 0 == done.returncode
    body = json.loads((tmp_path / "doctor.json").read_text("utf-8"))
    found = {one["name"]: one["state"] for one in body["doctor"]["lanes"]}
    assert ["yes"] * 3 == [found[name] for name in ("prove", "shadow", "measure on cpu")]
    assert "python" in body["environment"]


def test_a_cache_that_cannot_be_written_is_broken(doctor, tmp_path, monkeypatch):
    """A file stands where the folder should."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("OOM_SUITE_CACHE", str(tmp_path / "file"))
    done = doctor()
    assert 1 == done.returncode
    assert "BROKEN" == state(done, "folder")
    assert "broken: folder" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--nope",), "No such option: --nope"),
        (("extra",), "unexpected extra argument"),
        (("--json", "/nonexistent/doctor.json"), "cannot write '/nonexistent/doctor.json'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(doctor, arguments, expected):
    """Never a traceback."""
    done = doctor(*arguments)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
