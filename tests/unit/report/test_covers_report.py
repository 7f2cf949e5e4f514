"""What `oom-suite covers` prints: a row for each step, and why one is not covered."""

from __future__ import annotations

import io

from rich.console import Console

from oom_suite.records import Blame, Coverage, Polynomial, Result, Verdict
from oom_suite.records.covering import Step
from oom_suite.records.serving import CoversReport, Slack, StepResult
from oom_suite.records.symbolic import Formula
from oom_suite.report.covers import render_covers

BOX = (("num_blocks", 512, 512), ("num_tokens", 1, 256))
STEP = Step(
    "decode",
    "decode-swa",
    tuple((axis, Formula(str(least)), Formula(str(most))) for axis, least, most in BOX),
    Formula("0"),
    "attention returns before it",
    "rocm.py:1413",
)
OVER = Coverage(
    allowed_bytes=1 << 20,
    box=BOX,
    most_bytes=3 << 20,
    sizes={"num_blocks": 512, "num_tokens": 256},
    is_most=True,
    at_most_bytes=3 << 20,
    formula=Polynomial.of({("num_tokens",): 8192, ("rows",): 4096}),
    decided={"rows": 256},
)


def result(verdict, reason, coverage=None, **more):
    return Result(
        "vllm==1.0",
        "decode-swa",
        "shadow",
        "decode",
        {},
        verdict,
        reason,
        coverage=coverage,
        **more,
    )


BROKEN = StepResult(
    STEP,
    result(
        Verdict.FAIL,
        "not covered by the profile run",
        OVER,
        blame=(Blame("ops.py", 9, "decode", 2 << 20, "num_tokens", 8192.0),),
    ),
    "oom-suite measure vllm==1.0",
)
KEPT = StepResult(
    STEP, result(Verdict.PASS, "covered", Coverage(4 << 20, BOX, 3 << 20, {}, True, 3 << 20))
)
OPEN = StepResult(STEP, result(Verdict.INCONCLUSIVE, "timed out", advice=("allow more seconds",)))


def shown(*steps, slack=None, width=100):
    stream = io.StringIO()
    report = CoversReport(
        "vllm==1.0", "MI325X", "Flash", {"max-num-seqs": 256}, "run.py:7", steps, slack
    )
    render_covers(report, Console(file=stream, width=width, force_terminal=False))
    return stream.getvalue()


def test_a_row_for_each_step_and_a_summary():
    """Covered steps have their largest peak; the others what is over, or nothing."""
    lines = shown(KEPT, BROKEN, OPEN).splitlines()
    assert lines[0] == "vllm==1.0 for MI325X, Flash: --max-num-seqs 256"
    assert lines[1] == "profile run: run.py:7, without metadata of attention"
    assert [line.split() for line in lines[4:7]] == [
        ["decode", "covered", "3.00", "MiB", "4.00", "MiB"],
        ["decode", "NOT", "COVERED", "3.00", "MiB", "1.00", "MiB", "2.00", "MiB"],
        ["decode", "INCONCLUSIVE"],
    ]
    assert lines[-1] == "1 covered, 1 not covered, 1 inconclusive"


def test_what_is_not_covered_is_explained():
    """Why, where, what the profile run does, the law, the line and the next command."""
    text = shown(BROKEN)
    assert text[text.index("NOT COVERED  decode") :].splitlines()[:9] == [
        "NOT COVERED  decode (workload decode-swa)",
        "  why      not covered by the profile run",
        "  box      num_blocks 512, num_tokens 1 to 256",
        "  profile  attention returns before it (rocm.py:1413)",
        "  law      8192*num_tokens + 4096*rows",
        "           rows is decided by data, 256 at most",
        "  blame    ops.py:9 (decode): 2.00 MiB, growing with num_tokens",
        "  next     oom-suite measure vllm==1.0",
        "",
    ]


def test_what_cannot_be_judged_has_its_advice():
    """No box and no law, but something to do."""
    text = shown(OPEN)
    assert "  why      timed out\n" in text
    assert "  advice   allow more seconds\n" in text


def test_uncovered_bytes_beside_what_the_engine_leaves():
    """More than it leaves is out of memory; less comes out of it."""
    small, large = Slack("MI325X", 0.92, 1 << 20), Slack("MI325X", 0.92, 4 << 20)
    assert "92% of MI325X leaves 1.00 MiB, less than what is not covered: out of memory" in shown(
        BROKEN, slack=small
    )
    assert "leaves 4.00 MiB, which what is not covered comes out of" in shown(BROKEN, slack=large)


def test_the_json_has_the_steps_with_their_figures():
    """Server, profile run, and each step with its verdict and coverage."""
    report = CoversReport(
        "vllm==1.0", "MI325X", "Flash", {"max-num-seqs": 256}, "run.py:7", (BROKEN,)
    )
    body = report.to_json()
    (step,) = body["steps"]
    assert (body["profile_run"], body["slack"]) == ("run.py:7", None)
    assert step["profile"] == {"runs": "attention returns before it", "where": "rocm.py:1413"}
    assert (step["step"], step["verdict"], step["coverage"]["over_bytes"]) == (
        "decode",
        "FAIL",
        2 << 20,
    )
    assert step["coverage"]["decided"] == {"rows": 256}
