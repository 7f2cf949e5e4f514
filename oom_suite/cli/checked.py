"""What is refused while options are read: a value that nothing could be done with later."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from importlib import util
from pathlib import Path

import typer

from oom_suite.errors import UsageError
from oom_suite.pipeline.settings import MAX_TIME_LIMIT_S
from oom_suite.report.files import STDOUT, refuse_unwritable

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_OURS_CALLED_CUDA = frozenset({"hip", "rocm", "amd"})
_PACKAGES_OF_A_PAGE = ("jinja2", "markupsafe", "plotly")
_TAKEN = "oom_suite.outputs"


def json_file(
    context: typer.Context, option: typer.CallbackParam, path: Path | None
) -> Path | None:
    """The file, or ``-`` for standard output, which then has nothing else.

    Raises:
        UsageError: it cannot be written, or another option writes there.
    """
    if path == STDOUT and not context.resilient_parsing:
        _take(context, option, path)
        # What people read goes where they still see it.
        context.with_resource(contextlib.redirect_stdout(sys.stderr))
        return path
    return output_file(context, option, path)


def output_file(
    context: typer.Context, option: typer.CallbackParam, path: Path | None
) -> Path | None:
    """The file.

    Raises:
        UsageError: it cannot be written, or another option writes there.
    """
    if path is None or context.resilient_parsing:
        return path
    refuse_output(context, _flag(option), path)
    return path


def page_file(
    context: typer.Context, option: typer.CallbackParam, path: Path | None
) -> Path | None:
    """The file of an HTML page.

    Raises:
        UsageError: as of `output_file`; or a package that pages need is not installed.
    """
    if path is not None and not context.resilient_parsing:
        refuse_page(_flag(option))
    return output_file(context, option, path)


def lock_file(context: typer.Context, option: typer.CallbackParam, path: str) -> str:
    """The lockfile to write.

    Raises:
        UsageError: as of `output_file`.
    """
    output_file(context, option, Path(path))
    return path


def refuse_output(context: typer.Context, flag: str, path: Path) -> None:
    """Nothing, where this option can write this file, and none before it does.

    Raises:
        UsageError: it cannot.
    """
    if path == STDOUT:
        raise UsageError(f"{flag} -: only JSON goes to standard output, with --json -; give a file")
    try:
        refuse_unwritable(path)
    except UsageError as error:
        raise UsageError(f"{flag}: {error}") from error
    _take(context, flag, path)


def refuse_page(flag: str) -> None:
    """Nothing, where HTML pages can be written.

    Raises:
        UsageError: a package is not installed.
    """
    for name in _PACKAGES_OF_A_PAGE:
        if util.find_spec(name) is None:
            msg = f"{flag}: an HTML page needs {name}, which is not installed: "
            raise UsageError(msg + "pip install oom-suite[report]")


def _take(context: typer.Context, option: typer.CallbackParam | str, path: Path) -> None:
    flag = option if isinstance(option, str) else _flag(option)
    taken: dict[Path, str] = context.meta.setdefault(_TAKEN, {})
    where = path if path == STDOUT else path.resolve()
    if where in taken:
        raise UsageError(f"{taken[where]} and {flag} both write {str(path)!r}: give two files")
    taken[where] = flag


def _flag(option: typer.CallbackParam) -> str:
    return option.opts[0]


def snapshot_folder(context: typer.Context, path: Path | None) -> Path | None:
    """The folder, which may be made.

    Raises:
        UsageError: nothing can be written there.
    """
    if path is None or context.resilient_parsing:
        return path
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not there.is_dir():
        raise UsageError(f"--snapshot {str(path)!r}: {str(there)!r} is no folder; give another")
    refuse_unwritable(there / "snapshot")
    return path


def device(option: typer.CallbackParam, text: str | None) -> str | None:
    """The device, whether or not this machine has it.

    Raises:
        UsageError: torch has no such device, or the suite cannot measure on it.
    """
    if text is not None and _DEVICE.fullmatch(text) is None:
        hint = "; torch calls AMD's devices cuda too" if text.lower() in _OURS_CALLED_CUDA else ""
        raise UsageError(f"{_flag(option)} {text!r}: choose cpu, cuda or cuda:N{hint}")
    return text


def seconds(option: typer.CallbackParam, value: float | None) -> float | None:
    """The seconds.

    Raises:
        UsageError: they are no number, or more than the system can wait for.
    """
    if value is not None and not (math.isfinite(value) and value <= MAX_TIME_LIMIT_S):
        msg = f"{_flag(option)} {value:g}: give at most {MAX_TIME_LIMIT_S:,.0f} seconds, a week"
        raise UsageError(msg)
    return value
