"""A package that is not ours, built, installed beside the suite, and used from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.command import run_here
from oom_suite import doors

# Its tests share what its fixtures make: one worker runs them all.
pytestmark = pytest.mark.xdist_group("third-party")


EXAMPLE = Path(__file__).parent / "third_party"
STAND_IN = "indexer_memory/flashmla_tests.py"


def run(*words, cwd, path=None):
    """What a command said, with a folder on its path."""
    folders = [str(path)] if path else []
    folders += [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that the package's wheel is installed into."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("third_party")
    source = folder / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    built = run("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=source)
    assert 0 == built.returncode, built.stderr
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    install = ("install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    installed = run("-m", "pip", *install, cwd=folder)
    assert 0 == installed.returncode, installed.stderr
    return site


@pytest.fixture
def suite_with_it(site, tmp_path, monkeypatch):
    """A function that runs a command where the package is installed, and gives its JSON.

    In this process, which then forgets the package; its children are forked from one server.
    """

    def suite(exit_code, *words):
        done = run_here(*words, "--json", "out.json", folder=tmp_path)
        assert exit_code == done.returncode, done.stdout + done.stderr
        return json.loads((tmp_path / "out.json").read_text("utf-8"))

    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(site))
    _forget_plugins()
    yield suite
    _forget_plugins()
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "indexer_memory":
            del sys.modules[name]


def _forget_plugins():
    doors.plugins.cache_clear()
    doors._by_name.cache_clear()


@pytest.fixture
def check(suite_with_it):
    """A function that checks a subject where the package is installed, and gives its result."""

    def check(exit_code, *words):
        (result,) = suite_with_it(exit_code, "check", *words)["results"]
        return result

    return check


def law(result):
    """The formula that wins at the scenario."""
    return result["law"]["regimes"][0]["text"]


def test_it_is_known_where_it_is_installed_and_nowhere_else(site, tmp_path):
    """The suite lists its names after its own; without the package they are unknown."""
    words = ("-c", "from oom_suite import doors; print(*doors.workloads(), *doors.families())")
    own = "decode decode-swa gather prefill-gather built-in vllm file module"
    theirs = "decode decode-swa gather prefill-gather indexer-logits qsa-decode flash-mla "
    theirs += "built-in vllm file module sglang sglang+flashmla"
    assert own == run(*words, cwd=tmp_path).stdout.strip()
    assert theirs == run(*words, cwd=tmp_path, path=site).stdout.strip()


@pytest.mark.oom_registry
@pytest.mark.parametrize("version", ["0.21.0", "0.33.0"])
def test_vllms_indexer_copies_the_pool_where_it_scores_two_tokens(check, version):
    """65,792 bytes a block of 64 tokens: the values, their scales and the product, in float32."""
    result = check(1, f"vllm=={version}", "--workload", "indexer-logits")
    assert ("FAIL", "65792*num_blocks + 1024*batch*num_heads") == (result["verdict"], law(result))
    assert "fp8_paged_mqa_logits_torch" == result["blame"][0]["function"]


@pytest.mark.oom_registry
def test_vllms_indexer_reads_what_it_needs_where_it_scores_one_token(check):
    """No pool is in the law of the other branch."""
    words = ("vllm==0.33.0", "--workload", "indexer-logits", "--scenario", "plain")
    result = check(0, *words)
    expected = "512*num_heads + 1164*max_model_len + 4*batch*max_model_len"
    assert ("PASS", expected) == (result["verdict"], law(result))


@pytest.mark.oom_registry
def test_sglangs_indexer_passes(site, tmp_path):
    """Its law names requests and their pages, and no pool; in a process that has loaded nothing."""
    words = ("check", "sglang==0.5.23", "--workload", "qsa-decode", "--json", "out.json")
    done = run("-m", "oom_suite", *words, cwd=tmp_path, path=site)
    assert 0 == done.returncode, done.stdout + done.stderr
    (result,) = json.loads((tmp_path / "out.json").read_text("utf-8"))["results"]
    assert ("PASS", "8192*batch + 53248*batch*pages") == (result["verdict"], law(result))
    assert 868_352 == result["peak_requested_bytes"]


@pytest.mark.oom_registry
def test_what_the_wheel_lacks_is_named(check):
    """Nobody who installed the wheel could run this, and so it is not judged."""
    result = check(3, "sglang==0.5.23", "--workload", "flash-mla")
    assert "INCONCLUSIVE" == result["verdict"]
    assert "imports `sglang.srt.flashmla_tests`, which it does not hold" in result["reason"]


@pytest.mark.oom_registry
def test_with_a_stand_in_the_whole_cache_is_seen(check):
    """82,048 bytes a block; the report says whose lines they are."""
    result = check(1, "sglang+flashmla==0.5.23", "--workload", "flash-mla")
    assert ("FAIL", "82048*num_blocks") == (result["verdict"], law(result))
    assert result["blame"][0]["file"].endswith(STAND_IN)
    assert result["notes"][0].startswith("sglang.srt.flashmla_tests is not in sglang's wheel")


@pytest.mark.oom_registry
def test_a_release_has_no_code_for_a_workload_of_others(check):
    """sglang is not asked for vLLM's step: which workloads it takes is said instead."""
    result = check(3, "sglang==0.5.23", "--workload", "decode")
    expected = (
        "not applicable: no code of sglang is known for the workload decode, only qsa-decode, "
        "flash-mla"
    )
    assert ("INCONCLUSIVE", expected) == (result["verdict"], result["reason"])


@pytest.mark.parametrize(
    ("name", "verdict", "blamed"),
    [
        ("qsa_faults:widens_the_cache", "FAIL", ["widens_the_cache"]),
        ("qsa_faults:one_page_after_the_other", "PASS", []),
    ],
)
def test_its_faults_are_tried_as_the_suite_s_own_are(suite_with_it, name, verdict, blamed):
    """The planted one is caught on its line, and the healthy one passes."""
    found = suite_with_it(0, "selfcheck", "--half", "quick", "--only", name)
    (trial,) = found["selfcheck"]["seen"]
    assert (name, verdict, blamed) == (trial["name"], trial["verdict"], trial["named"])


def test_its_twin_is_tried_under_the_detectors_that_its_workload_is_fit_for(suite_with_it):
    """A workload without an oracle: what needs one is left out."""
    found = suite_with_it(0, "selfcheck", "--only", "qsa_faults:one_page_after_the_other")
    trials = found["selfcheck"]["seen"]
    expected = ["law", "reads", "writes", "addresses", "capture", "creep"]
    assert expected == [trial["detector"] for trial in trials]


@pytest.mark.oom_registry
def test_safety_detectors_run_on_its_steps_as_far_as_it_says_what_they_need(suite_with_it):
    """It has small steps and says which blocks they name; it has no oracle."""
    (report,) = suite_with_it(3, "check", "sglang==0.5.23", "--safety")["safety"]
    verdicts = {one["name"]: one["verdict"] for one in report["findings"]}
    fit = ("reads", "writes", "addresses", "capture", "creep")
    expected = dict.fromkeys(fit, "PASS") | dict.fromkeys(("indices", "precision"), "INCONCLUSIVE")
    assert expected == verdicts
    reasons = {one["reason"] for one in report["findings"] if one["verdict"] == "INCONCLUSIVE"}
    assert {"not applicable: the workload qsa-decode has no oracle"} == reasons
