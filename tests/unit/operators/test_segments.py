"""What rows of several lengths, and lists of tensors, take on CUDA."""

from __future__ import annotations

import pytest
from kernel_steps import INT32, floats, places, steps

from oom_suite.operators.inside import inside
from oom_suite.operators.kernels import Call, Kernels


def reduced(*args, lengths=None, offsets=None, unsafe=True):
    """``segment_reduce`` of floats [10, 5] into five rows."""
    data = args[0] if args else floats(10, 5)
    given = (data, "sum", lengths, None, offsets, 0, unsafe)
    return steps("segment_reduce", *given, result=floats(5, 5))


SCAN = "+1279:Scan -Scan"
IN_ORDER = {
    "repeats are summed, and looked at": (
        lambda: steps("repeat_interleave", places(3), result=places(6)),
        f"+24:ends {SCAN} +3:are_valid +1:is_valid -is_valid -are_valid +48:0 -ends",
    ),
    "where the sum is known nobody looks": (
        lambda: steps("repeat_interleave", places(3), 6, result=places(6)),
        f"+24:ends {SCAN} +48:0 -ends",
    ),
    "narrow repeats are widened": (
        lambda: steps(
            "repeat_interleave", floats(3, dtype=INT32), 6, result=floats(6, dtype=INT32)
        ),
        f"+24:ends +24:to_be_summed {SCAN} -to_be_summed +24:0 -ends",
    ),
    "repeats that are not side by side are copied twice": (
        lambda: steps("repeat_interleave", places(3, 2)[:, 0], 6, result=places(6)),
        f"+24:repeats +24:ends +24:to_be_summed {SCAN} -to_be_summed +48:0 -ends -repeats",
    ),
    "no repeats": (
        lambda: steps("repeat_interleave", places(0), result=places(0)),
        "+0:0",
    ),
    "lengths are summed behind a zero": (
        lambda: reduced(lengths=places(5)),
        f"+100:0 +8:first +48:offsets -first {SCAN} -offsets",
    ),
    "offsets are subtracted": (
        lambda: reduced(offsets=places(6)),
        "+100:0 +40:lengths -lengths",
    ),
    "a list has its places in one block of numbers": (
        lambda: steps("_chunk_cat", [floats(2, 3), floats(2, 4)], 0, 2, result=floats(2, 7)),
        "+56:0 +128:places -places",
    ),
    "2048 bytes are one block's": (
        lambda: steps("_chunk_cat", [floats(2, 512)], 0, 2, result=floats(2, 512)),
        "+4096:0 +72:places -places",
    ),
    "a byte more is another's": (
        lambda: steps("_chunk_cat", [floats(2, 513)], -2, 2, result=floats(2, 513)),
        "+4104:0 +80:places -places",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_segments_take_what_the_source_says_in_its_order(taken, expected):
    """Which of two temporaries goes first decides a peak."""
    assert expected == taken()


NOT_KNOWN = {
    "one row of numbers, which CUB reduces": lambda: steps(
        "segment_reduce", floats(10), "sum", places(5), None, None, 0, True, result=floats(5)
    ),
    "lengths that are looked at": lambda: reduced(lengths=places(5), unsafe=False),
    "neither lengths nor offsets": lambda: reduced(),
    "lengths of several rows": lambda: reduced(lengths=places(5, 5)),
    "data that is copied": lambda: reduced(floats(5, 10).t(), lengths=places(5)),
}


@pytest.mark.parametrize("taken", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_other_reductions_are_not_known(taken):
    """They are named."""
    assert taken() is None


def test_other_libraries_sum_in_a_bound():
    rocm = Kernels("rocm", "gfx942", num_multiprocessors=304, warp_size=64)
    found = inside(Call("aten::repeat_interleave", (places(3),), {}, places(6), rocm))
    assert [step.num_bytes for step in found if getattr(step, "is_bound", False)] == [9232]
