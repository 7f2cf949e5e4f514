"""What is foreseen of a replay, what it needs, how it ends, and what is said of it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from oom_suite.pipeline.replay.cast import cast, predict, shortage
from oom_suite.records import Allocation, Event, Frame, OutOfMemory, Trace
from oom_suite.records.replay import Attempt, End, Prediction, Replay, Role
from oom_suite.report.replay import closing_text, render_replay, share_text
from oom_suite.targets.free_memory import FreeMemory
from oom_suite.units import GIB, MIB

LINE = Frame("decode.py", 7, "dequantize")


def trace_of(*steps):
    """A trace of requests (positive) and of frees of the request so large (negative)."""
    allocations, events = [], []
    for step in steps:
        if step > 0:
            events.append(Event("alloc", len(allocations)))
            allocations.append(Allocation(step, "aten.empty", (LINE,)))
        else:
            index = next(n for n, each in enumerate(allocations) if each.requested_bytes == -step)
            events.append(Event("free", index))
    return Trace("shadow", {}, tuple(allocations), tuple(events), input_bytes=1000)


@pytest.mark.parametrize(
    ("headroom_bytes", "expected"),
    [
        (90, Prediction(1000, 90, None, None, 90)),
        (89, Prediction(1000, 90, 70, LINE, 50)),
        (50, Prediction(1000, 90, 70, LINE, 50)),
        (49, Prediction(1000, 90, 20, LINE, 30)),
        (29, Prediction(1000, 90, 30, LINE, 0)),
    ],
)
def test_the_first_request_that_does_not_fit_is_foreseen(headroom_bytes, expected):
    """On a CPU to the byte: what fits exactly is served, and what was freed is free again."""
    assert expected == predict(trace_of(30, 20, -30, 70), headroom_bytes, "cpu")


@pytest.mark.parametrize(
    ("headroom_bytes", "expected"),
    [
        (22 * MIB, Prediction(1000, 21 * MIB + 1, None, None, 21 * MIB + 1)),
        (22 * MIB - 1, Prediction(1000, 21 * MIB + 1, 11 * MIB + 1, LINE, 10 * MIB)),
    ],
)
def test_on_a_gpu_a_request_takes_the_segment_that_serves_it(headroom_bytes, expected):
    """11 MiB and a byte come from a segment of 12 MiB, as large requests are rounded to 2 MiB."""
    assert expected == predict(trace_of(10 * MIB, 11 * MIB + 1), headroom_bytes, "cuda")


@pytest.mark.parametrize(
    ("free_bytes", "is_short"), [(28 * GIB, False), (28 * GIB - 1, True)], ids=["enough", "less"]
)
def test_a_gpu_needs_the_inputs_and_the_headroom(free_bytes, is_short):
    """The largest inputs count; what is missing is said with what is needed."""
    memory = FreeMemory("H200", free_bytes, 140 * GIB, free_bytes)
    said = shortage(memory, "cuda", 13 * GIB, [Prediction(15 * GIB, 1), Prediction(GIB, 1)])
    assert is_short == bool(said)
    assert is_short == ("28.00 GiB must be free on cuda (H200), and 28.00 GiB are" in said)


@pytest.mark.parametrize(
    ("free_bytes", "reservable_bytes", "expected"),
    [
        (2 * GIB, None, ""),
        (2 * GIB - 1, None, "a call would hold 2.00 GiB in this headroom"),
        (2 * GIB, 28 * GIB, ""),
        (2 * GIB, 28 * GIB - 1, "vm.overcommit_memory is 2"),
    ],
)
def test_a_cpu_needs_what_the_calls_will_hold(free_bytes, reservable_bytes, expected):
    """Inputs that nobody touches cost nothing, unless the system promises nothing twice."""
    memory = FreeMemory("CPU", free_bytes, 16 * GIB, reservable_bytes)
    said = shortage(memory, "cpu", 13 * GIB, [Prediction(15 * GIB, 1, held_bytes=2 * GIB)])
    assert bool(expected) == bool(said)
    assert expected in said


def test_the_roles_are_known_and_culprits_come_first():
    """Releases before the fix and the built-in that reproduces the bug; all else must run."""
    named = ("streaming", "vllm==0.22.0", "full_dequant", "vllm==0.21.1", "streaming", "a.py:run")
    assert [(spec.text, role.value) for spec, role in cast(named)] == [
        ("full_dequant", "culprit"),
        ("vllm==0.21.1", "culprit"),
        ("streaming", "fix"),
        ("vllm==0.22.0", "fix"),
        ("a.py:run", "fix"),
    ]
    assert [spec.text for spec, _ in cast(())] == [
        "vllm==0.21.0",
        "block_compaction",
        "token_gather",
        "streaming",
        "vllm==0.33.0",
    ]


SAID = (
    "CUDA out of memory. Tried to allocate 13.54 GiB. GPU 0 has a total capacity of 139.80 GiB of "
    "which 12.74 GiB is free."
)
CULPRIT = Attempt(
    "vllm==0.21.0",
    Role.CULPRIT,
    End.OUT_OF_MEMORY,
    predicted=Prediction(16_582_984_768, 32_739_886_976, 14_538_440_704, LINE, 0),
    out_of_memory=OutOfMemory(SAID, 14_538_440_704, 13_680_771_072, (LINE,), "here/oom.pickle"),
)
FIX = Attempt(
    "streaming",
    Role.FIX,
    End.RAN,
    predicted=Prediction(16_582_984_768, 797 * 1024),
    peak_bytes=797 * 1024,
    taken_bytes=2 * MIB,
)
ABSENT = Attempt("vllm==0.33.0", Role.FIX, End.LEFT_OUT, reason="needs a GPU")
STORY = Replay(
    scenario="issue-41962",
    summary="the pool of the issue",
    sizes={"swa_num_blocks": 221_839, "extra_num_blocks": 221_839, "num_tokens": 4},
    device="cuda",
    headroom_bytes=13_679_470_837,
    by="ballast",
    attempts=(CULPRIT, FIX, ABSENT),
)

STORIES = {
    "as reported": ((CULPRIT, FIX), 0, "Reproduced and fixed: vllm==0.21.0 ran out of memory in"),
    "a culprit alone": ((CULPRIT,), 0, "Reproduced: vllm==0.21.0 ran out of memory in 12.74 GiB"),
    "a fix alone": ((FIX,), 0, "streaming ran in 12.74 GiB"),
    "one left out": ((CULPRIT, FIX, ABSENT), 0, "; vllm==0.33.0 could not be run here"),
    "all left out": ((ABSENT,), 3, "vllm==0.33.0 could not be run here"),
    "a culprit that runs": (
        (replace(CULPRIT, end=End.RAN), FIX),
        1,
        "Not as reported: vllm==0.21.0 did not run out of memory in 12.74 GiB",
    ),
    "a fix that does not": (
        (CULPRIT, replace(FIX, end=End.OUT_OF_MEMORY)),
        1,
        "Not as reported: streaming ran out of memory in 12.74 GiB",
    ),
    "one not run": (
        (CULPRIT, replace(FIX, end=End.NOT_RUN, reason="killed: by SIGKILL")),
        3,
        "Not replayed: streaming was not run: killed: by SIGKILL",
    ),
    "one not run, one not as reported": (
        (replace(CULPRIT, end=End.RAN), replace(FIX, end=End.NOT_RUN, reason="r")),
        1,
        "Not as reported: vllm==0.21.0 did not",
    ),
    "nothing": ((), 3, ""),
}


@pytest.mark.parametrize(("attempts", "code", "words"), STORIES.values(), ids=STORIES)
def test_a_replay_is_green_only_as_reported(attempts, code, words):
    """The exit code and the closing sentence agree."""
    story = replace(STORY, attempts=attempts)
    assert code == story.exit_code
    assert words in closing_text(story)


def test_what_cannot_be_run_at_all_is_not_green():
    """The reason is the closing sentence."""
    story = replace(STORY, attempts=(), cannot="28.00 GiB must be free")
    assert (3, "Not replayed: 28.00 GiB must be free") == (story.exit_code, closing_text(story))


def test_the_story_as_it_is_read():
    """The headroom, the error's own words, who asked, what was predicted, and the fixes."""
    console = Console(file=io.StringIO(), width=200)
    render_replay(STORY, console)
    assert (
        console.file.getvalue()
        == """\
Replay of issue-41962 on cuda: the pool of the issue
  inputs    15.44 GiB in 2 pools of 221,839 blocks
  headroom  12.74 GiB (13,679,470,837 bytes); the rest is taken from the driver

vllm==0.21.0: ran OUT OF MEMORY
  error     CUDA out of memory. Tried to allocate 13.54 GiB. GPU 0 has a total
            capacity of 139.80 GiB of which 12.74 GiB is free.
  asked     13.54 GiB (14,538,440,704 bytes) by decode.py:7 (dequantize)
  snapshot  here/oom.pickle
  predicted 13.54 GiB (14,538,440,704 bytes) there, and 30.49 GiB
            (32,739,886,976 bytes) at the peak if it were served

in the same headroom:
  subject       ended           peak  of headroom   predicted
  streaming     ran       797.00 KiB       0.02 %  797.00 KiB
  vllm==0.33.0  left out           -            -           -
  vllm==0.33.0: needs a GPU

Reproduced and fixed: vllm==0.21.0 ran out of memory in 12.74 GiB; streaming ran
in it; vllm==0.33.0 could not be run here
"""
    )


@pytest.mark.parametrize(
    ("part", "expected"), [(0, "0.00 %"), (1, "<0.01 %"), (GIB // 4, "25.00 %"), (None, "-")]
)
def test_a_share_is_never_shown_as_nothing(part, expected):
    """Only nothing is 0.00 %."""
    assert expected == share_text(part, GIB)


def test_the_json_has_every_figure():
    """For machines: roles and ends by name, and records in full."""
    body = STORY.to_json()
    assert (0, 13_679_470_837, "ballast") == (
        body["exit_code"],
        body["headroom_bytes"],
        body["headroom_by"],
    )
    culprit = body["attempts"][0]
    assert ("culprit", "out of memory") == (culprit["role"], culprit["end"])
    assert culprit["out_of_memory"]["stack"] == (
        {"file": "decode.py", "line": 7, "function": "dequantize"},
    )
