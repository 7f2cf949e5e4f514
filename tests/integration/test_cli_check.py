"""The command line as its users meet it: outcomes, exit codes, one clear line for what is wrong."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time

import psutil
import pytest

SUBJECTS = """
import os, signal, time
import torch


def good(q, **step):
    torch.empty_like(q)
    step["output"].zero_()


def grows(q, swa_k_cache, **step):
    torch.empty(swa_k_cache.shape[0], 7, dtype=torch.uint8, device=q.device)


def raises(q, **step):
    raise ValueError("no [such] thing")


def killed(q, **step):
    os.kill(os.getpid(), signal.SIGKILL)


def crashes(q, **step):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(q, **step):
    time.sleep(3600)


def greedy(q, **step):
    bytearray(1 << 42)


def incomplete(q, kv_cache):
    pass


def reads(q, swa_k_cache, **step):
    int(swa_k_cache[0, 0, 0])
"""


@pytest.fixture
def run(tmp_path, suite):
    (tmp_path / "s.py").write_text(SUBJECTS, encoding="utf-8")
    return suite


@pytest.fixture
def judged(run, tmp_path):
    """Runs check of one workload; the finished process and the results by subject."""

    def check(*words, scenario="small"):
        file = tmp_path / "out.json"
        one = () if "--workload" in words else ("--workload", "decode")
        done = run("check", *words, *one, "--scenario", scenario, "--json", str(file))
        results = json.loads(file.read_text("utf-8"))["results"]
        return done, {result["subject"]: result for result in results}

    return check


def test_builtins_are_as_expected_without_a_subject(judged):
    """The built-ins are judged by default: the bug fails as expected, and the exit code is 0."""
    done, results = judged(scenario="issue-41962")
    assert 0 == done.returncode
    verdicts = {name: (r["verdict"], r["expected"]) for name, r in results.items()}
    assert verdicts == {
        "full_dequant": ("FAIL", "FAIL"),
        "block_compaction": ("PASS", "PASS"),
        "token_gather": ("PASS", "PASS"),
        "streaming": ("PASS", "PASS"),
    }
    assert "FAIL (expected: reproduces #41962)" in done.stdout


def test_growth_in_one_kind_of_layer_alone_fails_without_a_workload_named(run, tmp_path):
    """Every workload that the subject can take is judged; the command names the one that fails."""
    mutant = "oom_suite.selfcheck.faults.growth:only_without_extra"
    done = run("check", mutant, "--scenario", "small", "--json", "out.json")
    assert 1 == done.returncode
    results = json.loads((tmp_path / "out.json").read_text("utf-8"))["results"]
    assert [("decode", "PASS"), ("decode-swa", "FAIL")] == [
        (result["workload"], result["verdict"]) for result in results
    ]
    assert f"next     git bisect run oom-suite probe {mutant} --workload decode-swa" in done.stdout


def test_growth_and_its_healthy_twin(judged):
    """Seven bytes per block fail with the line that allocates them; the twin beside it passes."""
    done, results = judged("s.py:grows", "s.py:good")
    assert 1 == done.returncode
    assert "PASS" == results["s.py:good"]["verdict"]
    bad = results["s.py:grows"]
    assert "FAIL" == bad["verdict"]
    assert [{"axes": ["swa_num_blocks"], "coefficient": 7}] == bad["law"]["terms"]
    (blame,) = bad["blame"]
    assert ("s.py", 12, "grows", "swa_num_blocks", 7) == (
        blame["file"],
        blame["line"],
        blame["function"],
        blame["axis"],
        blame["bytes_per_unit"],
    )


BROKEN = {
    "s.py:raises": "raised: ValueError: no [such] thing at ",
    "s.py:killed": "killed: the process was killed by SIGKILL",
    "s.py:crashes": "crashed: the process crashed with SIGSEGV",
    "s.py:greedy": "out of memory: MemoryError",
    "s.py:incomplete": "s.py:incomplete does not take `swa_k_cache`",
    "s.py:reads": "_local_scalar_dense",
    "s.py:absent": "s.py has no function 'absent'",
    "none.py:f": "none.py does not exist",
    "no_such_module:f": "no_such_module",
}


def test_whatever_a_subject_does_the_others_go_on(judged):
    """Each broken subject is inconclusive with one line saying how; the healthy one passes."""
    done, results = judged(*BROKEN, "s.py:good")
    assert 3 == done.returncode
    assert "PASS" == results["s.py:good"]["verdict"]
    for subject, said in BROKEN.items():
        assert "INCONCLUSIVE" == results[subject]["verdict"]
        assert said in results[subject]["reason"]
        assert "\n" not in results[subject]["reason"]
    assert "Traceback" not in done.stdout + done.stderr


def test_hanging_subject_is_ended_at_the_time_limit(judged):
    """A subject that never answers is inconclusive after the time limit, and named so."""
    done, results = judged("s.py:hangs", "--time-limit", "2")
    assert 3 == done.returncode
    assert "timed out: no answer within 2 s" in results["s.py:hangs"]["reason"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "12.74GB"], "unknown unit 'GB'"),
        (["--budget", "MI999"], "unknown budget 'MI999'"),
        (["ful_dequant"], "did you mean 'full_dequant'?"),
        (["vllm>=0.21"], "vllm==0.21"),
        (["--scenario", "prodution"], "did you mean 'production'?"),
        (["--set", "num_block=4"], "did you mean 'num_blocks'?"),
        (["--set", "num_blocks"], "is not AXIS=VALUE"),
        (["--set", "num_tokens=0"], "num_tokens is 0"),
        (["--set", "num_tokens=many"], "'many' is not a whole number"),
        (["--set", "num_tokens=1", "--set", "referenced_blocks=999"], "at most 128"),
        (["--lane", "gpu"], "unknown lane 'gpu'"),
        (["--workload", "decod"], "did you mean 'decode'?"),
        (["--arch", "gfx94"], "did you mean 'gfx942'?"),
        (["--memory-limit", "2 gigs"], "unknown unit 'gigs'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_one_line_and_exit_code_2(run, words, said):
    """What cannot be understood is refused before anything runs, in one line."""
    done = run("check", *words)
    assert 2 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert said in done.stderr


def test_budget_is_met_at_the_exact_byte(judged):
    """A peak that fits to the byte passes; with one byte less the verdict is FAIL."""
    _, results = judged("token_gather")
    peak_bytes = results["token_gather"]["peak_allocated_bytes"]
    done, _ = judged("token_gather", "--budget", f"{peak_bytes}B")
    assert 0 == done.returncode
    done, results = judged("token_gather", "--budget", f"{peak_bytes - 1}B")
    assert 1 == done.returncode
    assert results["token_gather"]["budget"]["fits"] is False


def test_measure_lane_agrees_with_shadow_to_the_byte(judged):
    """Real tensors on the CPU ask for exactly what the shadow lane predicted."""
    done, results = judged("full_dequant", "token_gather", "streaming", "--lane", "measure")
    assert 0 == done.returncode, done.stdout
    for result in results.values():
        assert result["reason"].endswith("measured to the byte")
        (resident,) = (r for r in result["measurement"]["readings"] if r["meter"] == "VmHWM")
        assert resident["num_bytes"] > 0
        assert 0 == result["reconciliation"]["unexplained_requested_bytes"]


def test_measure_on_a_missing_gpu_is_one_line(judged):
    """A device that is not there makes the result inconclusive, and says so."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: nothing is missing")
    done, results = judged("token_gather", "--lane", "measure", "--device", "cuda")
    assert 3 == done.returncode
    assert "sees no GPU here" in results["token_gather"]["reason"]


def test_production_pool_costs_no_memory(tmp_path):
    """Judging a 221,839-block pool keeps every process together under 2 GiB resident."""
    started = subprocess.Popen(
        [sys.executable, "-m", "oom_suite", "check", "full_dequant", "--workload", "decode"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    main = psutil.Process(started.pid)
    largest_bytes = 0
    while started.poll() is None:
        total_bytes = 0
        for process in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total_bytes += process.memory_info().rss
        largest_bytes = max(largest_bytes, total_bytes)
        time.sleep(0.05)
    assert 0 == started.returncode
    assert 200 * 2**20 < largest_bytes < 2 * 2**30
