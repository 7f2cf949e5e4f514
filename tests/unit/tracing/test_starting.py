"""What starts a process is named, whoever it is; nothing is started here."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing.process
import os
import subprocess
import threading
import time

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.tracing import starting
from oom_suite.tracing.starting import watched
from oom_suite.tracing.turns import ASLEEP

POOL = concurrent.futures.ProcessPoolExecutor


def floats(device):
    return (torch.zeros(16, device=device),)


STARTERS = {
    "os.fork": (os, "fork", lambda: os.fork()),
    "os.forkpty": (os, "forkpty", lambda: os.forkpty()),
    "os.posix_spawn": (os, "posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {})),
    "os.posix_spawnp": (os, "posix_spawnp", lambda: os.posix_spawnp("true", ["true"], {})),
    "os.system": (os, "system", lambda: os.system("true")),
    "subprocess": (subprocess.Popen, "__init__", lambda: subprocess.Popen.__init__(None, "true")),
    "multiprocessing": (
        multiprocessing.process.BaseProcess,
        "start",
        lambda: multiprocessing.process.BaseProcess.start(None),
    ),
    "ProcessPoolExecutor": (POOL, "submit", lambda: POOL.submit(None, int)),
}


@pytest.fixture
def replaced(monkeypatch):
    """Puts a function in place of what starts a process."""

    def replace(what, function):
        owner, name, _ = STARTERS[what]
        monkeypatch.setattr(owner, name, function)

    return replace


@pytest.mark.parametrize("what", STARTERS)
def test_every_way_to_start_a_process_is_named_and_does_what_it_does(replaced, shadow, what):
    seen = []
    replaced(what, lambda *_, **__: 7)
    (reason,) = shadow(lambda _x: seen.append(STARTERS[what][2]()), floats).unrecorded
    assert [7] == seen
    assert reason.startswith(f"another process is started ({what}) at test_starting.py:")
    assert reason.endswith(": what it takes is not recorded")


def test_a_process_that_is_started_by_forking_is_one(replaced, shadow):
    """What multiprocessing starts it forks."""
    replaced("os.fork", lambda: 7)
    replaced("multiprocessing", lambda _process: os.fork())
    (reason,) = shadow(lambda _x: STARTERS["multiprocessing"][2](), floats).unrecorded
    assert "(multiprocessing)" in reason


def test_a_process_that_cannot_be_started_hides_no_other(replaced, shadow):
    def fails(*_):
        raise BlockingIOError

    replaced("os.posix_spawn", fails)
    replaced("os.fork", lambda: 7)

    def call(_x):
        with pytest.raises(BlockingIOError):
            STARTERS["os.posix_spawn"][2]()
        os.fork()

    reasons = shadow(call, floats).unrecorded
    assert ["os.posix_spawn", "os.fork"] == [one.split("(")[1].split(")")[0] for one in reasons]


def test_outside_of_a_call_nothing_is_said_and_nothing_hidden(replaced):
    replaced("os.fork", lambda: 7)
    with watched():
        assert os.fork() == 7


def started_by(file):
    """A function of that file that starts a process."""
    names = {}
    exec(compile("import os\ndef start(_x): os.fork()\n", file, "exec"), names)
    return names["start"]


@pytest.mark.parametrize(
    "file",
    ["/x/triton/build.py", "/x/torch/_inductor/compile.py", "/x/torch/utils/cpp_extension.py"],
)
def test_compilers_start_processes_that_run_no_tensor_code(replaced, shadow, file):
    replaced("os.fork", lambda: 7)
    assert () == shadow(started_by(file), floats).unrecorded


def test_a_loader_s_workers_cannot_be_handed_tensors_without_memory(replaced, shadow, measure):
    """Where tensors are real they are a process like any other."""
    replaced("os.fork", lambda: 7)
    start = started_by("/x/torch/utils/data/dataloader.py")
    with pytest.raises(LaneError, match="set num_workers=0 in the test"):
        shadow(start, floats)
    (reason,) = measure(start, floats).unrecorded
    assert "(os.fork)" in reason


def test_who_sleeps_is_known_to_until_it_wakes(monkeypatch):
    """Also where the sleep is interrupted."""
    ident, seen = threading.get_ident(), []

    def interrupted(seconds):
        seen.append((seconds, ident in ASLEEP))
        raise KeyboardInterrupt

    monkeypatch.setattr(starting, "_sleep", interrupted)
    with watched(), pytest.raises(KeyboardInterrupt):
        time.sleep(3)
    assert [(3, True)] == seen
    assert ident not in ASLEEP


def test_a_thread_that_cannot_be_started_is_as_it_was(monkeypatch):
    """Its own `run`, where it has one, is put back; it can be started again."""

    def fails(_thread):
        raise RuntimeError

    def own():
        """What this one runs."""

    plain, changed = threading.Thread(target=int), threading.Thread()
    changed.run = own
    monkeypatch.setattr(starting, "_start", fails)
    with watched():
        for thread in (plain, changed):
            with pytest.raises(RuntimeError):
                thread.start()
    assert "run" not in vars(plain)
    assert own is changed.run
    assert threading.get_ident() not in starting.STARTING


def test_what_is_entered_on_threads_is_that_of_the_lanes_that_run():
    """Of an inner one as well while it runs, and of none that is over."""
    entered = []

    @contextlib.contextmanager
    def noted(name):
        entered.append(name)
        yield

    def on_a_thread():
        entered.clear()
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        return sorted(entered)

    with watched(lambda: noted("outer")):
        with watched(lambda: noted("inner")):
            assert ["inner", "outer"] == on_a_thread()
        assert ["outer"] == on_a_thread()
    with watched():
        assert [] == on_a_thread()
