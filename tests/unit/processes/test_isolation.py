"""Child processes: whatever the code under test does there is one classified line here."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fixtures.processes import HandlingChild as Child
from oom_suite.processes.child import ChildError, Outcome
from oom_suite.processes.child_main import classify

ACTIONS = """
import os, signal, sys, threading, time

LOADS = []

def echo(*args):
    LOADS.append(args)
    return lambda request: (os.getpid(), os.getcwd(), args, request, len(LOADS))

def deep(request):
    raise ValueError("first line\\nsecond line")

class Odd(Exception):
    def __str__(self):
        raise RuntimeError

def odd(request):
    raise Odd

def left(request):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    return "left"

def left_and_ended(request):
    if os.fork() == 0:
        time.sleep(60)
    os._exit(3)

def last_words(request):
    print("the last words")
    os._exit(3)

def huge(request):
    import torch
    return torch.zeros(request).shape

def no_memory(request):
    raise MemoryError

def no_gpu(request):
    raise RuntimeError("0 active drivers ([]). There should only be one.")

def two_gpus(request):
    raise RuntimeError("2 active drivers ([cuda, hip]). There should only be one.")

ANSWERS = {
    "raise": deep, "odd": odd, "left": left, "left_and_ended": left_and_ended,
    "last_words": last_words, "huge": huge, "no_memory": no_memory,
    "no_gpu": no_gpu, "two_gpus": two_gpus,
    "exit": lambda request: sys.exit(4),
    "kill": lambda request: os.kill(os.getpid(), request),
    "hang": lambda request: time.sleep(60),
    "unpicklable": lambda request: threading.Lock(),
    "interrupt": lambda request: (_ for _ in ()).throw(KeyboardInterrupt()),
    "print": lambda request: [print("x" * 1000) for _ in range(5000)] and "printed",
}

def act(name):
    return ANSWERS[name]

def broken():
    raise ImportError("nothing here")
"""


@pytest.fixture(scope="module", autouse=True)
def actions(tmp_path_factory):
    """The module of the code under test, importable in children."""
    folder = tmp_path_factory.mktemp("actions")
    (folder / "oom_actions.py").write_text(ACTIONS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def act(name, **options):
    return Child("oom_actions:act", (name,), **({"time_limit_s": 60.0} | options))


def failure(name, request=None, **options):
    with act(name, **options) as child:
        with pytest.raises(ChildError) as caught:
            child.ask(request)
        assert "\n" not in str(caught.value)
        assert f"{caught.value.outcome.value}: {caught.value.message}" == str(caught.value)
        return caught.value.outcome, caught.value.message, child


def test_answers_come_from_one_process_that_loaded_once():
    """A child answers again and again, in the caller's folder, with its arguments."""
    with Child("oom_actions:echo", ("a",), time_limit_s=60) as child:
        first, second = child.ask(1), child.ask({"n": 2})
    assert first[0] == second[0] != os.getpid()
    assert (str(Path.cwd()), ("a",), 1, 1) == first[1:]
    assert ({"n": 2}, 1) == second[3:]


def test_an_error_is_told_with_its_line():
    """The first line of the message and the innermost line of the code."""
    outcome, message, _ = failure("raise")
    assert Outcome.RAISED is outcome
    assert message.startswith("ValueError: first line at ")
    assert message.endswith("oom_actions.py:11 (deep)")


FAILURES = {
    "a loader that raises": ("raise", 0, Outcome.RAISED, "ValueError"),
    "an error that cannot be shown": ("odd", 0, Outcome.RAISED, "Odd"),
    "SystemExit": ("exit", 0, Outcome.RAISED, "SystemExit: 4"),
    "KeyboardInterrupt": ("interrupt", 0, Outcome.RAISED, "KeyboardInterrupt"),
    "MemoryError": ("no_memory", 0, Outcome.OUT_OF_MEMORY, "MemoryError"),
    "Triton without a GPU": ("no_gpu", 0, Outcome.NOT_APPLICABLE, "needs a GPU: it launches a T"),
    "Triton with two drivers": ("two_gpus", 0, Outcome.RAISED, "2 active drivers"),
    "an answer without pickle": ("unpicklable", 0, Outcome.RAISED, "pickle"),
    "SIGKILL": ("kill", 9, Outcome.KILLED, "SIGKILL (the system's out-of-memory killer"),
    "SIGTERM": ("kill", 15, Outcome.KILLED, "killed by SIGTERM"),
    "SIGINT": ("kill", 2, Outcome.KILLED, "killed by SIGINT"),
    "SIGSEGV": ("kill", 11, Outcome.CRASHED, "crashed with SIGSEGV"),
    "an end with last words": ("last_words", 0, Outcome.EXITED, "code 3: the last words"),
    "an end while another holds on": ("left_and_ended", 0, Outcome.EXITED, "exit code 3"),
}


