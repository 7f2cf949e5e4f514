"""`oom-suite covers` as its users meet it."""

from __future__ import annotations

import json

import pytest

from oom_suite.doors import workload as find_workload
from oom_suite.pipeline import serving
from oom_suite.pipeline.judging import Study
from oom_suite.records import Coverage, Result, Verdict
from oom_suite.records.symbolic import Formula
from oom_suite.subjects import load, parse
from oom_suite.subjects.families.vllm import profiles
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.prefill.step import build_workspace


@pytest.fixture
def judged(monkeypatch):
    """`judged(Verdict.FAIL)`: each step has that verdict, and nothing is run."""

    def judge(verdict):
        def check_cases(cases, on_progress, on_result):
            studies = []
            for spec, settings in cases:
                promise = settings.workload.contract.covered_by
                over = promise.num_bytes + (verdict is Verdict.FAIL)
                coverage = Coverage(
                    promise.num_bytes, promise.box, over, dict(settings.sizes), True, over
                )
                name, workload = spec.text, settings.workload.name
                studies.append(
                    Study(
                        Result(
                            name,
                            workload,
                            "shadow",
                            settings.scenario,
                            settings.sizes,
                            verdict,
                            "why",
                            coverage=coverage,
                        )
                    )
                )
                on_result(studies[-1].result)
            return studies

        monkeypatch.setattr(serving, "check_cases", check_cases)

    return judge


@pytest.mark.parametrize(
    ("verdict", "code", "words"),
    [
        (Verdict.PASS, 0, "6 covered"),
        (Verdict.FAIL, 1, "6 not covered"),
        (Verdict.INCONCLUSIVE, 3, "6 inconclusive"),
    ],
)
def test_the_exit_code_is_that_of_the_worst_step(suite, judged, verdict, code, words):
    """0 where all is covered, 1 where something is not, 3 where something is not decided."""
    judged(verdict)
    done = suite("covers", "vllm==0.33.0", "--target", "MI325X", *steps())
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, words)


def steps(*names):
    wanted = names or (
        "decode-c4a",
        "decode-c128a",
        "decode-swa",
        "indexer-decode",
        "prefill-attention-c4a",
        "prefill-workspace",
    )
    return [word for name in wanted for word in ("--step", name)]


def test_the_json_is_that_of_the_steps(suite, judged, tmp_path):
    """Server, profile run and every step, with what is not covered and how to reproduce it."""
    judged(Verdict.FAIL)
    flags = ("--max-model-len", 65_536, "--memory", "256GiB", "--gpu-memory-utilization", 0.9)
    suite("covers", "vllm==0.21.0", "--target", "MI325X", *flags, "--json", "covers.json")
    body = json.loads((tmp_path / "covers.json").read_text(encoding="utf-8"))
    assert body["is_complete"]
    assert body["flags"]["max-model-len"] == 65_536
    assert body["slack"]["name"] == "256GiB"
    assert body["profile_run"] == "vllm/v1/worker/gpu_model_runner.py:5949"
    first = body["steps"][0]
    assert (first["step"], first["coverage"]["over_bytes"]) == ("decode-c4a", 1)
    assert first["command"].startswith("oom-suite measure vllm==0.21.0 --workload decode --set ")


def test_measured_figures_take_the_place_of_the_source(suite, judged):
    """One for every step, and one for a step of its own."""
    judged(Verdict.PASS)
    given = ("--profile-bytes", "1GiB", "--profile-bytes", "decode-swa=2GiB")
    done = suite(
        "covers", "vllm==0.33.0", "--target", "MI325X", *steps("decode-c4a", "decode-swa"), *given
    )
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("decode")]
    assert [row[-2:] for row in rows] == [["1.00", "GiB"], ["2.00", "GiB"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("vllm==0.20.2",),
            "unknown profile run of a release on rocm '0.20.2': choose from 0.21.0",
        ),
        (("vllm",), "subject 'vllm' is no release whose profile run is known: name one of vLLM"),
        (("vllm==0.33.0", "--model", "llama"), "unknown model 'llama': choose from deepseek-v4-"),
        (("vllm==0.33.0", "--step", "decode"), "unknown step 'decode': choose from decode-c128a"),
        (("vllm==0.33.0", "-tp", 3), "tensor_parallel is 3: choose a divisor of DeepSeek-V4-Flash"),
        (("vllm==0.33.0", "--profile-bytes", "x"), "--profile-bytes: not an amount of bytes: 'x'"),
        (("vllm==0.33.0", "--profile-bytes", "a=1"), "unknown step 'a': choose from"),
        (
            ("vllm==0.33.0", "--profile-bytes", "1", "--profile-bytes", "2"),
            "--profile-bytes gives every step twice: leave one out",
        ),
        (("vllm==0.33.0", "--memory", "12"), "'12' has no unit: write 12GiB"),
        (
            ("vllm==0.33.0", "--gpu-memory-utilization", "0.9"),
            "--gpu-memory-utilization means nothing without --memory",
        ),
        (("vllm==0.33.0", "--max-model-len", "9"), "--max-model-len"),
    ],
)
def test_what_is_refused(suite, words, says):
    """One line with exit code 2, before anything is run."""
    done = suite("covers", *words, *(("--target", "MI325X")))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert says in line


@pytest.mark.oom_registry
def test_a_release_whose_decode_step_is_not_covered(suite, tmp_path):
    """vLLM 0.21.0 dequantizes the pool, and its profile run returns before that."""
    done = suite(
        "covers", "vllm==0.21.0", "--step", "decode-swa", "--target", "MI325X", "--json", "c.json"
    )
    assert done.returncode == 1, done.stderr
    (step,) = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["steps"]
    assert step["coverage"]["formula"] == "82048*swa_num_blocks"
    assert step["coverage"]["over_bytes"] == 82_048 * 32_768 - 264 * 10 * 131_072
    assert step["blame"][0]["function"] == "rocm_dequantize_blocked_k_cache"


@pytest.mark.oom_registry
@pytest.mark.parametrize("name", ["prefill-reservation", "prefill-reservation-rocm"])
def test_the_workspace_that_is_read_from_the_source_is_what_the_release_reserves(name):
    """vLLM 0.33.0's own early return, run: rows gathered, and on NVIDIA the indices of a step."""
    workload = find_workload(name)
    asked = {"max_model_len": 131_072, "max_num_batched_tokens": 8192}
    sizes = workload.resize(workload.scenario("small").sizes, asked)
    with load(parse("vllm==0.33.0"), workload, arch="gfx942") as subject:

        def build(sizes, device):
            given = build_workspace(sizes, device)
            return lambda: subject.call(**given)

        reserved = ShadowLane(subject.root).run(build, sizes).peak().num_bytes
    text = profiles.GATHERED if name.endswith("rocm") else profiles.GATHERED_WITH_INDICES
    values = {**asked, "window_tokens": 128, "index_topk": 512}
    assert Formula(text)(values) == reserved
