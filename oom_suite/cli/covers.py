"""`oom-suite covers RELEASE`: which steps of a server its profile run does not cover."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from oom_suite.cli.options import Json, Targets, TimeLimit
from oom_suite.cli.progress import Progress
from oom_suite.cli.settings import one_target
from oom_suite.errors import UsageError, unknown
from oom_suite.pipeline.check import exit_code
from oom_suite.pipeline.serving import Server, chosen_steps, covers, find_profile
from oom_suite.pipeline.settings import DEFAULT_TIME_LIMIT_S
from oom_suite.records.serving import CoversReport, Slack, StepResult
from oom_suite.report.covers import render_covers
from oom_suite.report.output import Output
from oom_suite.report.screen import screen
from oom_suite.subjects import parse
from oom_suite.targets.budgets import budget as find_budget
from oom_suite.units import MIB, parse_bytes
from oom_suite.workloads.sparse_mla.geometry.models import MODELS
from oom_suite.workloads.sparse_mla.geometry.scenarios import PRODUCTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oom_suite.records import Result
    from oom_suite.records.covering import Step
    from oom_suite.workloads.sparse_mla.geometry.models import Model

_SERVED = {name.lower(): model for name, model in MODELS.items() if model.window_tokens}
_DEFAULT_MODEL = "deepseek-v4-flash"
_DEFAULT_UTILIZATION = 0.92
"""vLLM's own, from 0.21.0 to 0.33.0: `vllm/config/cache.py`, `gpu_memory_utilization`."""

_MOST = 1 << 24
"""The largest number of tokens, requests or blocks: far above any server's."""

ModelName = Annotated[str, typer.Option("--model", help=f"{' or '.join(_SERVED)}")]
ContextTokens = Annotated[
    int, typer.Option("--max-model-len", min=256, max=_MOST, help="as the server has it")
]
StepTokens = Annotated[
    int, typer.Option("--max-num-batched-tokens", min=64, max=_MOST, help="as the server has it")
]
Requests = Annotated[
    int, typer.Option("--max-num-seqs", min=1, max=_MOST, help="as the server has it")
]
Guessed = Annotated[
    int,
    typer.Option(
        "--num-speculative-tokens", min=0, max=_MOST, help="tokens that are guessed for a request"
    ),
]
Ranks = Annotated[
    int, typer.Option("--tensor-parallel-size", "-tp", min=1, max=_MOST, help="as the server has")
]
Blocks = Annotated[
    int,
    typer.Option(
        "--num-gpu-blocks", min=1, max=_MOST, help="blocks of every pool, as the server logs them"
    ),
]
Figures = Annotated[
    list[str] | None,
    typer.Option(
        "--profile-bytes",
        metavar="[STEP=]BYTES",
        help="what the profile run took, measured, in the place of a step or of each; repeatable",
    ),
]
Steps = Annotated[
    list[str] | None, typer.Option("--step", help="a step to judge, all by default; repeatable")
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", help="the device (MI325X, 256GiB): is more uncovered than it leaves?"),
]
Utilization = Annotated[
    float,
    typer.Option("--gpu-memory-utilization", min=0.01, max=1.0, help="as the server has it"),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("covers")(covers_command)


def covers_command(
    release: Annotated[str, typer.Argument(metavar="RELEASE", help="such as vllm==0.33.0")],
    *,
    model: ModelName = _DEFAULT_MODEL,
    max_model_len: ContextTokens = 131_072,
    max_num_batched_tokens: StepTokens = 8192,
    max_num_seqs: Requests = 256,
    num_speculative_tokens: Guessed = 0,
    tensor_parallel_size: Ranks = 8,
    num_gpu_blocks: Blocks = PRODUCTION.sizes["swa_num_blocks"],
    step: Steps = None,
    profile_bytes: Figures = None,
    memory: Memory = None,
    gpu_memory_utilization: Utilization = _DEFAULT_UTILIZATION,
    target: Targets = None,
    time_limit: TimeLimit = DEFAULT_TIME_LIMIT_S,
    json: Json = None,
) -> None:
    """Show which steps of a server its profile run does not cover, at which sizes, by how much.

    Exits 0 when every step is covered, 1 when one is not, 2 on bad usage, 3 when one cannot be
    decided.
    """
    spec, on = parse(release), one_target(target)
    profile = find_profile(spec, on)
    steps = chosen_steps(profile, step or ())
    server = Server(
        model=_model(model),
        max_model_len=max_model_len,
        max_num_batched_tokens=max_num_batched_tokens,
        max_num_seqs=max_num_seqs,
        num_speculative_tokens=num_speculative_tokens,
        tensor_parallel_size=tensor_parallel_size,
        num_gpu_blocks=num_gpu_blocks,
    )
    server.values()
    figures = _figures(profile_bytes or (), profile.steps)
    slack = None if memory is None else _slack(memory, gpu_memory_utilization)
    report = CoversReport(spec.text, on, server.model.name, server.flags, profile.where, (), slack)

    with Output(json, lambda: report.to_json()) as output:
        with Progress() as progress:

            def on_step(found: StepResult) -> None:
                nonlocal report
                report = replace(report, steps=(*report.steps, found))
                output.keep()
                progress.finish(_named(found.step, found.result))

            whole = covers(
                spec, profile, steps, server, on, figures, time_limit, progress.update, on_step
            )
        report = replace(whole, slack=slack)
        render_covers(report, screen())
        output.finish()
    raise typer.Exit(exit_code([found.result for found in report.steps]))


def _named(step: Step, result: Result) -> Result:
    return replace(result, subject=f"{result.subject} {step.name}")


def _model(name: str) -> Model:
    found = _SERVED.get(name.lower())
    if found is None:
        raise unknown("model", name, _SERVED)
    return found


def _figures(given: Sequence[str], steps: Sequence[Step]) -> Mapping[str, int]:
    """The measured figures by step; that of an empty name is for every step."""
    names = [step.name for step in steps]
    figures: dict[str, int] = {}
    for text in given:
        name, equals, amount = text.rpartition("=")
        if equals and name not in names:
            raise unknown("step", name, names)
        if name in figures:
            raise UsageError(f"--profile-bytes gives {name or 'every step'} twice: leave one out")
        try:
            figures[name] = parse_bytes(amount)
        except UsageError as error:
            raise UsageError(f"--profile-bytes: {error}") from None
    return figures


def _slack(memory: str, utilization: float) -> Slack:
    """What the engine leaves of a device.

    Raises:
        UsageError: it is no device and no amount.
    """
    try:
        device = find_budget(memory)
        whole, name = device.free_bytes, device.name
    except UsageError:
        whole, name = parse_bytes(memory, least_bare=MIB), memory
    return Slack(name, utilization, whole - int(whole * utilization))