@pytest.mark.parametrize(("name", "request_", "outcome", "text"), FAILURES.values(), ids=FAILURES)
def test_what_goes_wrong_is_classified(name, request_, outcome, text):
    """One class and one line for everything that can go wrong, soon."""
    began = time.monotonic()
    found, message, _ = failure(name, request_)
    assert outcome is found
    assert text in message
    assert time.monotonic() - began < 20


def test_a_child_that_raised_answers_on():
    """An error of one request does not end the child."""
    with act("raise") as child:
        for _ in range(2):
            with pytest.raises(ChildError, match="ValueError"):
                child.ask(None)


def test_a_child_that_is_gone_says_the_same_again():
    """After a time limit, the next request tells of the time limit, not of a kill."""
    with act("hang", time_limit_s=0.5) as child:
        for _ in range(2):
            with pytest.raises(ChildError, match=r"no answer within 0\.5 s") as caught:
                child.ask(None)
            assert Outcome.TIMED_OUT is caught.value.outcome


def test_a_handler_that_cannot_be_made_is_told():
    """A loader's own failure is the first answer."""
    with (
        Child("oom_actions:broken", (), time_limit_s=60) as child,
        pytest.raises(ChildError, match=r"ImportError: nothing here at .*oom_actions") as caught,
    ):
        child.ask(None)
    assert Outcome.RAISED is caught.value.outcome


def test_more_memory_than_allowed_is_out_of_memory():
    """A request over the limit fails with the limit named; one under it does not.

    The limit leaves room for the libraries of a torch with CUDA, six GiB of addresses.
    """
    limit = {"memory_limit_bytes": 16 * 2**30, "preload": ("torch",)}
    outcome, message, _ = failure("huge", 2**40, **limit)
    assert Outcome.OUT_OF_MEMORY is outcome, message
    assert "(limited to 16.00 GiB)" in message
    with act("huge", **limit) as child:
        assert (16,) == tuple(child.ask(16))


def test_a_library_that_finds_no_room_is_out_of_memory():
    """Under a limit of the address space, loading torch itself may be what fails."""
    error = ImportError("libtorch_cpu.so: failed to map segment from shared object")
    outcome, line = classify(error, 2 * 2**30)
    assert Outcome.OUT_OF_MEMORY is outcome
    assert f"ImportError: {error} (limited to 2.00 GiB)" == line


def test_output_of_the_code_is_not_ours(capfd):
    """However much the code prints, nothing of it reaches our output."""
    with act("print") as child:
        assert "printed" == child.ask(None)
    assert ("", "") == tuple(capfd.readouterr())


def test_what_the_code_started_ends_with_it():
    """A process that the code left running neither holds up the end nor outlives it."""
    began = time.monotonic()
    child = act("left")
    assert "left" == child.ask(None)
    group = child._process.pid
    child.close()
    child.close()
    assert time.monotonic() - began < 20
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("what the code started is still running")


@pytest.mark.parametrize("needs_gpu", [False, True], ids=["forked", "fresh"])
def test_a_child_has_no_file_that_could_be_left(tmp_path, monkeypatch, needs_gpu):
    """Whoever is killed leaves nothing behind; what a child says last is known all the same."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with act("last_words", needs_gpu=needs_gpu) as child:
        with pytest.raises(ChildError, match="exit code 3: the last words"):
            child.ask(None)
        assert [] == list(tmp_path.glob("oom-suite-*"))


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from fixtures.processes import HandlingChild as Child
print("main runs")
with Child("oom_actions:echo", (), time_limit_s=60) as child:
    print(child.ask("asked")[3])
"""


@pytest.mark.parametrize("how", ["file", "stdin", "-c", "-m"])
def test_a_script_needs_no_import_guard(actions, tmp_path, how):
    """The caller's own script runs once, however it was started, and leaves no warning."""
    script = SCRIPT.format(folder=str(actions))
    (tmp_path / "oom_script.py").write_text(script)
    arguments = {
        "file": ["oom_script.py"],
        "stdin": ["-"],
        "-c": ["-c", script],
        "-m": ["-m", "oom_script"],
    }[how]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        input=script if how == "stdin" else "",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=60,
        check=False,
    )
    assert (0, "main runs\nasked\n", "") == (done.returncode, done.stdout, done.stderr)


GONE = """
import os, sys
sys.path.insert(0, {folder!r})
os.rmdir(os.getcwd())
from fixtures.processes import HandlingChild as Child
with Child("oom_actions:act", ("print",), time_limit_s=60) as child:
    print(child.ask("asked"))
"""


def test_the_current_folder_may_be_gone(actions, tmp_path):
    """A caller whose folder was removed still gets its answers."""
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", GONE.format(folder=str(actions))],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=60,
        check=False,
    )
    assert (0, "printed\n") == (done.returncode, done.stdout), done.stderr
