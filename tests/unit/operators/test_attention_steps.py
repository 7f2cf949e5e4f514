"""What attention takes where code calls torch's own operators for it, with heads third."""

from __future__ import annotations

import pytest
import torch

from oom_suite.operators.attention import Device
from oom_suite.operators.attention_steps import inside, is_whole
from oom_suite.operators.steps import Take

H200 = Device("cuda", (9, 0), 132, 91_900)
FLASH, EFFICIENT = "aten::_flash_attention_forward", "aten::_efficient_attention_forward"
EFFICIENT_BACKWARD = "aten::_scaled_dot_product_efficient_attention_backward"


def made(*sizes, dtype=torch.bfloat16):
    return torch.empty(sizes, dtype=dtype, device="meta")


def taken(name, args, result):
    """Requests as ``bytes:place`` or ``bytes:name``; None where they are not known."""
    found = inside(name, args, result, H200)
    if found is None:
        return None
    return " ".join(f"{each.num_bytes}:{each.name}" for each in found if isinstance(each, Take))


def flash(dropout=0.0, lengths=None, keeps=False, keys=32):
    query, key = made(4, 11, 4, 8), made(4, keys, 4, 8)
    sums = made(4, 4, 11, dtype=torch.float32)
    seed, offset = made(2, dtype=torch.uint64), made(dtype=torch.uint64)
    args = (query, key, key, lengths, lengths, 11, keys, dropout, True, keeps)
    return taken(FLASH, args, (query, sums, seed, offset, made(0)))


def efficient(width=8, dtype=torch.float32, *keeps):
    query, value = made(4, 11, 4, 8, dtype=dtype), made(4, 32, 4, width, dtype=dtype)
    out, sums = made(4, 11, 4, width, dtype=dtype), made(4, 4, 32, dtype=torch.float32)
    seed = made(dtype=torch.int64)
    args = (query, made(4, 32, 4, 8, dtype=dtype), value, None, None, None, None, None, 0.0, 0)
    return taken(EFFICIENT, (*args, *keeps), (out, sums, seed, seed, 11, 32))


def test_flash_attention_has_its_seed_and_its_offset_third_and_fourth():
    assert flash() == "2816:0 704:1 16:2 8:3"


def test_dropout_keeps_its_state_until_there_is_a_seed():
    assert flash(dropout=0.5) == "2816:0 704:1 16:state 8:3 16:2"


def test_long_rows_of_keys_are_split():
    assert flash(keys=4096).startswith("2816:0 704:1 11264:sums 360448:parts ")


def test_rows_of_several_lengths_and_scores_that_are_kept_are_not_known():
    assert flash(lengths=made(5, dtype=torch.int32)) is None
    assert flash(keeps=True) is None


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("5632:0", (8, torch.float32)),
        ("5632:0", (8, torch.float32, False)),
        ("5632:0 2048:1", (8, torch.float32, True)),
        ("45056:0", (128, torch.float16)),
        ("45408:0 90816:sums", (129, torch.float16)),
        ("90816:0", (129, torch.float32)),
    ],
)
def test_memory_efficient_attention_has_its_seed_on_the_host(expected, given):
    """Where values are wide and halves, their sums are floats of their own."""
    assert expected == efficient(*given)


@pytest.mark.parametrize(
    ("with_bias", "wanted", "expected"),
    [(True, True, "5632:3 "), (True, False, ""), (False, True, "")],
)
def test_the_gradient_of_a_bias_is_made_where_there_is_one_and_it_is_wanted(
    with_bias, wanted, expected
):
    """After those of query, key and value, before the sums of rows."""
    query, key, bias = made(4, 11, 4, 8), made(4, 16, 4, 8), made(4, 4, 11, 16)
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    masks = (bias if with_bias else None, query, made(4, 4, 32, dtype=torch.float32), None, None)
    args = (query, query, key, key, *masks, 0.0, [True, True, True, wanted])
    found = taken(EFFICIENT_BACKWARD, args, (query, key, key, bias if with_bias else None))
    assert found.startswith(f"2816:0 4096:1 4096:2 {expected}704:delta ")


def test_calls_that_are_not_known_are_named():
    assert not is_whole(FLASH)
    assert not is_whole(EFFICIENT)
