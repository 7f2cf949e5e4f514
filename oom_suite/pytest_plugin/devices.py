"""Gives each worker of pytest-xdist one GPU of its own, and says which it had."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oom_suite.targets import visible_gpus

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from oom_suite.records import Result
    from oom_suite.targets import VisibleGpus

WORKER_GPU = pytest.StashKey["WorkerGpu"]()
"""Where a worker's `pytest.Config.stash` keeps its GPU; absent where it was given none."""

_KEY = "oom_gpu"
_MEASURING = frozenset({"oom_check", "oom_law"})


@dataclass(frozen=True, slots=True)
class WorkerGpu:
    """The GPU of one worker.

    Attributes:
        variable: the environment variable that names it.
        entry: its index or UUID, as it stands in the caller's list.
        lock: the file whose lock a worker holds while it measures there; empty where no other
            worker has the same GPU.
    """

    variable: str
    entry: str
    lock: str

    def __str__(self) -> str:
        """As it would be written before a command."""
        return f"{self.variable}={self.entry}"


def is_gpu(device: str | None) -> bool:
    """Whether ``--oom-device`` names a GPU."""
    return (device or "").startswith("cuda")


def asked_device(config: pytest.Config) -> str:
    """What ``--oom-device`` or the ini file says, before anything of it is checked."""
    return (config.getoption("--oom-device") or config.getini("oom_device") or "").strip()


def num_workers(config: pytest.Config) -> int | None:
    """The workers of ``-n auto``: one a GPU where GPUs are asked for; None otherwise."""
    if asked_device(config) != "cuda":
        return None
    return len(visible_gpus(os.environ).entries) or None


