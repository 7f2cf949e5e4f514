"""`oom-suite ranks SUBJECT...` under torchrun: a tensor-parallel group, by its worst rank."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from oom_suite.cli.options import (
    BudgetText,
    Device,
    Json,
    Scenario,
    Set,
    SubjectsAsForCheck,
    Targets,
    TimeLimit,
    WorkloadName,
)
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import one_target, read_settings
from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.pipeline.ranks.group import Group, heads_of_a_rank, own_gpu
from oom_suite.pipeline.ranks.judging import group_exit_code, judge_group
from oom_suite.pipeline.ranks.run import EXIT_INCONCLUSIVE, RankRun, end_children
from oom_suite.pipeline.ranks.torchrun import say_why
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.processes.ending import Interrupted
from oom_suite.report.files import write_body
from oom_suite.report.output import delivered
from oom_suite.report.ranks import group_line, render_ranks
from oom_suite.report.screen import say_error, screen
from oom_suite.subjects import builtin_names, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.pipeline.ranks.exchange import Answer
    from oom_suite.pipeline.ranks.group import Heads
    from oom_suite.pipeline.settings import Settings

EXIT_USAGE = 2
_RANK_0_FIRST_S = 20.0
"""Seconds that another rank leaves rank 0 to refuse what no rank can run."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command("ranks")
    def ranks_command(
        subjects: SubjectsAsForCheck = None,
        *,
        scenario: Scenario = None,
        sizes: Set = None,
        workload: WorkloadName = "decode",
        device: Device = "cuda",
        heads_total: Annotated[
            int | None, typer.Option("--heads-total", help="heads of the whole group", min=1)
        ] = None,
        model: Annotated[
            str | None, typer.Option("--model", help="whose heads; DeepSeek-V4-Flash by default")
        ] = None,
        target: Targets = None,
        budget: BudgetText = None,
        time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
        json: Json = None,
    ) -> None:
        """Measure each rank of a tensor-parallel group on its own device; judge the worst.

        torchrun --standalone --nproc-per-node 8 -m oom_suite ranks SUBJECT...

        Exits as check does, on every rank alike; torchrun itself exits 1 for any code but 0.
        """
        group = Group.of(os.environ)
        try:
            heads = heads_of_a_rank(heads_total, model, group.world_size)
            settings = read_settings(
                scenario,
                _with_heads(sizes or [], heads),
                workload,
                "measure",
                device,
                one_target(target),
                budget,
                time_limit,
                None,
            )
            named = [parse(subject).text for subject in subjects or builtin_names()]
            own = own_gpu(group, device, os.environ)
        except OomSuiteError as error:
            _refuse(error, group)
        # torch's driver reads it when it starts, in the children that measure.
        os.environ.update(own)
        where = ",".join(f"{name}={entry}" for name, entry in own.items())
        try:
            run = RankRun(group, time_limit)
            code, message = _run(run, group, named, settings, heads, where, json)
        except OomSuiteError as error:
            # The store cannot be reached, or is gone.
            code, message = EXIT_INCONCLUSIVE, str(error)
            say_error(error)
        except Interrupted as error:
            code, message = error.exit_code, str(error)
            say_error(error)
        _end(code, message, group)


def is_spoken_for(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether this is a rank that torchrun ends because rank 0 has ended, which says why."""
    return [*words[:1]] == ["ranks"] and environ.get("RANK", "0") != "0"


def _with_heads(overrides: Sequence[str], heads: Heads) -> list[str]:
    if any(text.partition("=")[0].strip() == "num_heads" for text in overrides):
        msg = "--set num_heads is divided among the ranks: give --heads-total instead"
        raise UsageError(msg)
    return [*overrides, f"num_heads={heads.each}"]


def _refuse(error: OomSuiteError, group: Group) -> NoReturn:
    """End every rank in the same way; rank 0 alone says why."""
    if group.rank == 0:
        say_error(error)
    else:
        # The first rank that ends has torchrun end the others: rank 0 must have printed it by then.
        with contextlib.suppress(Interrupted):
            time.sleep(_RANK_0_FIRST_S)
    say_why(f"oom-suite: {error}", EXIT_USAGE, group, os.environ)
    raise typer.Exit(EXIT_USAGE)


def _run(
    run: RankRun,
    group: Group,
    subjects: list[str],
    settings: Settings,
    heads: Heads,
    where: str,
    json: Path | None,
) -> tuple[int, str]:
    """The group's exit code, and its verdict in words."""
    with Progress(quiet=group.rank > 0) as progress:
        run.measure(subjects, settings, where or "cpu", progress.finish)
    if group.rank:
        code, why = run.shared()
        # One of the others speaks for them all.
        if why and group.rank == 1:
            say_error(why)
        return code, why or "as rank 0 says"
    return _conclude(run, run.gather(), subjects, settings, heads, json)


def _conclude(
    run: RankRun,
    answers: Mapping[int, Answer],
    subjects: list[str],
    settings: Settings,
    heads: Heads,
    json: Path | None,
) -> tuple[int, str]:
    groups = judge_group(subjects, settings, answers, heads.each)
    code = group_exit_code(groups)
    render_ranks(groups, str(heads), screen())
    sys.stdout.flush()
    if json is not None:
        split = {"world_size": len(answers), "num_heads": heads.total, "heads_of": heads.source}
        body = {"group": split, "subjects": [one.to_json() for one in groups]}
        delivered(write_body, body, json)
    run.share(code)
    bad = [group_line(one) for one in groups if group_exit_code([one])]
    return code, "\n".join(bad)


def _end(code: int, message: str, group: Group) -> NoReturn:
    """End this process with the group's code, whatever its threads still wait for."""
    if code:
        say_why(message, code, group, os.environ)
    end_children()
    sys.stdout.flush()
    sys.stderr.flush()
    # An orderly exit would wait for a measurement that does not end.
    os._exit(code)
