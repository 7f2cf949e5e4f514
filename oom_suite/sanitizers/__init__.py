"""`oom-suite sanitize`: runs a step under a sanitizer of the device's maker, and reads its report.

It comes in by the door that other packages' commands come in by: nothing of the suite imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def oom_commands(app: typer.Typer) -> None:
    """Adds ``sanitize``."""
    from oom_suite.sanitizers.command import register

    register(app)
