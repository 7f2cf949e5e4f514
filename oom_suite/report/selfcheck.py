"""The self-check on a terminal: the score by group, what was missed, and the detection limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from oom_suite.records.selfcheck import NEEDS_TRITON, REQUIRED_BLOCKS_PER_BYTE

if TYPE_CHECKING:
    from rich.console import Console

    from oom_suite.records.selfcheck import SelfCheck, Trial


def render_selfcheck(found: SelfCheck, console: Console) -> None:
    """Write it for a reader; 80 columns are enough."""
    if found.mutants:
        console.print(_scores(found))
    for one in (*found.survivors, *found.false_alarms):
        _print(console, wrong_text(one))
    if found.twins:
        num_twins = len({one.name for one in found.twins})
        num_alarms = len({one.name for one in found.false_alarms})
        _print(console, f"false alarms: {num_alarms} of {num_twins} healthy twins")
    if found.blocks_per_byte is not None:
        _print(console, limit_text(found.blocks_per_byte, is_bounded=found.is_bounded))
    if found.num_left_out:
        text = f"not tried: {found.num_left_out} faults and twins of Triton's kernels"
        _print(console, f"{text}, as {NEEDS_TRITON}")
    caught = len(found.mutants) - len(found.survivors)
    verdict = "PASS" if found.is_good else "FAIL"
    score = f"{caught} of {len(found.mutants)} mutants caught, " if found.mutants else ""
    half = f", {found.half} half" if found.half else ""
    _print(console, f"{verdict} on {found.device}{half}: {score}{found.elapsed_ms / 1000:.0f} s")


def limit_text(blocks_per_byte: int, *, is_bounded: bool) -> str:
    """The detection limit in a sentence.

    Args:
        blocks_per_byte: the most blocks for which one byte of growth was caught; 0 for none.
        is_bounded: whether a smaller growth was tried and missed.
    """
    required = f"required: 1 byte per {REQUIRED_BLOCKS_PER_BYTE} blocks"
    if blocks_per_byte == 0:
        return f"detection limit: not even 1 byte per block is caught ({required})"
    blocks = f"{blocks_per_byte:,} blocks" if blocks_per_byte > 1 else "block"
    better = "" if is_bounded else " or better"
    return f"detection limit: 1 byte per {blocks}{better} ({required})"


def wrong_text(trial: Trial) -> str:
    """The line for a fault that was missed, or for an alarm about a healthy step."""
    return false_alarm_text(trial) if trial.is_twin else survivor_text(trial)


def survivor_text(trial: Trial) -> str:
    """Which fault was missed, what the detector should have named, and its answer instead."""
    wanted = f"expected FAIL naming {' or '.join(trial.expected)}"
    named = f" naming {', '.join(trial.named[:3])}" if trial.named else ""
    return (
        f"SURVIVED {trial.name} ({trial.about}): {trial.detector} said {trial.verdict}{named}, "
        f"{wanted}: {trial.reason}"
    )


def false_alarm_text(trial: Trial) -> str:
    """Which detector raised an alarm on a healthy step."""
    answer = f"{trial.detector} said {trial.verdict}"
    return f"FALSE ALARM {trial.name} ({trial.about}): {answer}: {trial.reason}"


def _print(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=not console.is_terminal)


def _scores(found: SelfCheck) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("group", "detector"):
        table.add_column(name)
    for name in ("mutants", "caught", "score"):
        table.add_column(name, justify="right")
    groups = dict.fromkeys((one.group, one.detector) for one in found.mutants)
    for group, detector in groups:
        own = [one for one in found.mutants if (one.group, one.detector) == (group, detector)]
        caught = sum(one.is_right for one in own)
        table.add_row(group, detector, str(len(own)), str(caught), f"{caught / len(own):.0%}")
    return table
