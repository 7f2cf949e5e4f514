"""What CUDA's kernels allocate inside, against what an H200 recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lane_traces import trace_in

from oom_suite.operators import inside as predictions
from oom_suite.operators.cuda.cub import sort_bytes, tiles_bytes
from oom_suite.operators.kernels import Call, Kernels
from oom_suite.operators.steps import Give, Take
from oom_suite.tracing.shadow import ShadowLane

UNIQUE = "aten::_unique2"


def inside(op, args, result):
    """The steps of a call on an H200."""
    return predictions.inside(Call(op, args, {}, result, Kernels()))


# torch.unique on an NVIDIA H200, torch 2.11.0+cu130, 2026-11-22: dtype, values, whether inverse,
# and the scratch of the sort, of the sum and of the selection, in bytes.
H200 = [
    (torch.int64, 1, False, (1, None, 1023)),
    (torch.int64, 2048, True, (1, 1023, 1023)),
    (torch.int64, 8192, False, (84_479, None, 1023)),
    (torch.int64, 8192, True, (150_015, 1023, 1023)),
    (torch.int64, 65_536, False, (553_471, None, 1023)),
    (torch.int64, 65_536, True, (1_080_831, 1023, 1023)),
    (torch.int64, 1_048_576, False, (8_592_895, None, 2815)),
    (torch.int64, 1_048_576, True, (17_027_583, 3583, 2815)),
    (torch.int64, 4_194_304, False, (34_317_823, None, 8959)),
    (torch.int64, 4_194_304, True, (68_058_623, 11_775, 8959)),
    (torch.int32, 1, True, (1, 1023, 1023)),
    (torch.int32, 2048, False, (1, None, 1023)),
    (torch.int32, 8192, False, (43_519, None, 1023)),
    (torch.int32, 8192, True, (109_055, 1023, 1023)),
    (torch.int32, 65_536, True, (808_447, 1023, 1023)),
    (torch.int32, 1_048_576, False, (4_350_463, None, 2303)),
    (torch.int32, 1_048_576, True, (12_792_319, 3583, 2303)),
    (torch.int32, 4_194_304, False, (17_374_719, None, 6143)),
    (torch.int32, 4_194_304, True, (51_140_095, 11_775, 6143)),
]


def scratch_of(dtype, count, inverse):
    values = torch.empty(count, dtype=dtype, device="meta")
    empty = values.new_empty(0)
    steps = inside(UNIQUE, (values, True, inverse, False), (empty, empty, empty))
    taken = {step.op: step.num_bytes for step in steps if isinstance(step, Take)}
    found = (taken.get(f"cub::Device{name}") for name in ("RadixSort", "Scan", "Select"))
    return tuple(found), steps


@pytest.mark.parametrize(
    ("dtype", "count", "inverse", "expected"),
    H200,
    ids=lambda value: str(value).removeprefix("torch.") if not isinstance(value, tuple) else "",
)
def test_the_scratch_of_unique_is_the_h200s_to_the_byte(dtype, count, inverse, expected):
    assert expected == scratch_of(dtype, count, inverse)[0]


@pytest.mark.parametrize(
    ("dtype", "last", "inverse"),
    [
        (torch.int64, 2304, False),
        (torch.int64, 2304, True),
        (torch.int32, 4864, False),
        (torch.int32, 2304, True),
    ],
)
def test_what_one_block_sorts_needs_a_single_byte(dtype, last, inverse):
    assert 1 == scratch_of(dtype, last, inverse)[0][0]
    assert scratch_of(dtype, last + 1, inverse)[0][0] > 1


def test_everything_taken_is_given_back_but_the_results():
    _, steps = scratch_of(torch.int64, 100, inverse=True)
    taken = [step.name for step in steps if isinstance(step, Take)]
    given = [step.name for step in steps if isinstance(step, Give)]
    assert [1, 0] == [name for name in taken if isinstance(name, int)]
    assert sorted(name for name in taken if isinstance(name, str)) == sorted(given)


def test_what_is_not_known_to_the_byte_is_left_alone():
    """More than CUB sorts at once."""
    many = torch.empty(1 << 28, dtype=torch.int64, device="meta")
    assert inside(UNIQUE, (many, True, True, False), (many,) * 3) is None


def test_an_operator_without_scratch_is_left_alone():
    assert inside("aten::add", (torch.empty(4),), torch.empty(4)) is None


def test_a_sum_into_int32_takes_what_the_h200_recorded():
    lens = torch.empty(4, dtype=torch.int32)
    assert inside("aten::cumsum", (lens, 0, lens), lens) == (
        Take("cub::DeviceScan", 1023, "cub::DeviceScan"),
        Give("cub::DeviceScan"),
    )


def test_the_shadow_lane_adds_scratch_only_where_it_is_asked_to(short):
    """Laws speak of what the code asks for; a prediction for a device has its kernels' too."""

    def build(sizes, device):
        blocks = torch.arange(64, device=device)
        return lambda: torch.unique(blocks)

    without = trace_in("shadow", torch.unique, lambda device: (torch.arange(64, device=device),))
    assert [512, -512] == short(without)
    lane = ShadowLane(Path("/"), "cuda")
    assert [512, 1, -1, 512, 8, 1023, -1023, -8, -512, -512] == short(lane.run(build, {}))


