"""`oom-suite record` and `oom-suite history`: results kept over time, in SQLite or PostgreSQL.

They come in by the door that other packages' commands come in by: nothing of the suite imports
them. SQLAlchemy (the extra ``history``) is imported when one of them runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def oom_commands(app: typer.Typer) -> None:
    """Adds ``record`` and ``history``."""
    from oom_suite.history.command import register

    register(app)
