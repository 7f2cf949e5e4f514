"""The commands: check, probe, bisect; law and lock, which `commands` adds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from oom_suite.bisect.releases import bisect_releases
from oom_suite.budgets import budget as find_budget
from oom_suite.check import (
    DEFAULT_TIME_LIMIT_S,
    Settings,
    check,
    check_all,
    exit_code,
)
from oom_suite.commands import law, lock, locked
from oom_suite.commands.options import Locked, LockFile
from oom_suite.errors import OomSuiteError, UsageError, unknown
from oom_suite.geometry.scenarios import resize, scenario
from oom_suite.lockfile import DEFAULT_FILE
from oom_suite.progress import Progress
from oom_suite.records import Verdict
from oom_suite.records.lock import Difference
from oom_suite.report.bisection import render_bisection
from oom_suite.report.html import read_sources, write_check_page
from oom_suite.report.json_file import write as write_json
from oom_suite.report.lock_diff import render_differences
from oom_suite.report.terminal import render
from oom_suite.subjects.spec import BUILTIN_NAMES, SubjectKind, parse
from oom_suite.subjects.vllm.releases import obtain
from oom_suite.subjects.vllm.tree import installed_root, open_tree
from oom_suite.units import parse_bytes
from oom_suite.workloads.catalog import workload as find_workload

EXIT_USAGE = 2
EXIT_CANNOT_JUDGE = 125
LANES = ("shadow", "measure")
ARCHS = ("generic", "gfx942", "gfx950")

app = typer.Typer(
    name="oom-suite",
    help="Proves how the peak memory of tensor code depends on each size.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Subjects = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SUBJECT]...",
        help="a built-in, vllm, vllm==VERSION, vllm@PATH, FILE.py:FUNCTION or module:function; "
        "the built-ins when none is given",
    ),
]
Scenario = Annotated[
    str, typer.Option("--scenario", help="named sizes: small, production or issue-41962")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="AXIS=VALUE", help="one size of the scenario; repeatable"),
]
WorkloadName = Annotated[str, typer.Option("--workload", help="what is run: decode, decode-swa")]
Lane = Annotated[
    str, typer.Option("--lane", help="shadow (no memory), or measure (real tensors beside it)")
]
Device = Annotated[
    str, typer.Option("--device", help="where measure runs: cpu or cuda (HIP devices too)")
]
Arch = Annotated[
    str, typer.Option("--arch", help="the GPU the code is told it is on: generic, gfx942, gfx950")
]
BudgetText = Annotated[
    str | None,
    typer.Option("--budget", help="a device (MI325X, H200, ...) or free bytes such as 12.74GiB"),
]
TimeLimit = Annotated[
    float, typer.Option("--time-limit", help="seconds that one run may take", min=0.1)
]
MemoryLimit = Annotated[
    str | None,
    typer.Option("--memory-limit", help="address space a child may add, such as 2GiB"),
]
Json = Annotated[Path | None, typer.Option("--json", help="write the results to this file")]
Html = Annotated[
    Path | None, typer.Option("--html", help="write a page with the chart, to open in a browser")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="only what is not as expected")]


@app.command("check")
def check_command(  # noqa: PLR0913 - one parameter for each option
    subjects: Subjects = None,
    *,
    scenario: Scenario = "issue-41962",
    sizes: Set = None,
    workload: WorkloadName = "decode",
    lane: Lane = "shadow",
    device: Device = "cpu",
    arch: Arch = "generic",
    budget: BudgetText = None,
    time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
    memory_limit: MemoryLimit = None,
    json: Json = None,
    html: Html = None,
    quiet: Quiet = False,
    against_lock: Locked = False,
    file: LockFile = DEFAULT_FILE,
) -> None:
    """Judge subjects: their law, their peak, the contract, the budget, the line to blame.

    Exits 0 when all are as expected, 1 when a contract is broken or a locked law grew, 2 on
    bad usage, 3 when a subject cannot be judged or has no locked law.
    """
    settings = read_settings(
        scenario, sizes or [], workload, lane, device, arch, budget, time_limit, memory_limit
    )
    if file != DEFAULT_FILE and not against_lock:
        msg = f"--file {file!r} names the lockfile that --locked compares with: add --locked"
        raise UsageError(msg)
    differences: list[Difference] = []
    with Progress(quiet=quiet) as progress:
        if against_lock:
            results, differences = locked.check_locked(
                subjects, settings, file, progress.update, progress.finish
            )
        else:
            results = check_all(
                subjects or list(BUILTIN_NAMES), settings, progress.update, progress.finish
            )
    render(results, Console(), quiet=quiet)
    if against_lock:
        render_differences(differences, Console(), quiet=quiet)
    if json is not None:
        write_json(results, json)
    if html is not None:
        write_check_page(results, html, read_sources(results, source_folders))
    raise typer.Exit(locked.worst(exit_code(results), locked.exit_code(differences)))


@app.command("probe")
def probe_command(  # noqa: PLR0913 - one parameter for each option
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="as for check")],
    *,
    scenario: Scenario = "issue-41962",
    sizes: Set = None,
    workload: WorkloadName = "decode",
    arch: Arch = "generic",
    budget: BudgetText = None,
    time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
) -> None:
    """Judge one subject for `git bisect run`: exit 0 good, 1 bad, 125 cannot be judged.

    In a checkout of vLLM: git bisect run oom-suite probe vllm@.
    """
    settings = read_settings(
        scenario, sizes or [], workload, "shadow", "cpu", arch, budget, time_limit, None
    )
    result = check(parse(subject), settings)
    typer.echo(f"{result.verdict.value} {result.subject}: {result.reason}")
    codes = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: EXIT_CANNOT_JUDGE}
    raise typer.Exit(codes[result.verdict])


@app.command("bisect")
def bisect_command(  # noqa: PLR0913 - one parameter for each option
    *,
    bad: Annotated[str, typer.Option("--bad", help="a release that fails, vllm==VERSION")],
    good: Annotated[
        str | None,
        typer.Option("--good", help="one that passes, older or newer; the newest by default"),
    ] = None,
    scenario: Scenario = "issue-41962",
    sizes: Set = None,
    workload: WorkloadName = "decode",
    arch: Arch = "generic",
    budget: BudgetText = None,
    time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
    json: Json = None,
) -> None:
    """Find the release between a good and a bad one at which the verdict changes."""
    settings = read_settings(
        scenario, sizes or [], workload, "shadow", "cpu", arch, budget, time_limit, None
    )
    with Progress() as progress:
        found = bisect_releases(good, bad, settings, progress.update, progress.finish)
    render_bisection(found, Console())
    if json is not None:
        write_json(found.tried, json)


def read_settings(  # noqa: PLR0913, PLR0917 - the options, once, in the order of the command line
    scenario_name: str,
    overrides: list[str],
    workload: str,
    lane: str,
    device: str,
    arch: str,
    budget: str | None,
    time_limit_s: float,
    memory_limit: str | None,
) -> Settings:
    """The settings that these options spell.

    Raises:
        UsageError: one of them is not understood.
    """
    if lane not in LANES:
        raise unknown("lane", lane, LANES)
    if arch not in ARCHS:
        raise unknown("architecture", arch, ARCHS)
    chosen = scenario(scenario_name)
    return Settings(
        scenario=chosen.name,
        sizes=resize(chosen.sizes, dict(_override(text) for text in overrides)),
        workload=find_workload(workload),
        lane=lane,
        device=device,
        arch=arch,
        budget=None if budget is None else find_budget(budget),
        time_limit_s=time_limit_s,
        memory_limit_bytes=None if memory_limit is None else parse_bytes(memory_limit),
    )


def source_folders(subject: str) -> tuple[Path, ...]:
    """The folders that the source paths of a subject's result may be relative to."""
    spec = parse(subject)
    try:
        if spec.kind is SubjectKind.VLLM_RELEASE:
            return (obtain(str(spec.version)),)
        if spec.kind is SubjectKind.VLLM_TREE:
            return (open_tree(str(spec.path)),)
        if spec.kind is SubjectKind.VLLM_INSTALLED:
            return (installed_root(),)
    except OomSuiteError:  # the tree is gone since it was judged
        return ()
    if spec.kind is SubjectKind.BUILTIN:
        return (Path(__file__).parents[1],)
    return (Path.cwd(), Path(spec.path or ".").expanduser().parent)


def _override(text: str) -> tuple[str, int]:
    axis, equals, value = text.partition("=")
    if not equals or not axis.strip():
        msg = f"--set {text!r} is not AXIS=VALUE; write it like --set num_blocks=512"
        raise UsageError(msg)
    try:
        return axis.strip(), int(value.replace("_", "").replace(",", ""))
    except ValueError:
        msg = f"--set {text!r}: {value!r} is not a whole number; write it like --set num_blocks=512"
        raise UsageError(msg) from None


law.register(app, read_settings)
lock.register(app, read_settings)


def main() -> NoReturn:
    """Run the command line; an error of the suite is one line and exit code 2."""
    try:
        app()
    except OomSuiteError as error:
        sys.stderr.write(f"oom-suite: {error}\n")
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        sys.stderr.write("oom-suite: interrupted\n")
        sys.exit(130)
    sys.exit(0)
