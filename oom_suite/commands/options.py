"""The options that `law` and `lock` share with the other commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from oom_suite.check import Settings
from oom_suite.lockfile import DEFAULT_FILE

ReadSettings = Callable[..., Settings]
"""Gives the settings that options spell, in the order of the command line."""

Subjects = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SUBJECT]...", help="as for check; the built-ins when none is given"),
]
Scenario = Annotated[
    str, typer.Option("--scenario", help="named sizes: small, production or issue-41962")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="AXIS=VALUE", help="one size of the scenario; repeatable"),
]
WorkloadName = Annotated[str, typer.Option("--workload", help="what is run: decode, decode-swa")]
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
LockFile = Annotated[
    str, typer.Option("--file", metavar="FILE", help=f"the lockfile; {DEFAULT_FILE} by default")
]
Locked = Annotated[
    bool, typer.Option("--locked", help="fail when a law grew since it was locked (see lock)")
]
