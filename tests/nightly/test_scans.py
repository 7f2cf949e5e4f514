"""What docs/findings and docs/scan.md say of releases: minutes of runs, and so not on a push."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from examples import cures

from fixtures.command import run_here

pytestmark = pytest.mark.oom_registry

PAGE = Path(__file__).parents[2] / "docs/scan.md"


@pytest.mark.parametrize(
    ("name", "known", "release"),
    [
        ("paged_logits", "indexer-logits", "vllm==0.33.0"),
        ("prefill_logits", "indexer-prefill", "vllm==0.33.0"),
        ("sliding_caches", "sliding-cache", "transformers==5.24.0"),
        ("cpu_slots", "cpu-attention", "vllm==0.33.0"),
    ],
)
def test_a_cure_passes_the_gate_that_its_release_fails(tmp_path, name, known, release):
    subject = f"{cures.__file__}:{name}"
    done = run_here("check", subject, "--workload", known, folder=tmp_path)
    assert 0 == done.returncode, done.stdout
    failed = run_here("check", release, "--workload", known, folder=tmp_path)
    assert 1 == failed.returncode, failed.stdout


@pytest.mark.parametrize(
    ("workload", "target", "last_bad", "first_good"),
    [
        ("prefill-workspace", "cuda:sm_90", "0.23.0", "0.24.0"),
        ("prefill-workspace-rocm", "rocm:gfx942", "0.31.0", "0.32.0"),
        ("indexer-logits-rocm", "rocm:gfx942", "0.30.0", "0.31.0"),
        ("sparse-prefill", "rocm:gfx942", "0.21.0", "0.22.0"),
    ],
)
def test_each_cure_is_found_at_its_release(tmp_path, workload, target, last_bad, first_good):
    words = ("--workload", workload, "--target", target)
    done = run_here("bisect", "--bad", "vllm==0.21.0", *words, folder=tmp_path)
    assert 0 == done.returncode, done.stdout + done.stderr
    ends = f"first good release: vllm=={first_good}\n  the last bad one: vllm=={last_bad}\n"
    assert ends in done.stdout


def test_the_page_shows_what_a_scan_prints(tmp_path, monkeypatch):
    """Of two releases, as docs/scan.md has it, where nothing names a target."""
    monkeypatch.delenv("OOM_SUITE_TARGET")
    command, _, shown = PAGE.read_text("utf-8").split("```console\n$ ")[1].partition("\n")
    done = run_here(*command.split()[1:], folder=tmp_path)
    assert shown.partition("```")[0] == done.stdout


def test_the_page_shows_what_a_search_by_covers_prints(tmp_path):
    """But for times, and the versions that it was run with."""
    page = (PAGE.parent / "bisect.md").read_text("utf-8")
    _, found, block = page.partition("$ oom-suite bisect --bad vllm==0.21.0 --good vllm==0.33.0 ")
    assert found
    command, _, shown = block.partition("```")[0].replace("\\\n", "").partition("\n")
    words = shlex.split(found.removeprefix("$ oom-suite ") + command)
    done = run_here(*words, folder=tmp_path)
    assert 0 == done.returncode, done.stderr
    pages, prints = (
        re.sub(r" \((\d+\.\d s|known from before)\)|with Python .*", "", text)
        for text in (shown, done.stdout)
    )
    assert pages == prints
