"""What a child process does: it answers requests until nobody asks any more."""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import gc
import importlib
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import sysconfig
import traceback
from multiprocessing import forkserver
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.errors import NotApplicableError, OomSuiteError
from oom_suite.processes.ending import live_by
from oom_suite.processes.protocol import Kept
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from oom_suite.processes.protocol import Request

CHILD_NAME = "oom-suite-child"
_STDOUT, _STDERR = 1, 2
_HARNESS = tuple(
    f"{Path(__file__).parents[1] / room}/"
    for room in ("operators", "pipeline", "processes", "torch_compat", "tracing")
)
_STDLIB = sysconfig.get_path("stdlib") + "/"
_NO_GPU = "0 active drivers"
"""Source: Triton 3.9 ``triton/runtime/driver.py``: no backend finds a device."""
_NO_MEMORY = (
    "can't allocate memory",
    "failed to map segment from shared object",
    "out of memory",
    "std::bad_alloc",
)
"""What a limit of the address space sounds like, to torch, to the dynamic linker and to C++."""


class Outcome(enum.Enum):
    """How a child failed to answer."""

    RAISED = "raised"
    REFUSED = "refused"
    NOT_APPLICABLE = "not applicable"
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    KILLED = "killed"
    CRASHED = "crashed"
    EXITED = "exited"


def start_data() -> dict[str, Any]:
    """What multiprocessing tells a new child: where to import from, and no main module."""
    folder = _current_folder() or "/"
    data: dict[str, Any] = {
        "name": CHILD_NAME,
        "authkey": multiprocessing.current_process().authkey,
        "log_to_stderr": False,
        "sys_path": [entry or folder for entry in sys.path],
        "sys_argv": sys.argv,
    }
    # Where the caller's folder has been removed, the child stays in the server's.
    return data if _current_folder() is None else {**data, "dir": folder}


def _current_folder() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


READY = b"ready"
"""What a child says once, when it can take requests."""


def serve(
    connection: Connection,
    life: Connection,
    log: Connection,
    imports: tuple[str, ...],
    memory_limit_bytes: int | None,
    *,
    needs_gpu: bool,
) -> None:
    """The child's main function: one answer for every request, whatever happens."""
    _detach(log)
    live_by(life.fileno(), with_group=True)
    _leave_server()
    # A server that could not load all that it should has left it off.
    gc.enable()
    if not needs_gpu:
        hide_gpus()
    # Children run side by side: threads of their own would wait for each other's cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Torch is imported here, before the clock of the first request starts. Whatever is wrong
    # with the import is that request's answer.
    for module in imports:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    renew_thread_pool()
    with contextlib.suppress(BrokenPipeError):
        connection.send_bytes(READY)
    kept = Kept()
    is_prepared = False
    while True:
        try:
            asked = connection.recv_bytes()
        except EOFError:
            return
        try:
            request: Request[Any] = pickle.loads(asked)
            request.prepare(kept)
            if not is_prepared:
                is_prepared = True
                _limit_memory(memory_limit_bytes)
                # What was imported is no garbage: keep collections from walking all of it.
                gc.freeze()
            answer = ForkingPickler.dumps((None, request.answer(kept)))
        except BaseException as error:
            answer = ForkingPickler.dumps(classify(error, memory_limit_bytes))
        with contextlib.suppress(BrokenPipeError):
            connection.send_bytes(answer)


def renew_thread_pool() -> None:
    """Make torch's pool of threads anew, whose threads a fork has not got.

    torch does so where the pool is next asked for. Where threads of autograd were the first to
    ask, two at once, one of them found none, and the process was aborted.
    Source: PyTorch 2.11 and 2.13 ``caffe2/utils/threadpool/pthreadpool-cpp.cc``, ``pthreadpool``.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(torch.get_num_threads())


def hide_gpus() -> None:
    """Let this process and what it forks find no GPU.

    The driver reads these when it starts. An empty value hides nothing from HIP, which takes it
    for no value.
    """
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", HIP_VISIBLE_DEVICES="-1")


def _detach(log: Connection) -> None:
    """Write to the log, and take no part in the terminal's signals."""
    # The leader of a group: what the code under test starts can be ended together with it.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with log:
        os.dup2(log.fileno(), _STDOUT)
        os.dup2(log.fileno(), _STDERR)
    # Unbuffered by line: last words must be in the log when the process ends without a flush.
    sys.stdout = os.fdopen(_STDOUT, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(_STDERR, "w", buffering=1, closefd=False)
    faulthandler.disable()


def _leave_server() -> None:
    """Nothing; the server that forked this process no longer waits for its end.

    A child could have its own children forked there, and the server stays while any child could.
    It is to go with the process that started it, whatever a child does.
    """
    server = vars(forkserver._forkserver)
    if server["_forkserver_alive_fd"] is not None:
        os.close(server["_forkserver_alive_fd"])
        server.update(_forkserver_alive_fd=None, _forkserver_address=None)


def classify(error: BaseException, memory_limit_bytes: int | None) -> tuple[Outcome, str]:
    """The outcome's class and one line about it."""
    if isinstance(error, NotApplicableError):
        return Outcome.NOT_APPLICABLE, str(error)
    if isinstance(error, OomSuiteError):
        return Outcome.REFUSED, str(error)
    first_line = (_text(error).strip().splitlines() or [""])[0]
    error_line = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    line = f"{error_line}{_where(error)}"
    if isinstance(error, RuntimeError) and first_line.startswith(_NO_GPU):
        frame = _innermost(error)
        caller = "" if frame is None else f" in {frame.name}"
        return Outcome.NOT_APPLICABLE, f"needs a GPU: it launches a Triton kernel{caller}"
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or any(words in line for words in _NO_MEMORY):
        limit = ""
        if memory_limit_bytes is not None:
            limit = f" (limited to {format_bytes(memory_limit_bytes)})"
        return Outcome.OUT_OF_MEMORY, line + limit
    return Outcome.RAISED, line


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as worse:
        return f"(its message cannot be shown: {type(worse).__name__})"


def _where(error: BaseException) -> str:
    """The innermost line of the code, as `` at file:line (function)``."""
    last = _innermost(error)
    return "" if last is None else f" at {last.filename}:{last.lineno} ({last.name})"


def _innermost(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost frame outside installed libraries."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/site-packages/" not in frame.filename
        and not frame.filename.startswith((*_HARNESS, _STDLIB, "<"))
    ]
    return frames[-1] if frames else None


def _limit_memory(limit_bytes: int | None) -> None:
    if limit_bytes is None:
        return
    num_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    ceiling = num_pages * resource.getpagesize() + limit_bytes
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
