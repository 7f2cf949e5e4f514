"""`oom-suite bench`: how fast kernels are on this GPU, and what they take beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oom_suite.cli.options import Json
from oom_suite.cli.progress import Progress
from oom_suite.records.bench import Bench
from oom_suite.report.bench import read_bench, refuse_other_device, render_bench, worse_lines
from oom_suite.report.output import Output
from oom_suite.report.screen import say, say_error, screen

_WORSE, _UNTIMED = 1, 3


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("bench")
    def bench_command(
        *,
        only: Annotated[
            list[str] | None,
            typer.Option("--only", metavar="PART", help="gather, decode or prefill; repeatable"),
        ] = None,
        subject: Annotated[
            list[str] | None,
            typer.Option(
                "--subject",
                metavar="SUBJECT",
                help="what is timed, and not the usual ones: sparse, dense, fused, flash_mla, "
                "union, a built-in, FILE.py:FUNCTION or module:function; repeatable",
            ),
        ] = None,
        peer: Annotated[
            list[str] | None,
            typer.Option(
                "--peer",
                metavar="SUBJECT",
                help="whose decode step and prefill are timed beside; by default vllm==0.33.0, and "
                "vllm==0.22.0 for decode; repeatable",
            ),
        ] = None,
        compare: Annotated[
            Path | None,
            typer.Option(
                "--compare",
                metavar="FILE",
                help="what an earlier --json has: name what is slower or takes more now",
            ),
        ] = None,
        json: Json = None,
    ) -> None:
        """Time kernels on this GPU, memory and time in one table, beside a copy's bandwidth.

        At each shape one subject is timed after the other: the median of seven replays of a graph
        of its calls, which rotate over more inputs than the last cache holds. Exits 0 when
        something was timed, 1 when --compare finds it slower by a tenth or taking more, 2 on bad
        usage, 3 when nothing could be timed, as without a GPU.
        """
        # Only who runs it waits for what running imports.
        from oom_suite.pipeline.bench.run import NoGpuError, Options, bench

        options = Options.of(only or (), subject or (), peer or ())
        before = None if compare is None else read_bench(compare)
        known = [Bench()]

        def keep(found: Bench) -> None:
            if before is not None and known[0].device is None:
                refuse_other_device(before, found)
            known[0] = found
            output.keep()

        with Output(json, lambda: known[0].to_json(), row_key="rows") as output:
            try:
                with Progress() as progress:
                    found = bench(options, keep, progress.update)
            except NoGpuError as error:
                say_error(error)
                raise typer.Exit(_UNTIMED) from error
            render_bench(found, screen())
            worse = [] if before is None else list(worse_lines(before, found))
            for line in worse:
                say(line)
            output.finish()
        raise typer.Exit(_UNTIMED if not found.is_timed else _WORSE if worse else 0)
