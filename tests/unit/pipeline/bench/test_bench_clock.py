"""How a call is timed, on a simulated device; inputs and their sizes, on a CPU."""

from __future__ import annotations

import pytest
import torch

from oom_suite.pipeline.bench.clock import (
    LEAST_CALLS,
    LEAST_INPUTS,
    MOST_INPUTS,
    REPLAYS,
    RefusedError,
    num_inputs,
    scratch_bytes,
    time_us,
)
from oom_suite.pipeline.bench.inputs import Inputs, moved_bytes
from oom_suite.pipeline.bench.shapes import DENSE, SPARSE
from oom_suite.pipeline.bench.timing import REFUSED, Load, Time
from oom_suite.processes.protocol import Kept
from oom_suite.records.bench import Shape, Timing
from oom_suite.workloads.sparse_mla.builtins.dense_staging import dense_staging
from oom_suite.workloads.sparse_mla.kernels.decode import fused_decode
from oom_suite.workloads.sparse_mla.kernels.gather import (
    dequantize_and_gather_k_cache,
    dequantize_and_gather_k_cache_sparse,
)
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging
from oom_suite.workloads.sparse_mla.prefill.step import fetch

L2_BYTES = 50 << 20


class Simulated:
    """A device whose runs take the times that it is given, one after the other."""

    def __init__(self, times=(), is_capturing=True):
        self.times, self.is_capturing = list(times), is_capturing
        self.captured = []

    def capture(self, calls):
        if not self.is_capturing:
            raise RefusedError("operation not permitted")
        self.captured.append(len(calls))
        return lambda: None

    def elapsed_us(self, call):
        call()
        return self.times.pop(0)

    def peak_bytes(self, call):
        call()
        return 4096


def test_the_median_of_seven_replays_is_shared_by_the_calls():
    """The first run and the first replay do not count, nor the two that fill 50 ms."""
    device = Simulated([900.0, 20_000.0, 900.0, 800.0, 40.0, 44.0, 36.0, 4000.0, 41.0, 39.0, 42.0])
    assert 41.0 / 40 == time_us([lambda: None] * 40, device)
    assert ([40], []) == (device.captured, device.times)


@pytest.mark.parametrize(("num_calls", "captured"), [(4, 32), (31, 62), (32, 32), (33, 33)])
def test_a_graph_has_so_many_calls_that_its_own_beginning_is_little(num_calls, captured):
    """All of them as often as it takes."""
    device = Simulated([1.0, 50_001.0, *[320.0] * REPLAYS])
    assert 320.0 / captured == time_us([lambda: None] * num_calls, device)
    assert [captured] == device.captured


def test_without_a_graph_the_calls_themselves_are_timed():
    """Each of them in each run: before, first, once more to fill 50 ms, and seven times."""
    num_calls = []
    device = Simulated([50_000.0] * (3 + REPLAYS))
    assert 25_000.0 == time_us([lambda: num_calls.append(1)] * 2, device, uses_graph=False)
    assert 2 * (3 + REPLAYS) == len(num_calls)
    assert [] == device.captured


def test_what_is_slow_is_replayed_less_often():
    """More than 200 ms for all inputs once: three times, not seven."""
    device = Simulated([1.0, 200_001.0, 3.0, 1.0, 2.0])
    assert 2.0 / 32 == time_us([lambda: None], device)
    at_most = Simulated([1.0, 200_000.0, *range(1, 8)])
    assert 4.0 / 32 == time_us([lambda: None], at_most)


def test_a_capture_that_is_refused_is_an_error_of_its_own():
    """Its process must not be used again."""
    with pytest.raises(RefusedError, match="operation not permitted"):
        time_us([lambda: None], Simulated([1.0], is_capturing=False))


def test_scratch_is_what_the_device_counts():
    """Of one call."""
    assert 4096 == scratch_bytes(lambda: None, Simulated())


