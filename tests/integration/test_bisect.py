"""Searches over commits of made-up repositories, and over the real releases."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from fixtures.command import run_here
from fixtures.commits import NUM_COMMITS, POOL, TOKENS, git, git_bisect_run

DECODE_FILE = "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py"
HEALTHY = """
import torch


def rocm_forward_decode_fallback(
    q, kv_cache, swa_k_cache, swa_only, topk_indices, topk_lens, swa_indices, swa_lens,
    attn_sink, scale, head_dim, nope_head_dim, rope_head_dim, output,
):
    rows = swa_k_cache.flatten(0, 1)[swa_indices.flatten().long()]
    output.copy_(rows.float().mean())
"""
FAULTY = HEALTHY.replace(
    "    rows =",
    "    seen = torch.zeros(swa_k_cache.shape[0], dtype=torch.bool, device=q.device)\n    rows =",
)
BROKEN = "import torch\nraise RuntimeError('half a commit')\n"
FIRST = f"HEAD~{NUM_COMMITS - 1}"
SMALL = ("--scenario", "small", "--workload", "decode-swa", "--time-limit", "4")
BOUND = " + ".join(f"1MiB*num_tokens*{a}" for a in ("num_heads", "swa_topk", "extra_topk"))
PAGE = Path(__file__).parents[2] / "docs/bisect.md"


def first_bad(bisected):
    """The title of the commit that git blames, from what it shows of it."""
    assert "is the first bad commit" in bisected.said, bisected.said
    return re.search(r"^    (commit \d+)$", bisected.said, re.MULTILINE)[1]


def documented():
    """The search in docs/bisect.md: its words, and what it prints."""
    begins = "oom-suite bisect decode.py:"
    rest = PAGE.read_text(encoding="utf-8").partition(f"```console\n$ {begins}")[2]
    block = begins + rest.partition("```")[0]
    command, _, shown = block.replace("\\\n", "").partition("\n")
    return shlex.split(command)[1:], shown


def steady(text):
    """What does not hang on the machine and its versions."""
    text = re.sub(r"\(\d+\.\d s\)", "(0.9 s)", text)
    return re.sub(r"^with Python .*$", "with VERSIONS", text, flags=re.MULTILINE)


def test_pool_is_found_though_the_tokens_grew_before(sixty_commits):
    """`bisect --repo --axis num_blocks` ends at commit 37, and prints what its page shows.

    The page has the log with a commit that does not import, both laws, the guilty line and the
    diff; seconds and versions are not compared.
    """
    words, shown = documented()
    done = run_here(*words, "--json", "found.json", folder=sixty_commits)
    assert 0 == done.returncode, done.stderr
    assert f"first bad commit: 3335f99 commit {POOL}\n" in done.stdout
    assert steady(shown) == steady(done.stdout)
    written = json.loads((sixty_commits / "found.json").read_text())["bisection"]
    assert git(sixty_commits, "rev-parse", f":/^commit {POOL}$").strip() == written["first"]
    assert "?? found.json\n" == git(sixty_commits, "status", "--porcelain")


def test_tokens_are_found_by_git_though_the_pool_grows_later(sixty_commits):
    """`git bisect run oom-suite probe --axis num_tokens` blames commit 23, with law and diff.

    The law has that axis at the good end already: what came since is what counts.
    """
    words = ("probe", "decode.py:decode", "--axis", "num_tokens", *SMALL)
    bisected = git_bisect_run(sixty_commits, FIRST, *words)
    assert f"commit {TOKENS}" == first_bad(bisected)
    blamed = [step.stdout for step in bisected.steps if step.returncode == 1][-1]
    assert "FAIL decode.py:decode: grew in num_tokens: the new term 4096*num_tokens**2\n" in blamed
    assert "  law      4096*num_tokens**2 + 2920*num_tokens*swa_topk (peak " in blamed
    assert re.search(r"  good     2920\*num_tokens\*swa_topk \(peak .*, at \w+ commit 1\n", blamed)
    assert "> 4096*num_tokens**2\n             kernels.py:6 (gather) 4096 bytes per num_" in blamed
    assert "  blame" not in blamed, "lines that were there before are not guilty"
    assert "+    pairs = torch.empty(len(slots), len(slots), 1024, device=cache.device)" in blamed
    assert {0, 1, 125} == {step.returncode for step in bisected.steps}


@pytest.mark.parametrize(
    "words",
    [
        ("decode.py:decode", "--scenario", "typo"),
        ("decode.py:decod",),
        ("decod.py:decode",),
        ("decode.py:decode", "--axis", "num_token"),
        ("decode.py:decode", "--tme-limit", "3"),
    ],
    ids=" ".join,
)
def test_typo_ends_git_s_search_in_a_refusal(sixty_commits, words):
    """Words that are wrong at every commit stop `git bisect run` at once, and blame none."""
    bisected = git_bisect_run(sixty_commits, FIRST, "probe", *words)
    assert [128] == [step.returncode for step in bisected.steps]
    assert bisected.code != 0
    assert "first bad commit" not in bisected.said
    assert bisected.steps[0].stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("decode.py:decod",), "did you mean 'decode'?"),
        (("decode.py:decode", "--scenario", "typo"), "unknown scenario"),
        (("decode.py:decode", "--axis", "num_token"), "did you mean 'num_tokens'?"),
    ],
    ids=["function", "scenario", "axis"],
)
def test_typo_ends_the_suite_s_own_search_in_a_refusal(suite, sixty_commits, words, said):
    """The good end is judged first: a question that it does not answer is not searched with."""
    done = suite("bisect", *words, "--repo", str(sixty_commits), "--good", FIRST)
    assert (2, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "the good end, " in done.stderr


def test_process_of_its_own_stops_git(sixty_commits):
    """`git bisect run python -m oom_suite probe`, which the night runs without a typo too."""
    git(sixty_commits, "bisect", "start", "HEAD", FIRST)
    probe = (sys.executable, "-m", "oom_suite", "probe", "decode.py:decode", "--axis", "token")
    said = git(sixty_commits, "bisect", "run", *probe, fails=True)
    assert "did you mean 'num_tokens'?" in said
    assert "exit code 128" in said
    assert "first bad commit" not in said


@pytest.mark.parametrize(
    ("source", "code", "word"),
    [(HEALTHY, 0, "PASS"), (FAULTY, 1, "FAIL"), (BROKEN, 125, "INCONCLUSIVE")],
    ids=["good", "bad", "broken"],
)
def test_probe_answers_git_bisect(tmp_path, suite, source, code, word):
    """A probe exits 0 for good, 1 for bad, 125 for what cannot be judged; a line a workload."""
    file = tmp_path / DECODE_FILE
    file.parent.mkdir(parents=True)
    file.write_text(source, encoding="utf-8")
    done = suite("probe", "vllm@.", "--scenario", "small")
    verdicts = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert (code, 2) == (done.returncode, len(verdicts)), done.stderr
    assert done.stdout.startswith(f"{word} vllm@. (decode): ")


@pytest.mark.parametrize(
    "words",
    [
        ("--scenario", "typo"),
        ("--axis", "tokens"),
        ("--at-most", "3 GB"),
        ("--nope",),
        ("--expect", "maybe"),
        ("--time-limit", "soon"),
        ("--good", "HEAD~1"),
        ("--axis", "num_tokens", "--at-most", "3GiB"),
        ("--test", "test_s.py"),
        ("--locked",),
        ("--file", "other.toml"),
    ],
    ids=" ".join,
)
def test_every_end_that_is_no_verdict_is_125(suite, words):
    """Outside of a search too: no word that is wrong is a verdict on a commit."""
    done = suite("probe", "full_dequant", *words)
    assert 125 == done.returncode
    assert done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.oom_registry
def test_first_good_release_is_found_in_either_order(suite):
    """Between 0.21.0, bad, and 0.25.0, good, the first good release is 0.22.0."""
    done = suite("bisect", "--good", "vllm==0.25.0", "--bad", "vllm==0.21.0", "--fresh")
    assert 0 == done.returncode, done.stderr
    assert "first good release: vllm==0.22.0\n  the last bad one: vllm==0.21.0\n" in done.stdout
    assert "  - decode: 65536*swa_num_blocks + 82048*extra_num_blocks (peak" in done.stdout
    assert "\njudged: decode for generic, issue-41962: swa_num_blocks=221839, " in done.stdout
    again = suite("bisect", "--good", "vllm==0.25.0", "--bad", "vllm==0.21.0")
    assert 4 == again.stdout.count("(known from before)")


@pytest.mark.oom_registry
def test_bytes_over_a_threshold_are_a_question_for_releases(suite):
    """It is asked instead of the contract, and the answer says so; an axis goes the same way."""
    words = ("--good", "vllm==0.22.0", "--bad", "vllm==0.21.0", "--at-most", BOUND)
    done = suite("bisect", *words, "--fresh")
    assert 0 == done.returncode, done.stderr
    assert "first good release: vllm==0.22.0\n" in done.stdout
    assert f"; bad is more than {BOUND}\n" in done.stdout


@pytest.mark.oom_registry
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--good", "vllm==0.21.0", "--bad", "vllm==0.22.0"],
            "the good end, vllm==0.21.0, is FAIL and not PASS",
        ),
        (["--good", "vllm==0.25.0", "--bad", "vllm==0.20.2"], "is INCONCLUSIVE and not FAIL"),
        (["--good", "vllm==0.21.0", "--bad", "vllm==0.21.0"], "the same release"),
        (["--good", "vllm@.", "--bad", "vllm==0.21.0"], "is not a release"),
    ],
    ids=["swapped", "not-applicable", "same", "a-tree"],
)
def test_ends_that_are_not_as_claimed_are_refused(suite, words, said):
    """A bisection between ends that are not good and bad says so in one line, with exit code 2."""
    done = suite("bisect", *words)
    assert 2 == done.returncode
    (line,) = (x for x in done.stderr.splitlines() if x.startswith("oom-suite: "))
    assert done.stderr.endswith(f"{line}\n")
    assert said in line
