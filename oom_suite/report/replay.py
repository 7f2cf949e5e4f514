"""A replay for a person: the headroom, the culprit's own words, the fixes beside it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from oom_suite.records.replay import End, Role
from oom_suite.report.rows import brief, printable
from oom_suite.report.wording import exact_bytes_text, num_bytes_text
from oom_suite.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from oom_suite.records.measurement import OutOfMemory
    from oom_suite.records.replay import Attempt, Prediction, Replay

WIDTH = 80
_LABEL_WIDTH = 12
_HEAD = ("subject", "ended", "peak", "of headroom", "predicted")
_WAYS = {
    "ballast": "the rest is taken from the driver",
    "limit": "a limit of torch's allocator",
}
_ON_CPU = "a limit of the address space"
_STYLES = {True: "green", False: "bold red"}


def render_replay(story: Replay, console: Console) -> None:
    """Print the story in at most 80 columns, where no word of it is longer."""
    for line, style in _lines(story):
        console.print(Text(line, style=style), soft_wrap=True, highlight=False)


def _lines(story: Replay) -> Iterator[tuple[str, str]]:
    yield from _wrapped(f"Replay of {story.scenario} on {_device(story)}: {story.summary}", "bold")
    for line in _setting(story):
        yield line, ""
    culprits = story.of(Role.CULPRIT)
    for attempt in culprits:
        yield "", ""
        yield from _culprit(attempt)
    fixes = story.of(Role.FIX)
    if fixes:
        yield "", ""
        yield "in the same headroom:" if culprits else "in that headroom:", ""
        yield from _table(fixes, story.headroom_bytes)
    yield "", ""
    yield from _wrapped(closing_text(story), _STYLES[story.exit_code == 0])


def _device(story: Replay) -> str:
    for attempt in story.attempts:
        if attempt.environment is not None and attempt.environment.device:
            return f"{story.device} ({printable(attempt.environment.device)})"
    return story.device


def _setting(story: Replay) -> Iterator[str]:
    predicted = _predictions(story)
    if predicted:
        yield from _row("inputs", _inputs(story, predicted[0].input_bytes))
    way = _ON_CPU if story.device == "cpu" else _WAYS[story.by]
    yield from _row("headroom", f"{exact_bytes_text(story.headroom_bytes)}; {way}")
    for note in story.notes:
        yield from _row("note", note)


def _inputs(story: Replay, input_bytes: int) -> str:
    blocks = [f"{size:,}" for axis, size in story.sizes.items() if axis.endswith("num_blocks")]
    what = f"pools of {' and '.join(blocks)} blocks"
    if len(blocks) > 1 and len(set(blocks)) == 1:
        what = f"{len(blocks)} pools of {blocks[0]} blocks"
    pools = f" in {what}" if blocks else ""
    untouched = ", pages that nobody touches" if story.device == "cpu" else ""
    return f"{format_bytes(input_bytes)}{pools}{untouched}"


def _predictions(story: Replay) -> list[Prediction]:
    return [one.predicted for one in story.attempts if one.predicted is not None]


def _culprit(attempt: Attempt) -> Iterator[tuple[str, str]]:
    yield f"{printable(attempt.subject)}: {_ended(attempt)}", _STYLES[attempt.as_expected]
    for label, text in _culprit_rows(attempt):
        for line in _row(label, text):
            yield line, ""


def _culprit_rows(attempt: Attempt) -> Iterator[tuple[str, str]]:
    failed, predicted = attempt.out_of_memory, attempt.predicted
    if failed is not None:
        yield "error", failed.message
        by = f"by {failed.stack[0]}" if failed.stack else ""
        size = "" if failed.requested_bytes is None else exact_bytes_text(failed.requested_bytes)
        if by or size:
            yield "asked", f"{size} {by}".strip()
        if failed.snapshot:
            yield "snapshot", failed.snapshot
    if attempt.reason:
        yield "why", attempt.reason
    if attempt.end is End.RAN:
        yield "peak", num_bytes_text(attempt.peak_bytes)
    if predicted is not None:
        yield "predicted", _predicted_text(predicted, failed)


def _predicted_text(predicted: Prediction, failed: OutOfMemory | None) -> str:
    peak = f"{exact_bytes_text(predicted.peak_bytes)} at the peak"
    if predicted.request_bytes is None:
        return f"{peak}, which fits"
    stack = () if failed is None else failed.stack
    same = predicted.where is not None and predicted.where == (stack[0] if stack else None)
    where = "" if predicted.where is None else f" by {predicted.where}"
    request = f"{exact_bytes_text(predicted.request_bytes)}{' there' if same else where}"
    return f"{request}, and {peak} if it were served"


def _ended(attempt: Attempt) -> str:
    return "ran OUT OF MEMORY" if attempt.end is End.OUT_OF_MEMORY else attempt.end.value


def _table(fixes: Sequence[Attempt], headroom_bytes: int) -> Iterator[tuple[str, str]]:
    rows = [_cells(attempt, headroom_bytes) for attempt in fixes]
    widths = [max(len(row[n]) for row in (_HEAD, *rows)) for n in range(len(_HEAD))]
    yield _aligned(_HEAD, widths), "bold"
    for attempt, row in zip(fixes, rows, strict=True):
        calm = attempt.as_expected or attempt.end is End.LEFT_OUT
        yield _aligned(row, widths), "" if calm else _STYLES[False]
    for attempt in fixes:
        why = attempt.reason if attempt.out_of_memory is None else attempt.out_of_memory.message
        if why:
            yield from _wrapped(f"  {attempt.subject}: {brief(why)}", "", indent="    ")


def _cells(attempt: Attempt, headroom_bytes: int) -> tuple[str, ...]:
    has_run = attempt.end is End.RAN
    predicted = attempt.predicted
    return (
        printable(attempt.subject),
        attempt.end.value,
        num_bytes_text(attempt.peak_bytes if has_run else None),
        share_text(attempt.taken_bytes, headroom_bytes) if has_run else "-",
        num_bytes_text(None if predicted is None else predicted.peak_bytes),
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    # The two columns of words on the left, figures on the right.
    words = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
    figures = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  " + "  ".join((*words, *figures)).rstrip()


def share_text(part_bytes: int | None, whole_bytes: int) -> str:
    """How much of the whole that is, in percent: ``0.08 %``; never zero for what is not."""
    if part_bytes is None or whole_bytes == 0:
        return "-"
    percent = 100 * part_bytes / whole_bytes
    return "<0.01 %" if 0 < percent < 0.01 else f"{percent:.2f} %"


def closing_text(story: Replay) -> str:
    """The outcome in one sentence: reproduced and fixed, not as reported, or not replayed."""
    if story.cannot:
        return f"Not replayed: {printable(story.cannot)}"
    room = format_bytes(story.headroom_bytes)
    unexpected = [
        one for one in story.attempts if not one.as_expected and one.end is not End.LEFT_OUT
    ]
    if unexpected:
        reasons = "; ".join(_unexpected_text(one, room) for one in unexpected)
        is_judged = story.exit_code == 1
        return f"{'Not as reported' if is_judged else 'Not replayed'}: {reasons}"
    died = [one.subject for one in story.of(Role.CULPRIT) if one.end is End.OUT_OF_MEMORY]
    ran = [one.subject for one in story.of(Role.FIX) if one.end is End.RAN]
    parts = []
    if died:
        parts.append(f"{printable(', '.join(died))} ran out of memory in {room}")
    if ran:
        parts.append(f"{printable(', '.join(ran))} ran in {'it' if died else room}")
    left = [one.subject for one in story.attempts if one.end is End.LEFT_OUT]
    if left:
        parts.append(f"{printable(', '.join(left))} could not be run here")
    head = {(True, True): "Reproduced and fixed: ", (True, False): "Reproduced: "}
    return head.get((bool(died), bool(ran)), "") + "; ".join(parts)


def _unexpected_text(attempt: Attempt, room: str) -> str:
    name = printable(attempt.subject)
    if attempt.end is End.NOT_RUN:
        return f"{name} was not run: {brief(attempt.reason)}"
    if attempt.end is End.OUT_OF_MEMORY:
        return f"{name} ran out of memory in {room}"
    return f"{name} did not run out of memory in {room}"


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=f"  {label:<{_LABEL_WIDTH - 2}}",
        subsequent_indent=" " * _LABEL_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(text: str, style: str, indent: str = "") -> Iterator[tuple[str, str]]:
    lines = textwrap.wrap(
        printable(text),
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return ((line, style) for line in lines)