@pytest.mark.parametrize(
    ("bytes_of_a_call", "wanted"),
    [(1, MOST_INPUTS), (1 << 20, 100), (25 << 20, 4), (1 << 30, LEAST_INPUTS), (0, MOST_INPUTS)],
)
def test_inputs_touch_twice_the_last_cache(bytes_of_a_call, wanted):
    """As far as 512 of them do, and four at least."""
    assert wanted == num_inputs(bytes_of_a_call, L2_BYTES)


def test_a_row_is_read_and_written_once():
    """584 bytes stored and 1,024 decoded; a step reads its keys and queries, and writes as many."""
    assert 1608 * 32_000 == moved_bytes(Shape("gather", "", {"rows": 32_000}))
    sizes = {"heads": 64, "tokens": 2}
    step = 2 * 2 * 64 * 1024
    assert 2 * 128 * 584 + step == moved_bytes(Shape("decode", "", sizes, "swa_only"))
    assert 2 * 640 * 584 + step == moved_bytes(Shape("decode", "", sizes, "c128a"))


@pytest.fixture
def inputs(monkeypatch):
    """Small pools on a CPU."""
    module = "oom_suite.pipeline.bench.inputs"
    monkeypatch.setattr(f"{module}._GATHER_BLOCKS", 8)
    monkeypatch.setattr(f"{module}._DECODE_BLOCKS", 8)
    monkeypatch.setattr(f"{module}._ALL_ROWS", 128)
    return Inputs(1, "cpu")


@pytest.mark.parametrize("layer", ["swa_only", "c4a", "c128a"])
def test_the_steps_are_what_a_kernel_takes(inputs, layer):
    """Each gives numbers, over one pool and with indices of its own."""
    steps = inputs.of(Shape("decode", "", {"heads": 8, "tokens": 2}, layer), "fused")
    assert LEAST_INPUTS == len(steps)
    assert 1 == len({step["swa_k_cache"].data_ptr() for step in steps})
    assert not torch.equal(steps[0]["swa_indices"], steps[1]["swa_indices"])
    for step in steps[:1]:
        step["output"].fill_(torch.nan)
        fused_decode(**step)
        assert step["output"].isfinite().all()


def test_the_gathers_are_what_the_kernels_take(inputs):
    """Some rows by slot, and all of them by block table, whatever part the shape wants."""
    shape = Shape("gather", "", {"rows": 32, "percent": 25})
    for step in inputs.of(shape, SPARSE):
        dequantize_and_gather_k_cache_sparse(**step)
        assert (32, 512) == step["out"].shape
    for step in inputs.of(shape, DENSE):
        dequantize_and_gather_k_cache(**step)
        assert (1, 128, 512) == step["out"].shape


