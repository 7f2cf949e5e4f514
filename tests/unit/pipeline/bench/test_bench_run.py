"""What a benchmark asks a GPU, in which order and process, and what it makes of the answers."""

from __future__ import annotations

import pytest

from fixtures.simulated_gpu import SimulatedGpu
from oom_suite.errors import UsageError
from oom_suite.pipeline.bench import run
from oom_suite.pipeline.bench.run import Benchmark, NoGpuError, Options
from oom_suite.pipeline.bench.shapes import PARTS, PEERS, SUBJECTS, shapes
from oom_suite.pipeline.bench.timing import Time


@pytest.fixture(autouse=True)
def trees(monkeypatch, tmp_path):
    """Releases have a tree each; nothing is fetched."""
    monkeypatch.setattr(
        run, "obtain", lambda spec: tmp_path / str(spec.version) if spec.version else None
    )


def benchmark(gpu, on_bench=lambda _: None, **options):
    return Benchmark(Options.of(**options), gpu.start, on_bench, lambda *_: None).run()


def test_at_each_shape_one_subject_comes_after_the_other():
    """So that a device that slows down slows all of them."""
    gpu = SimulatedGpu()
    found = benchmark(gpu, only=["decode"], subjects=["fused", "streaming"], peers=["vllm==0.33.0"])
    for row in found.rows:
        assert ["fused", "streaming", "vllm==0.33.0"] == [one.subject for one in row.timings]
    assert [row.shape for row in found.rows] == shapes(("decode",))


def test_a_release_has_a_process_of_its_own_and_all_else_shares_one():
    """Two trees of one package do not fit into a process."""
    gpu = SimulatedGpu()
    benchmark(gpu, only=["decode"])
    kinds = [
        {one.subject.subject for one in child.asked if isinstance(one, Time)}
        for child in gpu.started
    ]
    assert [set(SUBJECTS["decode"]), *({peer} for peer in PEERS["decode"])] == kinds


def test_what_cannot_be_captured_is_timed_by_events_from_then_on():
    """Its process is ended once, and the rows say how and why."""
    gpu = SimulatedGpu(refuses=("block_compaction",))
    found = benchmark(gpu, only=["decode"], subjects=["fused", "block_compaction"])
    assert 1 == gpu.started[0].num_closed
    fused, refused = zip(*(row.timings for row in found.rows), strict=True)
    assert {("graph", "")} == {(one.how, one.note) for one in fused}
    assert {("events", "not captured: operation not permitted")} == {
        (one.how, one.note) for one in refused
    }
    tried = [one for one in gpu.timed() if one.subject.subject == "block_compaction"]
    assert 1 == sum(one.uses_graph for one in tried)


def test_a_process_that_dies_leaves_its_row_untimed_and_the_others_are():
    """What it died of is the note."""
    found = benchmark(
        SimulatedGpu(dies=("fused",)), only=["decode"], subjects=["fused", "streaming"]
    )
    dead, alive = found.rows[0].timings
    assert ("untimed", None) == (dead.how, dead.elapsed_us)
    assert "crashed: the process crashed with SIGSEGV" == dead.note
    assert 10.0 == alive.elapsed_us


def test_a_package_that_is_not_there_is_named_and_not_timed():
    """And never asked for a time."""
    missing = {"flash_mla": "ModuleNotFoundError: No module named 'flash_mla'"}
    gpu = SimulatedGpu(missing=missing)
    found = benchmark(gpu, only=["decode"])
    assert {"flash_mla for decode": missing["flash_mla"]} == found.absent
    assert "flash_mla" not in {one.subject.subject for one in gpu.timed()}


def test_a_release_that_cannot_be_had_is_named(monkeypatch):
    """As where there is no network."""

    def obtain(spec):
        if spec.version:
            raise UsageError("no network")

    monkeypatch.setattr(run, "obtain", obtain)
    found = benchmark(SimulatedGpu(), only=["decode"])
    assert {f"{peer} for decode": "no network" for peer in PEERS["decode"]} == found.absent


def test_all_rows_by_block_table_are_beside_a_part_of_them_alone():
    """Table A has scattered rows, and nothing to hold them against but the copy."""
    found = benchmark(SimulatedGpu(), only=["gather"])
    timed = {row.shape.name: [one.subject for one in row.timings] for row in found.rows}
    assert ["sparse"] == timed["262,144 rows"]
    assert ["sparse", "dense"] == timed["983 rows, 3 %"]
    assert 7 == len(timed)


def test_what_is_known_is_given_after_each_shape():
    """So that nothing measured is lost where a run ends early."""
    known = []
    found = benchmark(SimulatedGpu(), known.append, only=["gather"])
    assert list(range(8)) == sorted({len(one.rows) for one in known})
    assert found == known[-1]
    assert known[0].device is not None


def test_without_a_gpu_nothing_is_begun():
    """The reason is torch's."""
    gpu = SimulatedGpu(device="torch 2.13.0 sees no GPU here")
    with pytest.raises(NoGpuError, match=r"torch 2\.13\.0 sees no GPU here, and times are a GPU's"):
        benchmark(gpu)
    assert [] == gpu.timed()


def test_peers_are_the_usual_ones_only_beside_the_usual_subjects():
    """Who names what is to be timed gets that, and the peers that are named."""
    assert (*SUBJECTS["decode"], *PEERS["decode"]) == Options.of().subjects["decode"]
    assert {"decode": ("fused",)} == Options.of(subjects=["fused"]).subjects
    beside = Options.of(subjects=["union"], peers=["vllm==0.33.0"]).subjects
    assert {"prefill": ("union", "vllm==0.33.0")} == beside
    named = Options.of(only=["decode"], subjects=["m:f"], peers=["vllm==0.25.0"]).subjects
    assert {"decode": ("m:f", "vllm==0.25.0")} == named
    assert PARTS == tuple(Options.of().subjects)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": ["gahter"]}, "unknown part 'gahter': .* did you mean 'gather'"),
        (
            {"subjects": ["m:f"]},
            "--subject m:f: say with --only which of gather, decode, prefill it is",
        ),
        ({"only": ["gather"], "subjects": ["fused"]}, "--subject fused is timed by none of gather"),
        ({"only": ["gather"], "peers": ["vllm==0.33.0"]}, "peers are timed for decode and prefill"),
        ({"peers": ["vlm==1"]}, "vlm==1"),
    ],
    ids=["part", "ambiguous", "elsewhere", "peer", "spelling"],
)
def test_what_cannot_be_timed_is_refused_before_anything_runs(options, words):
    """One line, with what is allowed."""
    with pytest.raises(UsageError, match=words):
        Options.of(**options)
