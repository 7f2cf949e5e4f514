"""`oom-suite law` as its users meet it."""

from __future__ import annotations

import functools
import json

import pytest

# From 1,023 MiB on, the pool keeps all of its segment of 1 GiB, and nothing else fits beside it.
WHOLE_SEGMENT = 1023 * 1024

SOURCE = """\
import torch


def decode(q, swa_k_cache, swa_indices, **step):
    pool = torch.empty(swa_k_cache.shape[0], 1024, dtype=torch.uint8, device=q.device)
    rows = torch.empty(*swa_indices.shape, 512, dtype=torch.uint8, device=q.device)
    step["output"].zero_()
    return pool, rows


def broken(q, **step):
    raise ValueError("no such thing")
"""


@pytest.fixture
def law(tmp_path, suite):
    """`law(*words)`: a run of `oom-suite law` in a folder with `s.py`."""
    (tmp_path / "s.py").write_text(SOURCE, encoding="utf-8")
    return functools.partial(suite, "law")


def test_the_law_with_its_lines_values_and_limits(law):
    """Formula, each term with the line that makes it, the scenarios, and what fits a budget."""
    done = law("s.py:decode", "--budget", "1GiB")
    assert 0 == done.returncode, done.stderr
    for line in (
        "           1024*swa_num_blocks + 512*num_tokens*swa_topk",
        "  assumes  nothing about the sizes: the code under test asked for no condition",
        "           block_size = 64 (not varied)",
        "             1,024 bytes per swa_num_blocks: s.py:5 (decode)",
        "             512 bytes per num_tokens*swa_topk: s.py:6 (decode)",
        "  values   small        320.00 KiB (327,680 bytes)",
        f"  fits     1GiB takes at most {WHOLE_SEGMENT - 1:,} swa_num_blocks",
    ):
        assert line in done.stdout.splitlines()


def test_what_fits_is_what_check_says(law, suite, tmp_path):
    """At the largest pool the peak fits the budget; with one block more it does not."""
    body = law_json(law, tmp_path, "s.py:decode", "--budget", "1GiB")
    largest = body["limits"]["swa_num_blocks"]["largest"]
    for size, fits in ((largest, True), (largest + 1, False)):
        words = ("--budget", "1GiB", "--set", f"swa_num_blocks={size}", "--json", "check.json")
        suite("check", "s.py:decode", "--workload", "decode", *words)
        (result,) = json.loads((tmp_path / "check.json").read_text())["results"]
        assert fits is result["budget"]["fits"]


def law_json(law, tmp_path, *words):
    done = law(*words, "--json", "law.json")
    assert 0 == done.returncode, done.stderr
    return json.loads((tmp_path / "law.json").read_text())["law"]


def test_json_holds_the_law_and_its_terms(law, tmp_path):
    """Machines get every formula, the terms with their lines, and the scenarios to the byte."""
    body = law_json(law, tmp_path, "s.py:decode", "--scenario", "small")
    assert ["1024*swa_num_blocks + 512*num_tokens*swa_topk"] == body["law"]["regimes"]
    assert {"law_bytes": 327680, "run_bytes": 327680} == body["scenarios"]["small"]
    (rows,) = [term for term in body["terms"] if term["text"] == "512*num_tokens*swa_topk"]
    assert [{"where": "s.py:6 (decode)", "coefficient": "512"}] == rows["lines"]


def test_a_subject_without_a_law_is_one_line(law):
    """What cannot be run has no law: one line says why, and the exit code is not green."""
    done = law("s.py:broken")
    assert 3 == done.returncode
    assert 1 == len(done.stdout.splitlines())
    assert done.stdout.startswith("INCONCLUSIVE s.py:broken: no law was found: raised: ValueError")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s.py:decode", "--budget", "1GB"], "unknown unit 'GB'"),
        (["s.py:decode", "--workload", "decod"], "did you mean 'decode'?"),
        (["s.py:decode", "--set", "num_block=4"], "did you mean 'num_blocks'?"),
        (["ful_dequant"], "did you mean 'full_dequant'?"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(law, words, said):
    """What cannot be understood is refused before anything runs."""
    done = law(*words)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert said in done.stderr
