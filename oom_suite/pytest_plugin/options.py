"""The plugin's options: written on the command line or in the ini file, read in one place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import pytest

from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import only_arch
from oom_suite.laws.lockfile import read as read_lockfile
from oom_suite.pipeline.settings import MAX_TIME_LIMIT_S
from oom_suite.records import Scenario
from oom_suite.report.files import refuse_unwritable
from oom_suite.subjects import builtin_names, parse
from oom_suite.targets.budgets import budget
from oom_suite.targets.default import default_targets
from oom_suite.targets.target import targets
from oom_suite.workloads.sparse_mla.geometry.scenarios import ISSUE_41962, resize, scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from oom_suite.targets.budgets import Budget

    T = TypeVar("T")

DEFAULT_TIME_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Spelling:
    """One option, on the command line ``--oom-<name>``, in the ini file ``oom_<name>``."""

    name: str
    metavar: str
    help: str
    is_list: bool = False

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--oom-{self.name}"

    @property
    def ini(self) -> str:
        """Its name in the ini file."""
        return f"oom_{self.name.replace('-', '_')}"


SPELLINGS = (
    Spelling(
        "subject",
        "SUBJECT",
        "the code under test: a built-in, vllm, vllm==VERSION, vllm@PATH, PATH.py:FUNCTION or "
        "module:function; repeatable, or several with commas; the built-ins by default",
        is_list=True,
    ),
    Spelling("scenario", "NAME", "named sizes: small, production or issue-41962 (the default)"),
    Spelling(
        "set",
        "AXIS=VALUE",
        "one size of the scenario; repeatable, or several with commas",
        is_list=True,
    ),
    Spelling(
        "device",
        "DEVICE",
        "cpu or cuda (AMD's devices too): measure there as well; without it nothing but the "
        "shadow lane runs, which needs no device and no memory",
    ),
    Spelling(
        "budget",
        "BUDGET",
        "a device (MI325X, H200, ...: its total), free bytes (12.74GiB), or free",
    ),
    Spelling(
        "target",
        "TARGET",
        "the device that laws are for: cuda:sm_90, rocm:gfx942, rocm:gfx950, cpu, a device's name "
        "(MI325X, H200), or generic; repeatable, or several with commas: each is judged",
        is_list=True,
    ),
    Spelling("arch", "TARGET", "an older name of --oom-target", is_list=True),
    Spelling("time-limit", "SECONDS", f"limit of one run of a subject ({DEFAULT_TIME_LIMIT_S:g})"),
    Spelling(
        "test-time-limit",
        "SECONDS",
        "limit of a whole test, which ends inconclusive with what is known so far (none)",
    ),
    Spelling("locked", "FILE", "the lockfile (oom-laws.toml) that no law may have outgrown"),
    Spelling("json", "FILE", "write every result to this file when the session ends"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the options ask for.

    Attributes:
        subjects: spellings, each once, in the order given.
        scenario: the scenario, resized as asked.
        device: where the measure lane runs; None for no measure lane.
        budget: what a peak has to fit in; None for no budget.
        targets: whom laws are for, each once, in the order given.
        time_limit_s: seconds that one run may take.
        test_time_limit_s: seconds that all runs of a test may take; None for no limit.
        json: where the results go; None for nowhere.
        locked: the lockfile that laws are held to; None for none.
    """

    subjects: tuple[str, ...]
    scenario: Scenario
    device: str | None
    budget: Budget | None
    targets: tuple[str, ...]
    time_limit_s: float
    test_time_limit_s: float | None
    json: Path | None
    locked: Path | None

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that these options select."""
        return ("shadow",) if self.device is None else ("shadow", "measure")


def declare(parser: pytest.Parser) -> None:
    """Nothing; afterwards pytest knows every option, none of them with a value."""
    group = parser.getgroup("oom_suite", "memory laws of tensor code (oom_suite)")
    for option in SPELLINGS:
        group.addoption(
            option.flag,
            action="append" if option.is_list else "store",
            default=None,
            metavar=option.metavar,
            help=option.help,
        )
        kind: Literal["linelist", "string"] = "linelist" if option.is_list else "string"
        parser.addini(option.ini, f"the same as {option.flag}", type=kind, default=None)


def resolve(config: pytest.Config) -> Options:
    """What the command line asks for, else the ini file, else the defaults.

    Raises:
        pytest.UsageError: a value cannot be used; one line, with the option and what it takes.
    """
    folder = config.invocation_params.dir
    # A worker whose own GPU is lost must not end the run: its measurements say so.
    is_worker = hasattr(config, "workerinput")
    chosen = _read(config, "scenario", scenario, ISSUE_41962)
    sizes = _read(config, "set", lambda text: resize(chosen.sizes, _sizes(text)), chosen.sizes)
    device = _read(config, "device", _known_device if is_worker else _device, None)
    locked = _read(config, "locked", lambda text: _locked(folder / text), None)
    return Options(
        subjects=_read(config, "subject", _subjects, builtin_names()),
        scenario=Scenario(chosen.name, sizes, chosen.summary, chosen.free_bytes),
        device=device,
        budget=_read(config, "budget", lambda text: _budget(text, device), None),
        targets=_read(config, _asked_by(config), _targets, ()) or _default_targets(locked),
        time_limit_s=_read(config, "time-limit", _time_limit_s, DEFAULT_TIME_LIMIT_S),
        test_time_limit_s=_read(config, "test-time-limit", _time_limit_s, None),
        json=_read(config, "json", lambda text: _json(folder / text), None),
        locked=locked,
    )


def _budget(text: str, device: str | None) -> Budget:
    from oom_suite.pipeline.free_budget import free_budget

    return budget(text, lambda: free_budget(device or "cpu"))


def missing_gpu() -> str:
    """Why no GPU can be used here, in one clause; empty when one can."""
    try:
        import torch
    except ImportError:
        return "there is no torch here"
    if torch.cuda.is_available():
        return ""
    return f"torch {torch.__version__} sees no GPU here (torch.cuda.is_available() is False)"


def _read(config: pytest.Config, name: str, read: Callable[[str], T], default: T) -> T:
    option = next(option for option in SPELLINGS if option.name == name)
    written, where = config.getoption(option.flag), option.flag
    if written is None:
        written, where = config.getini(option.ini), f"{option.ini} in the ini file"
    if not written and not isinstance(written, str):
        return default
    text = written if isinstance(written, str) else ",".join(written)
    try:
        return read(text.strip())
    except UsageError as error:
        raise pytest.UsageError(f"{where}: {error}") from None


def _listed(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _subjects(text: str) -> tuple[str, ...]:
    subjects = tuple(dict.fromkeys(parse(part).text for part in _listed(text)))
    if not subjects:
        raise UsageError("names no subject; leave it out for the built-ins")
    return subjects


def _sizes(text: str) -> Mapping[str, int]:
    sizes: dict[str, int] = {}
    for part in _listed(text):
        axis, _, value = part.partition("=")
        if not re.fullmatch(r"\d[\d_]*", value.strip()):
            raise UsageError(f"{part!r} is not AXIS=VALUE; write it like num_blocks=512")
        axis = axis.strip()
        if axis in sizes:
            raise UsageError(
                f"gives {axis} twice, as {sizes[axis]} and {int(value)}: leave one out"
            )
        sizes[axis] = int(value)
    return sizes


def _known_device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        hint = "; torch calls AMD's devices cuda too" if text in {"hip", "rocm"} else ""
        raise UsageError(f"unknown device {text!r}: choose cpu or cuda{hint}")
    return text


def _device(text: str) -> str:
    _known_device(text)
    if text != "cpu" and (reason := missing_gpu()):
        raise UsageError(f"device {text!r} cannot be used: {reason}")
    return text


def _asked_by(config: pytest.Config) -> str:
    """The name under which targets are asked for: the command line's before the ini file's."""
    names = ("target", "arch")
    options = [option for name in names for option in SPELLINGS if option.name == name]
    written = [option for option in options if config.getoption(option.flag) is not None]
    return (written or [one for one in options if config.getini(one.ini)] or options)[0].name


def _targets(text: str) -> tuple[str, ...]:
    if not (found := targets(text)):
        raise UsageError("names no target; leave it out for the usual one")
    return found


def _default_targets(locked: Path | None) -> tuple[str, ...]:
    arch = "" if locked is None else only_arch(locked)
    try:
        return (arch,) if arch else default_targets()
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _time_limit_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"{text!r} is not a number of seconds; write it like 60")
    if seconds > MAX_TIME_LIMIT_S:
        raise UsageError(f"{text!r}: give at most {MAX_TIME_LIMIT_S:,.0f} seconds, a week")
    return seconds


def _locked(path: Path) -> Path:
    # Read here once, so that a file of another format stops the run before anything is judged.
    read_lockfile(path)
    return path


def _json(path: Path) -> Path:
    if path.name == "-":
        raise UsageError("'-' is for what pytest itself prints; give a file")
    refuse_unwritable(path)
    return path