class Workers:
    """Hands the GPUs to the workers, where the run was started; registered there as a plugin.

    A worker has its variable before it imports anything. One that replaces a crashed worker has
    that one's GPU.
    """

    def __init__(self, device: str | None) -> None:
        """Hand out GPUs where this device is one."""
        self._device = device or ""
        self._gpus: VisibleGpus | None = None
        self._num_workers = 0
        self._had: dict[str, str] = {}
        self._is_shared = False
        self._run = ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[Any]) -> None:
        """Set each worker's variable; not of a worker on another machine, nor over ``--tx``."""
        if not is_gpu(self._device):
            return
        self._gpus = gpus = visible_gpus(os.environ)
        local = [spec for spec in specs if spec.popen]
        self._num_workers = len(local)
        if self._device == "cuda" and gpus.entries:
            for index, spec in enumerate(local):
                spec.env.setdefault(gpus.variable, gpus.of(index))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which GPU it has, and whether it is alone there."""
        self._run = node.workerinput["testrunuid"]
        if self._gpus is None or not node.gateway.spec.popen:
            return
        gpus = self._gpus
        entry = node.gateway.spec.env.get(gpus.variable) or _named(self._device, gpus)
        num_gpus = len(gpus.entries) if self._device == "cuda" else 1
        gpu = _worker_gpu(gpus, entry, self._run, is_shared=self._num_workers > num_gpus)
        node.workerinput[_KEY] = asdict(gpu)
        self._note(node, gpu)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take from a worker the GPU that it chose itself, for a test marked ``oom_device``."""
        chosen = getattr(node, "workeroutput", {}).get(_KEY)
        if chosen is not None:
            self._note(node, WorkerGpu(**chosen))

    def pytest_report_header(self) -> list[str]:
        """Say which GPUs there are to hand out."""
        if self._device != "cuda":
            return []
        gpus = visible_gpus(os.environ)
        if not gpus.entries:
            return []
        listed = ",".join(gpus.entries)
        return [f"oom_suite: GPUs {gpus.variable}={listed} (from {gpus.told_by}); one a worker"]

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which worker had which GPU, and whether measurements had to take turns."""
        if not self._had:
            return
        terminalreporter.write_sep("=", "oom_suite: GPUs of the workers")
        for worker, gpu in sorted(self._had.items(), key=lambda had: (len(had[0]), had[0])):
            terminalreporter.write_line(f"{worker}: {gpu}")
        if self._is_shared:
            terminalreporter.write_line(
                f"{len(self._had)} workers shared {len(set(self._had.values()))} GPU(s): what "
                "measures on a GPU took turns there; -n auto starts one worker a GPU"
            )

    def pytest_unconfigure(self) -> None:
        """Remove the lock files of this run."""
        if self._run:
            for lock in Path(tempfile.gettempdir()).glob(f"oom-suite-{self._run}-*.lock"):
                lock.unlink(missing_ok=True)

    def _note(self, node: Any, gpu: WorkerGpu) -> None:
        self._had[node.gateway.id] = str(gpu)
        self._is_shared = self._is_shared or bool(gpu.lock)


class Worker:
    """A worker's own part: takes its turn on a GPU that it shares; registered as a plugin."""

    def __init__(self, config: pytest.Config) -> None:
        """Take the GPU that the controller gave this worker."""
        self._config = config
        given = _workerinput(config).get(_KEY)
        if given is not None:
            config.stash[WORKER_GPU] = WorkerGpu(**given)

    # First: a module that is imported later may start the driver.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose a GPU for tests that need one where ``--oom-device`` names none."""
        if WORKER_GPU in self._config.stash:
            return
        if not any(item.get_closest_marker("oom_device") for item in items):
            return
        gpus = visible_gpus(os.environ)
        if not gpus.entries:
            return
        given = _workerinput(self._config)
        entry = gpus.of(int(given["workerid"].removeprefix("gw")))
        is_shared = given["workercount"] > len(gpus.entries)
        gpu = _worker_gpu(gpus, entry, given["testrunuid"], is_shared=is_shared)
        os.environ[gpu.variable] = gpu.entry
        self._config.stash[WORKER_GPU] = gpu
        vars(self._config)["workeroutput"][_KEY] = asdict(gpu)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure alone: what another worker allocates meanwhile would be in the figures."""
        gpu = self._config.stash.get(WORKER_GPU, None)
        if gpu is None or not gpu.lock or not measures(item):
            return (yield)
        from filelock import FileLock

        with FileLock(gpu.lock):
            return (yield)


def measures(item: pytest.Item) -> bool:
    """Whether a test may use the GPU: it needs one, or judges something other than shadow."""
    if item.get_closest_marker("oom_device"):
        return True
    if not is_gpu(asked_device(item.config)) or not _MEASURING & set(_fixtures(item)):
        return False
    callspec = getattr(item, "callspec", None)
    return callspec is None or callspec.params.get("lane") != "shadow"


def gpu_properties(item: pytest.Item, asked: Sequence[Result]) -> list[tuple[str, object]]:
    """The GPU of a test that used one, as JUnit properties."""
    gpu = item.config.stash.get(WORKER_GPU, None)
    found: list[tuple[str, object]] = []
    if gpu is not None and measures(item):
        found.append(("oom_gpu", str(gpu)))
    # A record of another version may have no measurement.
    measured = (getattr(result, "measurement", None) for result in asked)
    names = dict.fromkeys(one.environment.device for one in measured if one is not None)
    return found + [("oom_device", name) for name in names]


def of_worker(config: pytest.Config) -> str:
    """`` (gw1, CUDA_VISIBLE_DEVICES=3)``; empty outside a worker with a GPU."""
    gpu = config.stash.get(WORKER_GPU, None)
    return "" if gpu is None else f" ({_workerinput(config)['workerid']}, {gpu})"


def _workerinput(config: pytest.Config) -> dict[str, Any]:
    given: dict[str, Any] = vars(config).get("workerinput", {})
    return given


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def _named(device: str, gpus: VisibleGpus) -> str:
    """The entry that ``cuda:1`` names, for all workers alike; its own text where none is known."""
    _, _, number = device.partition(":")
    with contextlib.suppress(IndexError, ValueError):
        return gpus.entries[int(number)]
    return device


def _worker_gpu(gpus: VisibleGpus, entry: str, run: str, *, is_shared: bool) -> WorkerGpu:
    known = (*gpus.entries, entry)
    lock = Path(tempfile.gettempdir()) / f"oom-suite-{run}-{known.index(entry)}.lock"
    return WorkerGpu(gpus.variable, entry, str(lock) if is_shared else "")