def test_one_value_more_than_a_block_takes_another_block():
    keys_and_values_bytes = 256  # one more of each, aligned
    grown_bytes = sort_bytes(2 * 4608 + 1, 8, 8) - sort_bytes(2 * 4608, 8, 8)
    assert 1024 + 2 * keys_and_values_bytes == grown_bytes
    assert 256 == tiles_bytes(32 * 3072 + 1, 3072) - tiles_bytes(32 * 3072, 3072)


def steps_of(values, inverse):
    """The steps of a unique of these values: ``+bytes name`` and ``-name``."""
    result = (values.new_empty(0),) * 3
    steps = inside(UNIQUE, (values, True, inverse, False), result)
    return [
        f"+{step.num_bytes} {step.name}" if isinstance(step, Take) else f"-{step.name}"
        for step in steps
    ]


SORT, SCAN, SELECT = (f"cub::Device{name}" for name in ("RadixSort", "Scan", "Select"))


@pytest.mark.parametrize(("dtype", "width"), [(torch.int32, 4), (torch.int64, 8)])
def test_unique_takes_and_gives_in_the_order_of_its_source(dtype, width):
    """Sorted values, then the result, its length and the scratch of the selection."""
    assert steps_of(torch.empty(100, dtype=dtype), inverse=False) == [
        f"+{100 * width} sorted", f"+1 {SORT}", f"-{SORT}", f"+{100 * width} 0", "+8 length",
        f"+1023 {SELECT}", f"-{SELECT}", "-length", "-sorted",
    ]  # fmt: skip


@pytest.mark.parametrize(("dtype", "width"), [(torch.int32, 4), (torch.int64, 8)])
def test_an_inverse_takes_places_of_eight_bytes_each_besides(dtype, width):
    """Whatever the values' own width."""
    assert steps_of(torch.empty(100, dtype=dtype), inverse=True) == [
        f"+{100 * width} sorted", "+800 range", "+800 places", f"+1 {SORT}", f"-{SORT}", "-range",
        "+800 1", "+800 sums", f"+1023 {SCAN}", f"-{SCAN}", "-sums", f"+{100 * width} 0",
        "+8 length", f"+1023 {SELECT}", f"-{SELECT}", "-length", "-places", "-sorted",
    ]  # fmt: skip


def test_values_that_are_not_contiguous_are_copied_first_and_the_copy_is_held_to_the_end():
    strided = torch.empty(10, 2, dtype=torch.int32)[:, 0]
    steps = steps_of(strided, inverse=False)
    assert ("+40 copy", "-copy") == (steps[0], steps[-1])
    assert steps_of(strided.contiguous(), inverse=False) == steps[1:-1]


