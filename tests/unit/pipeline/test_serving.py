"""Which steps of a server its profile run covers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.serving import Server, box_of, chosen_steps, covers, find_profile
from oom_suite.records import Verdict
from oom_suite.records.covering import Profile, Step
from oom_suite.records.symbolic import Formula
from oom_suite.subjects import parse
from oom_suite.workloads.sparse_mla.geometry.models import FLASH, PRO

SERVER = Server(
    model=FLASH,
    max_model_len=8192,
    max_num_batched_tokens=2048,
    max_num_seqs=16,
    num_speculative_tokens=0,
    tensor_parallel_size=8,
    num_gpu_blocks=8192,
)


def fixed(**sizes):
    return tuple((axis, Formula(size), Formula(size)) for axis, size in sizes.items())


DECODE = Step(
    name="decode",
    workload="decode-swa",
    box=(
        *fixed(swa_num_blocks="num_blocks", num_heads="num_heads", swa_topk="window_tokens"),
        ("num_tokens", Formula("1"), Formula("max_num_seqs")),
        ("referenced_blocks", Formula("1"), Formula("num_blocks")),
    ),
    num_bytes=Formula("66432*num_blocks"),
    runs="attention returns before it",
    where="serve.py:7",
)
PROFILE = Profile("1.0", "rocm", "runner.py:9", (DECODE,))


def judged(step, figures=()):
    spec = parse("full_dequant")
    done = []
    profile = replace(PROFILE, steps=(step,))
    report = covers(spec, profile, (step,), SERVER, "generic", dict(figures), on_step=done.append)
    assert [found.step for found in done] == [step]
    return report.steps[0]


def test_a_step_that_takes_what_its_profile_run_took():
    """The healthy twin: equal to the byte, nothing to do."""
    found = judged(DECODE)
    assert (found.result.verdict, found.command) == (Verdict.PASS, "")
    assert found.result.coverage.most_bytes == 66432 * 8192


def test_a_byte_less_was_measured():
    """The planted fault: over by that byte, with the command that measures the step."""
    found = judged(DECODE, {"": 66432 * 8192, "decode": 66432 * 8192 - 1})
    assert (found.result.verdict, found.result.coverage.over_bytes) == (Verdict.FAIL, 1)
    assert found.result.reason.startswith("not covered by the measured profile run: ")
    assert found.command.startswith(
        "oom-suite measure full_dequant --workload decode-swa --set swa_num_blocks=8192 "
    )
    assert found.command.endswith("--device cuda")


def test_the_box_of_a_step_follows_the_flags():
    """Formulas become sizes."""
    assert box_of(DECODE, SERVER) == (
        ("swa_num_blocks", 8192, 8192),
        ("num_heads", 8, 8),
        ("swa_topk", 128, 128),
        ("num_tokens", 1, 16),
        ("referenced_blocks", 1, 8192),
    )


def test_a_workload_that_is_not_there():
    """The nearest is named."""
    with pytest.raises(UsageError, match="unknown workload 'decode-sw'"):
        judged(replace(DECODE, workload="decode-sw"))


def test_ranks_that_cannot_share_the_heads():
    """One line, before anything runs."""
    with pytest.raises(UsageError, match="choose a divisor of DeepSeek-V4-Pro's 128 heads"):
        replace(SERVER, model=PRO, tensor_parallel_size=3).values()


@pytest.mark.parametrize(
    ("subject", "target", "says"),
    [
        ("vllm@.", "MI325X", "names no release|is no release whose profile run is known"),
        ("full_dequant", "MI325X", "is no release whose profile run is known: name one of vLLM"),
        ("vllm==0.33.0", "cpu", "the profile run of vllm==0.33.0 is known on cuda and rocm"),
        ("vllm==0.20.2", "MI325X", "unknown profile run of a release on rocm '0.20.2'"),
    ],
)
def test_no_profile_run_is_known(subject, target, says):
    """What it is known of is named."""
    with pytest.raises(UsageError, match=says):
        find_profile(parse(subject), target)


def test_steps_by_name():
    """All where none is named; a name that is none is refused."""
    profile = find_profile(parse("vllm==0.33.0"), "MI325X")
    assert chosen_steps(profile, ()) == profile.steps
    assert [each.name for each in chosen_steps(profile, ["decode-swa"])] == ["decode-swa"]
    with pytest.raises(UsageError, match=r"unknown step 'decode': choose from .*did you mean"):
        chosen_steps(profile, ["decode"])
