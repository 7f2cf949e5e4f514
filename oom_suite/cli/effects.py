"""Options that would have no effect are refused, so that nobody believes they had one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from oom_suite.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """When options mean something.

    Attributes:
        flags: the options.
        mean: whether they mean something, given the values of all options by parameter.
        advice: what to do where they do not, after "means nothing ".
    """

    flags: tuple[str, ...]
    mean: Callable[[Values], bool]
    advice: str


_MEASURED = "without --lane measure: add it, or leave {flag} out"
_SAFETY_TAKES = "--device, --target, --workload, --time-limit, --memory-limit, --json and --quiet"
_NOT_WITH_SAFETY = (
    "--scenario", "--set", "--lane", "--budget", "--html", "--report", "--locked", "--file",
    "--unexplained", "--repeat",
)  # fmt: skip
_NOT_WITH_MERGE = (
    "--since", "--every", "--workload", "--target", "--jobs", "--time-limit", "--shard",
    "--scheduler", "--resume",
)  # fmt: skip


def _runs_on_device(given: Values) -> bool:
    is_free = str(given["budget"] or "").strip().lower() == "free"
    return given["lane"] == "measure" or given["safety"] or is_free


RULES: Mapping[str, tuple[Rule, ...]] = {
    "check": (
        Rule(
            _NOT_WITH_SAFETY,
            lambda given: not given["safety"],
            f"with --safety, which takes {_SAFETY_TAKES}: leave it out",
        ),
        Rule(("--device",), _runs_on_device, _MEASURED),
        Rule(("--unexplained", "--repeat"), lambda given: given["lane"] == "measure", _MEASURED),
        Rule(
            ("--file",),
            lambda given: given["against_lock"],
            "without --locked, which compares with that lockfile: add it, or leave --file out",
        ),
    ),
    "covers": (
        Rule(
            ("--gpu-memory-utilization",),
            lambda given: given["memory"] is not None,
            "without --memory, of which it is a part: add it, or leave {flag} out",
        ),
    ),
    "measure": (
        Rule(
            ("--scenario", "--set", "--workload"),
            lambda given: not given["grid"],
            "with --grid, which has its own sizes: leave out one of them",
        ),
    ),
    "scan": (
        Rule(
            _NOT_WITH_MERGE,
            lambda given: not given["merge"],
            "with --merge, which runs nothing: leave {flag} out",
        ),
        Rule(
            ("--jobs",),
            lambda given: given["scheduler"] is None,
            "with --scheduler, where `dask worker --nthreads` says so: leave {flag} out",
        ),
    ),
    "replay": (
        Rule(
            ("--by",),
            lambda given: given["device"] != "cpu",
            "with --device cpu, where the room is left by a limit: leave it out",
        ),
    ),
}
"""By command; one that is not here has no option that another one takes the meaning of."""


class Command(TyperCommand):
    """A command that refuses what it would otherwise have to ignore."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's own context
        """Read the options.

        Raises:
            UsageError: a value cannot be read, or an option that takes one is given twice.
        """
        try:
            left = super().parse_args(ctx, list(args))
        except typer.BadParameter as error:
            raise _with_value(self, ctx, args, error) from error
        if not ctx.resilient_parsing:
            _refuse_repeated(self, ctx, args)
        return left

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own context
        """Run the command.

        Raises:
            UsageError: an option was given that means nothing beside the others.
        """
        for rule in RULES.get(self.name or "", ()):
            if not rule.mean(ctx.params):
                refuse_given(self, ctx, rule)
        return super().invoke(ctx)


def refuse_given(command: TyperCommand, context: typer.Context, rule: Rule) -> None:
    """Nothing, where none of the rule's options was given.

    Raises:
        UsageError: one was.
    """
    for option in command.params:
        named = set(rule.flags) & set(option.opts)
        if named and _is_given(context, option.name or ""):
            (flag,) = named
            raise UsageError(f"{flag} means nothing {rule.advice.format(flag=flag)}")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _with_value(
    command: TyperCommand, context: typer.Context, args: list[str], error: typer.BadParameter
) -> Exception:
    """The error with the value that was seen; as it is where there was none."""
    seen, _, _ = command.make_parser(context).parse_args(args=list(args))
    option = error.param
    value = None if option is None else seen.get(option.name or "")
    if option is None or not isinstance(value, str):
        return error
    what = error.message.rstrip(".")
    allowed = f"{what[:1].lower()}{what[1:]}; see {context.command_path} --help"
    return UsageError(f"{option.opts[0]} {value!r}: {allowed}")


def _refuse_repeated(command: TyperCommand, context: typer.Context, args: list[str]) -> None:
    _, _, order = command.make_parser(context).parse_args(args=list(args))
    for option, number in Counter(order).items():
        is_single = not getattr(option, "multiple", False) and option.nargs == 1
        if number > 1 and is_single and option.param_type_name == "option":
            msg = f"{option.opts[0]} is given {number} times, and takes one value: give it once"
            raise UsageError(msg)
