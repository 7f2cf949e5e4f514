"""The options of the commands, each in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oom_suite.cli import checked

Subjects = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SUBJECT]...",
        help="a built-in, vllm, vllm==VERSION, vllm@PATH, FILE.py:FUNCTION or module:function; "
        "the built-ins when none is given",
    ),
]
SubjectsAsForCheck = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SUBJECT]...", help="as for check; the built-ins when none is given"),
]
Stub = Annotated[
    list[str] | None,
    typer.Option(
        "--stub",
        metavar="PACKAGE",
        help="a package that the code imports and that stubs replace; repeatable",
    ),
]
Package = Annotated[
    str | None,
    typer.Option(
        "--package", help="the package that a fork at vllm@PATH is laid out as, such as vllm_hcu"
    ),
]
Scenario = Annotated[
    str | None,
    typer.Option(
        "--scenario",
        help="named sizes of the workload, for decode small, production or issue-41962",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="AXIS=VALUE", help="one size of the scenario; repeatable"),
]
WorkloadName = Annotated[
    str, typer.Option("--workload", help="what is run, such as decode or decode-swa")
]
OneWorkload = Annotated[
    str | None,
    typer.Option(
        "--workload", help="what is run, such as decode-swa; by default the subject's first"
    ),
]
EveryWorkload = Annotated[
    str | None,
    typer.Option(
        "--workload",
        help="what is run, such as decode-swa; by default all that the subject has code for",
    ),
]
Lane = Annotated[
    str, typer.Option("--lane", help="shadow (no memory), or measure (real tensors beside it)")
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="where measure runs: cpu, cuda or cuda:1 (HIP devices are cuda)",
        callback=checked.device,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "--arch",
        metavar="TARGET",
        help="the device that the law is for: cuda:sm_90, rocm:gfx942, rocm:gfx950, cpu, a "
        "device's name (MI325X, H200), or generic; check takes several, with commas or repeated",
    ),
]
BudgetText = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help="free bytes (12.74GiB), free for what --device has free, or a device's total (MI325X)",
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit", help="seconds that one run may take", min=0.1, callback=checked.seconds
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option("--memory-limit", help="address space a child may add, such as 2GiB"),
]
Repeat = Annotated[
    int, typer.Option("--repeat", help="measure each call this many times; all must agree", min=1)
]
Unexplained = Annotated[
    str,
    typer.Option(
        "--unexplained",
        metavar="BYTES",
        help="bytes that the measure lane may find beyond the prediction",
    ),
]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="write the results to this file as they come; - for standard output",
        callback=checked.json_file,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="write a page with the chart, to open in a browser",
        callback=checked.page_file,
    ),
]
Report = Annotated[
    list[str] | None,
    typer.Option(
        "--report",
        metavar="NAME=FILE",
        help="write the results with json, html or an installed package's reporter; repeatable",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="only what is not as expected")]
LockFile = Annotated[str, typer.Option("--file", metavar="FILE", help="the lockfile")]
WrittenLockFile = Annotated[
    str,
    typer.Option("--file", metavar="FILE", help="the lockfile", callback=checked.lock_file),
]
Locked = Annotated[
    bool, typer.Option("--locked", help="fail when a law grew since it was locked (see lock)")
]
Safety = Annotated[
    bool,
    typer.Option(
        "--safety", help="judge memory safety instead: reads, writes, indices, addresses ..."
    ),
]