def test_arguments_that_are_left_out_are_not_asked_for():
    """No inverse, no counts: what a call of ``aten::_unique`` hands on."""
    values = torch.empty(100, dtype=torch.int64)
    two = (values, values)
    short, whole = (
        [(step.name, getattr(step, "num_bytes", None)) for step in steps]
        for steps in (
            inside("aten::_unique", (values,), two),
            inside(UNIQUE, (values, True, False), two),
        )
    )
    assert short == whole
    three = (*two, values)
    without_counts = inside(UNIQUE, (values, True, True, False), three)
    assert without_counts == inside(UNIQUE, (values, True, True), three)
    assert without_counts != inside(UNIQUE, (values, True, False), three)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (torch.empty(4, dtype=torch.int32), 1023),
        (torch.empty(1, 4, dtype=torch.int32), 1023),
        (torch.empty(2, 4, dtype=torch.int32), 0),
        (torch.empty(0, dtype=torch.int32), 0),
    ],
    ids=["one row", "one long dimension", "two rows", "nothing"],
)
def test_a_sum_needs_scratch_along_its_only_long_dimension(values, expected):
    """Rows are summed one block each, which shares nothing."""
    steps = inside("aten::cumsum", (values, values.dim() - 1, values), values)
    assert expected == sum(step.num_bytes for step in steps if isinstance(step, Take))


def test_a_sum_into_another_type_copies_its_input_to_it():
    """The status of a tile of eight-byte sums takes sixteen bytes."""
    lens, out = torch.empty(4, dtype=torch.int32), torch.empty(4, dtype=torch.int64)
    steps = inside("aten::cumsum", (lens, 0, out), out)
    assert [32, 1279] == [step.num_bytes for step in steps if isinstance(step, Take)]


@pytest.mark.parametrize(
    ("key_bytes", "value_bytes", "tile"),
    [(4, 0, 7296), (8, 0, 5760), (4, 8, 5376), (8, 8, 4608)],
)
def test_a_block_of_the_sort_takes_as_many_values_as_its_tuning_says(key_bytes, value_bytes, tile):
    """One value more than fills two blocks is a third: 1,024 bytes of counters."""
    full, more = (sort_bytes(2 * tile + extra, key_bytes, value_bytes) for extra in (0, 1))
    widths = [width for width in (key_bytes, value_bytes) if width]
    grown = [-(-(2 * tile + 1) * w // 256) * 256 - -(-2 * tile * w // 256) * 256 for w in widths]
    assert 1024 + sum(grown) == more - full


@pytest.mark.parametrize(
    ("key_bytes", "value_bytes", "tile"),
    [(4, 0, 7296), (8, 0, 5760), (4, 8, 5376), (8, 8, 4608)],
)
def test_a_value_more_than_the_blocks_of_a_sort_take_is_another_block(key_bytes, value_bytes, tile):
    """256 digits of 4 bytes for it, and 256 bytes more for its key, and for its value."""

    def grown(count):
        return sort_bytes(count + 1, key_bytes, value_bytes) - sort_bytes(
            count, key_bytes, value_bytes
        )

    assert (0, 1024 + 256 + 256 * (value_bytes > 0)) == (grown(4 * tile - 1), grown(4 * tile))


@pytest.mark.parametrize(("dtype", "tile"), [(torch.int64, 4224), (torch.int32, 6528)])
def test_a_value_more_than_32_tiles_of_a_selection_take_is_256_bytes_more(dtype, tile):
    """A tile has a status of 8 bytes, and 32 more of them are there."""
    sizes = [scratch_of(dtype, 32 * tile + more, False)[0][2] for more in (-1, 0, 1)]
    assert [1023, 1023] == sizes[:2]
    assert 256 == sizes[2] - sizes[1]


def test_a_value_more_than_32_tiles_of_a_sum_take_is_256_bytes_more():
    def scanned(count):
        lens = torch.empty(count, dtype=torch.int32, device="meta")
        (take, _) = inside("aten::cumsum", (lens, 0, lens), lens)
        return take.num_bytes

    sizes = [scanned(32 * 1920 + more) for more in (-1, 0, 1)]
    assert sizes[0] == sizes[1] == sizes[2] - 256
