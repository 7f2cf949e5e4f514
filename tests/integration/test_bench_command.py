"""`oom-suite bench` on a simulated GPU: what it prints and keeps, and how it ends."""

from __future__ import annotations

import json

import pytest

from fixtures.simulated_gpu import SimulatedGpu
from oom_suite.pipeline.bench import run


@pytest.fixture
def on_gpu(monkeypatch):
    """`on_gpu(**figures)`: the children that the command starts are of this GPU."""

    def simulated(**figures):
        gpu = SimulatedGpu(**figures)
        monkeypatch.setattr(run.Session, "child", lambda self, **kwargs: gpu.start())
        return gpu

    return simulated


def test_a_run_prints_the_table_and_keeps_every_figure(suite, tmp_path, on_gpu):
    """Exit code 0."""
    on_gpu(elapsed_us={"sparse": 2.5, "dense": 17.5})
    path = tmp_path / "bench.json"
    done = suite("bench", "--only", "gather", "--json", path)
    assert (0, "") == (done.returncode, done.stderr)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["983", "rows,", "3", "%", "sparse", "2.5", "1.00", "MiB", "1.00", "40%"] in lines
    assert ["dense", "17.5", "1.00", "MiB", "7.00", "6%"] in lines
    assert "Simulated H200, torch 2.11.0: a copy of 2 GiB moves 4,000 GB/s" in done.stdout
    body = json.loads(path.read_text(encoding="utf-8"))
    assert (True, 7) == (body["is_complete"], len(body["rows"]))
    assert {2.5} == {row["timings"][0]["elapsed_us"] for row in body["rows"]}


def test_a_run_that_is_ended_has_kept_what_it_measured(suite, tmp_path, on_gpu, monkeypatch):
    """As with Ctrl-C after the second shape."""
    gpu, path = on_gpu(), tmp_path / "bench.json"
    ask = run.Benchmark._row

    def row(self, shape, *rest):
        if len({request.shape.name for request in gpu.timed()}) == 2:
            raise KeyboardInterrupt
        return ask(self, shape, *rest)

    monkeypatch.setattr(run.Benchmark, "_row", row)
    done = suite("bench", "--only", "gather", "--json", path)
    body = json.loads(path.read_text(encoding="utf-8"))
    assert (130, False, 2) == (done.returncode, body["is_complete"], len(body["rows"]))


def test_what_is_slower_than_an_earlier_run_is_named(suite, tmp_path, on_gpu):
    """Exit code 1; the same figures are 0."""
    path = tmp_path / "before.json"
    on_gpu()
    words = ("bench", "--only", "decode", "--subject", "fused")
    assert 0 == suite(*words, "--json", path).returncode
    assert 0 == suite(*words, "--compare", path).returncode
    on_gpu(elapsed_us={"fused": 11.5})
    done = suite(*words, "--compare", path)
    worse = "worse: fused at c4a, 64 heads, 64 tokens: 11.5 us, was 10.0"
    assert (1, True) == (done.returncode, worse in done.stdout)


def test_without_a_gpu_it_is_one_line(suite, on_gpu):
    """Exit code 3, and nothing on standard output."""
    on_gpu(device="torch 2.13.0 sees no GPU here")
    done = suite("bench")
    assert (3, "") == (done.returncode, done.stdout)
    assert done.stderr == (
        "oom-suite: torch 2.13.0 sees no GPU here, and times are a GPU's: run it where there is "
        "one\n"
    )


def test_where_nothing_can_be_timed_the_reasons_are_all_there_is(suite, on_gpu):
    """Exit code 3."""
    on_gpu(missing={"fused": "UsageError: no Triton"})
    done = suite("bench", "--only", "decode", "--subject", "fused")
    assert (3, True) == (
        done.returncode,
        "not timed: fused for decode: UsageError: no Triton" in done.stdout,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "prefil"), "did you mean 'prefill'?"),
        (("--subject", "s.py:f"), "--subject s.py:f: say with --only"),
        (("--compare", "none.json"), "--compare none.json: No such file or directory"),
    ],
    ids=["part", "subject", "file"],
)
def test_bad_usage_is_one_line(suite, arguments, words):
    """Exit code 2, before anything runs."""
    done = suite("bench", *arguments)
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert words in done.stderr
