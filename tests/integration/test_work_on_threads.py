"""The bug of vLLM #41962 on other threads fails as it does on the calling one."""

from __future__ import annotations

import json

import pytest

from fixtures.command import run_here

# Judged once: one worker has all of these tests.
pytestmark = pytest.mark.xdist_group("work-on-threads")

SUBJECTS = """
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

EARLIER = ThreadPoolExecutor(2)
EARLIER.submit(int).result()


def plain(swa_k_cache, output, **step):
    output.fill_(swa_k_cache.to(torch.bfloat16).shape[0])


def threaded(swa_k_cache, output, **step):
    box = []
    worker = threading.Thread(target=lambda: box.append(swa_k_cache.to(torch.bfloat16)))
    worker.start()
    worker.join()
    output.fill_(box[0].shape[0])


def pooled(swa_k_cache, output, **step):
    with ThreadPoolExecutor(2) as pool:
        keys = pool.submit(swa_k_cache.to, torch.bfloat16).result()
    output.fill_(keys.shape[0])


def made_earlier(swa_k_cache, output, **step):
    output.fill_(EARLIER.submit(lambda: swa_k_cache.to(torch.bfloat16)).result().shape[0])


def healthy(swa_k_cache, output, **step):
    with ThreadPoolExecutor(2) as pool:
        output.fill_(pool.submit(lambda: swa_k_cache[:1].to(torch.bfloat16)).result().shape[0])


def writes_nothing(**step):
    pass


def starts_a_process(swa_k_cache, output, **step):
    import subprocess
    subprocess.run(["true"], check=True)
    output.fill_(1)


def breaks_its_promise_and_starts_a_process(swa_k_cache, output, **step):
    import subprocess
    subprocess.run(["true"], check=True)
    output.fill_(swa_k_cache.to(torch.bfloat16).shape[0])
"""
POOL_BYTES = 74752 * 221839


def line_of(function, text):
    """The line of the first such text in a function of the subjects."""
    lines = SUBJECTS.splitlines()
    start = lines.index(next(each for each in lines if each.startswith(f"def {function}(")))
    return next(n for n in range(start, len(lines)) if text in lines[n]) + 1


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What `oom-suite check` says of each subject, by its function."""
    folder = tmp_path_factory.mktemp("threads")
    (folder / "s.py").write_text(SUBJECTS, encoding="utf-8")
    names = [
        each.partition("(")[0].removeprefix("def ")
        for each in SUBJECTS.splitlines()
        if each.startswith("def ")
    ]
    subjects = (f"s.py:{name}" for name in names)
    words = ("check", "--workload", "decode-swa", "--json", "found.json", *subjects)
    run_here(*words, folder=folder)
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return {each["subject"].partition(":")[2]: each for each in found["results"]}


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("plain", "to(torch"),
        ("threaded", "to(torch"),
        ("pooled", "submit"),
        ("made_earlier", "submit"),
        ("breaks_its_promise_and_starts_a_process", "to(torch"),
    ],
)
def test_the_pool_on_any_thread_is_a_broken_promise_with_its_line(results, function, text):
    found = results[function]
    (blame,) = found["blame"]
    assert ("FAIL", POOL_BYTES, line_of(function, text)) == (
        found["verdict"],
        found["peak_requested_bytes"],
        blame["line"],
    )


def test_a_block_on_a_thread_is_none(results):
    assert "PASS" == results["healthy"]["verdict"], results["healthy"]["reason"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("writes_nothing", "the call writes no element of `output`"),
        ("starts_a_process", "another process is started (subprocess) at s.py:"),
    ],
)
def test_what_was_not_done_or_not_seen_is_not_green(results, function, reason):
    found = results[function]
    assert "INCONCLUSIVE" == found["verdict"]
    assert found["reason"].startswith(reason)
