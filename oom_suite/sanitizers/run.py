"""Runs a step under compute-sanitizer, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite.doors import workload as find_workload
from oom_suite.errors import OomSuiteError, unknown
from oom_suite.processes.ending import Life
from oom_suite.sanitizers.parse import parse
from oom_suite.sanitizers.record import STEP_DONE, SanitizerOutcome, SanitizerRun
from oom_suite.subjects import obtain
from oom_suite.subjects import parse as parse_subject
from oom_suite.workloads.sparse_mla.geometry.scenarios import scenario as find_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOOLS = ("memcheck", "initcheck", "racecheck", "synccheck")
"""compute-sanitizer's tools, as its ``--tool`` names them."""

NAME = "compute-sanitizer"
_FOLDERS = ("/usr/local/cuda/bin", "/opt/cuda/bin")
_ROCM = "/opt/rocm"
_ERRORS_FOUND = 86
_UNCACHED = frozenset({"memcheck", "initcheck"})
"""Tools that look at allocations: PyTorch's cache would hide where one ends and the next begins."""
_MAX_PRINTED = "200"


def find_tool() -> str | None:
    """Where compute-sanitizer is: on PATH, else where the CUDA toolkit puts it; None if nowhere."""
    on_path = shutil.which(NAME)
    if on_path:
        return on_path
    for folder in _FOLDERS:
        if os.access(Path(folder) / NAME, os.X_OK):
            return str(Path(folder) / NAME)
    return None


def how_to_install() -> str:
    """One line: what to install on this machine."""
    if Path(_ROCM).is_dir():
        return (
            "compute-sanitizer is for NVIDIA; on ROCm install the AddressSanitizer builds "
            "(package rocm-asan, libraries under /opt/rocm/lib/asan), build the kernels with "
            "-fsanitize=address -shared-libsan for an :xnack+ target, and run with HSA_XNACK=1 "
            "and LD_LIBRARY_PATH=/opt/rocm/lib/asan"
        )
    return (
        "compute-sanitizer is not on PATH nor in /usr/local/cuda/bin: install the CUDA toolkit's "
        "package cuda-sanitizer (or conda's cuda-sanitizer-api)"
    )


def sanitize(
    subject: str,
    *,
    tool: str = "memcheck",
    scenario: str = "small",
    workload: str = "decode",
    time_limit_s: float = 600.0,
    find: Callable[[], str | None] = find_tool,
) -> SanitizerRun:
    """What the tool reports of one step of a subject. A failure on the way is an outcome too.

    Args:
        subject: its spelling.
        tool: one of `TOOLS`.
        scenario: the name of its sizes.
        workload: the workload's name.
        time_limit_s: seconds for the whole run; a sanitizer makes kernels 10 to 100 times slower.
        find: says where compute-sanitizer is.

    Raises:
        UsageError: an unknown tool, scenario, workload or subject.

    **Does not prove:** that other sizes are clean; what stays inside one allocation, such as a
    block that the step was not given, is no error for a sanitizer.
    """
    if tool not in TOOLS:
        raise unknown("tool", tool, TOOLS)
    find_scenario(scenario)
    find_workload(workload)
    spec = parse_subject(subject)

    def ended(outcome: SanitizerOutcome, reason: str) -> SanitizerRun:
        return SanitizerRun(subject, tool, scenario, outcome, reason)

    found = find()
    if found is None:
        return ended(SanitizerOutcome.NO_TOOL, how_to_install())
    try:
        root = str(obtain(spec) or "")
    except OomSuiteError as error:
        return ended(SanitizerOutcome.FAILED, str(error))
    with tempfile.TemporaryDirectory(prefix="oom-suite-") as folder:
        log = Path(folder) / "report.txt"
        step = (
            sys.executable,
            "-m",
            "oom_suite.sanitizers.step",
            subject,
            root,
            workload,
            scenario,
        )
        try:
            code, output = _run((*_options(found, tool, log), *step), tool, time_limit_s)
        except subprocess.TimeoutExpired:
            reason = f"no end within {time_limit_s:g} s (raise it with --time-limit)"
            return ended(SanitizerOutcome.TIMED_OUT, reason)
        except OSError as error:
            return ended(SanitizerOutcome.FAILED, f"{found} cannot be started: {error}")
        report = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return judged(ended(SanitizerOutcome.CLEAN, ""), report, code, output)


def judged(run: SanitizerRun, report: str, code: int, output: str) -> SanitizerRun:
    """The run's outcome, from the tool's report and what the step wrote."""
    found = parse(report)
    ids = (run.subject, run.tool, run.scenario)
    if found.hits:
        count = found.num_errors or len(found.hits)
        reason = f"{count} errors, {len(found.hits)} kinds and places"
        return SanitizerRun(*ids, SanitizerOutcome.FOUND, reason, found.hits, count)
    if found.refusal:
        return SanitizerRun(*ids, SanitizerOutcome.NO_DEVICE, found.refusal)
    if STEP_DONE not in output:
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
        outcome = SanitizerOutcome.FAILED
        if "No CUDA" in last or "no NVIDIA driver" in last or "not compiled with CUDA" in last:
            outcome = SanitizerOutcome.NO_DEVICE
        return SanitizerRun(*ids, outcome, f"exit code {code}: {last}")
    if found.num_errors is None:
        reason = "the tool wrote no summary: nothing is known"
        return SanitizerRun(*ids, SanitizerOutcome.FAILED, reason)
    if found.num_errors:
        reason = f"{found.num_errors} errors that could not be read: run the tool by hand"
        return SanitizerRun(*ids, SanitizerOutcome.FAILED, reason, (), found.num_errors)
    return SanitizerRun(*ids, SanitizerOutcome.CLEAN, f"{run.tool}: no errors in one step")


def _options(found: str, tool: str, log: Path) -> tuple[str, ...]:
    return (
        found,
        f"--tool={tool}",
        f"--log-file={log}",
        f"--error-exitcode={_ERRORS_FOUND}",
        f"--print-limit={_MAX_PRINTED}",
        "--show-backtrace=no",
        "--target-processes=application-only",
        # torch probes the driver with calls that are meant to fail.
        *(("--report-api-errors=no",) if tool == "memcheck" else ()),
    )


def _run(command: Sequence[str], tool: str, time_limit_s: float) -> tuple[int, str]:
    """Exit code and output of the command, which is ended with all that it started.

    Raises:
        TimeoutExpired: it took too long.
        OSError: it could not be started.
    """
    life = Life()
    environment = {
        **os.environ,
        **life.environment(),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    if tool in _UNCACHED:
        environment["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
        pass_fds=(life.handed.fileno(),),
    ) as process:
        life.handed_over()
        try:
            output, _ = process.communicate(timeout=time_limit_s)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            life.end()
    return process.returncode, output