def test_a_part_is_of_the_rows_of_a_prefix(inputs):
    """In two of eight blocks, no row twice, and not in order."""
    for step in inputs.of(Shape("gather", "", {"rows": 128, "percent": 100}), SPARSE):
        slots = step["slot_indices"]
        assert 2 == len((slots // 64).unique())
        assert 128 == len(slots.unique())
        assert not torch.equal(slots, slots.sort().values)


@pytest.mark.parametrize(
    ("sizes", "scales_of_a_call"),
    [({"rows": 256}, 8 * 512), ({"rows": 32}, 64 * 32), ({"rows": 128, "percent": 100}, 8 * 128)],
    ids=["all slots'", "64 bytes for a row", "a prefix's"],
)
def test_no_gather_finds_its_scales_in_the_cache(inputs, sizes, scales_of_a_call):
    """Between a call and the next of the same slots, as many others pass as fill it twice."""
    scales_of_a_pool = 8 * 512
    inputs._l2_bytes = 4 * scales_of_a_pool
    steps = inputs.of(Shape("gather", "", sizes), SPARSE)
    assert 2 * inputs._l2_bytes == len(steps) * scales_of_a_call
    assert 8 == len({step["k_cache"].data_ptr() for step in steps})
    assert LEAST_INPUTS == len({step["out"].data_ptr() for step in steps})


def test_the_chunks_are_what_a_prefill_takes(inputs, monkeypatch):
    """Of the rows of the union a part of the prefix's entries, over two caches."""
    monkeypatch.setattr("oom_suite.pipeline.bench.inputs.PREFILL_POOL_BLOCKS", 8)
    sizes = {"entries": 256, "requests": 2, "queries": 4, "percent": 25}
    shape = Shape("prefill", "", sizes)
    assert 1608 * 2 * 64 == moved_bytes(shape)
    first, second, *_ = inputs.of(shape, "union")
    assert first["k_cache"].data_ptr() == second["k_cache"].data_ptr()
    assert not torch.equal(first["topk_indices"], second["topk_indices"])
    rows = []
    for staging in (union_staging, dense_staging):
        seen = staging_rows(staging, first)
        rows.append(seen)
    assert torch.equal(*rows)


def staging_rows(staging, step):
    """The rows that the queries of a chunk find."""
    found = []

    def attend(kv, indices, lens, output):
        del output
        found.append(kv.new_empty((len(lens), indices.shape[1], 512)))
        fetch(kv, indices, lens, found[0])

    staging(**{**step, "attend": attend})
    return found[0]


def test_of_vllm_s_prefills_one_can_be_called():
    """Another release is refused in a line."""
    why = "UsageError: of vLLM's prefills that of vllm==0.33.0 alone can be called"
    assert why == Load("vllm==0.22.0", "prefill").answer(Kept())


def test_inputs_of_one_shape_serve_all_its_subjects(inputs):
    """They are made once, and go before the next ones come."""
    shape = Shape("decode", "", {"heads": 8, "tokens": 2}, "c4a")
    first = inputs.of(shape, "fused")
    assert first is inputs.of(shape, "streaming")
    assert first is not inputs.of(Shape("decode", "", {"heads": 8, "tokens": 1}, "c4a"), "fused")


@pytest.fixture
def asked(inputs, monkeypatch):
    """`asked(gpu, call)`: a request for the time of a call, answered here on inputs of a CPU."""

    def time_on(gpu, call=lambda **step: None, **options):
        monkeypatch.setattr(Load, "loaded", lambda *_: call)
        monkeypatch.setattr("oom_suite.pipeline.bench.clock.Gpu", lambda: gpu)
        kept = Kept()
        kept.get("inputs", lambda: inputs)
        shape = Shape("decode", "", {"heads": 8, "tokens": 1}, "c4a")
        return Time(Load("ours", "decode"), shape, 1, **options).answer(kept)

    return time_on


@pytest.mark.parametrize(("uses_graph", "how"), [(True, "graph"), (False, "events")])
def test_a_time_comes_with_memory_and_with_how_it_was_taken(asked, uses_graph, how):
    """What it moves, too, for the share of a copy's bandwidth."""
    gpu = Simulated([80_000.0] * (2 + REPLAYS))
    found = asked(gpu, uses_graph=uses_graph)
    moved = 640 * 584 + 2 * 8 * 1024
    num_calls = LEAST_CALLS if uses_graph else LEAST_INPUTS
    assert Timing("ours", how, 80_000.0 / num_calls, 4096, LEAST_INPUTS, moved) == found


def test_a_capture_that_is_refused_is_no_time_and_says_so(asked):
    """Who asks may ask again without a graph."""
    found = asked(Simulated([1.0], is_capturing=False))
    assert Timing("ours", "untimed", note=f"{REFUSED}operation not permitted") == found


def test_a_call_that_fails_is_no_time_and_says_why(asked):
    """In one line."""
    found = asked(Simulated(), lambda **step: step["nothing"])
    assert Timing("ours", "untimed", note="KeyError: 'nothing'") == found


@pytest.mark.parametrize(
    ("subject", "part"),
    [
        ("fused", "decode"),
        ("sparse", "gather"),
        ("dense", "gather"),
        ("streaming", "decode"),
    ],
)
def test_the_usual_subjects_can_be_loaded(subject, part):
    """By their short names."""
    assert "" == Load(subject, part).answer(Kept())


def test_a_package_that_is_missing_is_said_in_one_line():
    """FlashMLA is on few machines."""
    assert "ModuleNotFoundError: No module named 'flash_mla'" == Load("flash_mla", "decode").answer(
        Kept()
    )
