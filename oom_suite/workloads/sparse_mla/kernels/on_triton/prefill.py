"""The union of a chunk's top-k as flags and ranks, and its indices as rows, on CUDA and HIP."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def popcount(words):
    """How many bits of int32 words are set."""
    bits = words.to(tl.uint32, bitcast=True)
    bits = bits - ((bits >> 1) & 0x55555555)
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F
    return ((bits * 0x01010101) >> 24).to(tl.int32)


@triton.jit
def _located(query, query_start_loc, seq_lens, num_requests, REQUESTS: tl.constexpr):
    """A query's request, the position of its token, and how many tokens the request has."""
    base = tl.load(query_start_loc)
    request = 0
    for first in range(0, num_requests, REQUESTS):
        number = first + tl.arange(0, REQUESTS)
        known = number < num_requests
        ends = tl.load(query_start_loc + 1 + number, mask=known, other=0) - base
        request += tl.sum((known & (ends <= query)).to(tl.int32))
    request = tl.minimum(request, num_requests - 1)
    end = tl.load(query_start_loc + 1 + request) - base
    length = tl.load(seq_lens + request)
    return request, length - (end - query), length


@triton.jit
def _is_stored(table, request, block, counts, row_stride, column_stride, width, num_blocks):
    """Which of a request's blocks its row of the table names and the pool has."""
    counts &= (block >= 0) & (block < width)
    place = table + request.to(tl.int64) * row_stride + block.to(tl.int64) * column_stride
    found = tl.load(place, mask=counts, other=-1)
    return counts & (found >= 0) & (found < num_blocks)


@triton.jit
def clear_kernel(memory, num_words, WORDS: tl.constexpr):
    """Zeros in the first int32 words."""
    place = tl.program_id(0) * WORDS + tl.arange(0, WORDS)
    tl.store(memory + place, tl.zeros([WORDS], tl.int32), mask=place < num_words)


@triton.jit
def mark_kernel(
    flags,
    topk_indices,
    query_start_loc,
    seq_lens,
    compressed_lens,
    table,
    num_requests,
    num_words,
    topk,
    max_len,
    topk_stride,
    topk_column_stride,
    table_stride,
    table_column_stride,
    table_width,
    num_blocks,
    BLOCK_SIZE: tl.constexpr,
    RATIO: tl.constexpr,
    COLUMNS: tl.constexpr,
    REQUESTS: tl.constexpr,
):
    """Set the flag of each entry that a query names: a bit in its request's row of words."""
    query = tl.program_id(0)
    request, position, _ = _located(query, query_start_loc, seq_lens, num_requests, REQUESTS)
    visible = tl.minimum(tl.maximum(position + 1, 0) // RATIO, topk)
    length = tl.minimum(tl.load(compressed_lens + request), max_len)
    words = flags + request.to(tl.int64) * num_words
    named = topk_indices + query.to(tl.int64) * topk_stride
    for first in range(0, visible, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        entry = tl.load(named + column * topk_column_stride, mask=column < visible, other=-1)
        counts = (entry >= 0) & (entry < length)
        entry = tl.where(counts, entry, 0)
        counts = _is_stored(
            table,
            request,
            entry // BLOCK_SIZE,
            counts,
            table_stride,
            table_column_stride,
            table_width,
            num_blocks,
        )
        word = words + entry // 32
        bit = tl.full([COLUMNS], 1, tl.int32) << (entry % 32)
        # Most are set already; a flag that is seen too late is set twice, which is the same.
        missing = counts & ((tl.load(word, mask=counts, other=-1) & bit) == 0)
        tl.atomic_or(word, bit, mask=missing, sem="relaxed")


@triton.jit
def rank_kernel(
    flags,
    num_union,
    slots,
    table,
    num_all_words,
    num_words,
    max_union,
    table_stride,
    table_column_stride,
    BLOCK_SIZE: tl.constexpr,
    WORDS: tl.constexpr,
    BEFORE: tl.constexpr,
    HAS_NUM_UNION: tl.constexpr,
):
    """For each word the flags before it, and for each flag its entry's slot, at its rank.

    The ranks, and then how many flags there are, go behind the flags. A program counts all that comes before its own words again, so none waits for another.
    """
    ranks = flags + num_all_words
    first = tl.program_id(0) * WORDS
    sums = tl.zeros([BEFORE], tl.int32)
    for start in range(0, first, BEFORE):
        place = start + tl.arange(0, BEFORE)
        sums += popcount(tl.load(flags + place, mask=place < first, other=0))
    place = first + tl.arange(0, WORDS)
    is_word = place < num_all_words
    words = tl.load(flags + place, mask=is_word, other=0)
    counts = popcount(words)
    rank = tl.sum(sums) + tl.cumsum(counts, 0) - counts
    tl.store(ranks + place, rank, mask=is_word)
    if first + WORDS >= num_all_words:
        total = tl.sum(sums) + tl.sum(counts)
        tl.store(ranks + num_all_words, total)
        if HAS_NUM_UNION:
            tl.store(num_union, total)
    bit = tl.arange(0, 32)[None, :]
    is_set = ((words[:, None] >> bit) & 1) != 0
    below = words[:, None] & ((tl.full([1, 32], 1, tl.int32) << bit) - 1)
    row = rank[:, None] + popcount(below)
    request = (place // num_words).to(tl.int64)[:, None]
    entry = (place % num_words)[:, None] * 32 + bit
    found = table + request * table_stride
    found += (entry // BLOCK_SIZE).to(tl.int64) * table_column_stride
    block = tl.load(found, mask=is_set, other=0)
    slot = block * BLOCK_SIZE + entry % BLOCK_SIZE
    tl.store(slots + row, slot.to(tl.int32), mask=is_set & (row < max_union))


@triton.jit
def combine_kernel(
    indices,
    lens,
    flags,
    slots,
    topk_indices,
    query_start_loc,
    seq_lens,
    compressed_lens,
    gather_lens,
    table,
    swa_table,
    num_queries,
    num_requests,
    num_words,
    max_union,
    topk,
    width,
    max_len,
    max_gather_len,
    rows_of_request,
    first_swa_row,
    topk_stride,
    topk_column_stride,
    table_stride,
    table_column_stride,
    table_width,
    num_blocks,
    swa_stride,
    swa_column_stride,
    swa_width,
    swa_num_blocks,
    BLOCK_SIZE: tl.constexpr,
    SWA_BLOCK_SIZE: tl.constexpr,
    WINDOW: tl.constexpr,
    RATIO: tl.constexpr,
    COLUMNS: tl.constexpr,
    REQUESTS: tl.constexpr,
    IS_UNION: tl.constexpr,
):
    """The rows that a query attends to: of its entries, then of its window; -1 behind them.

    An entry's row is its rank in the union, or where all of a request's rows are there, its number.
    """
    query = tl.program_id(0)
    num_all_words = num_requests * num_words
    ranks = flags + num_all_words
    request, position, length = _located(query, query_start_loc, seq_lens, num_requests, REQUESTS)
    visible = tl.minimum(tl.maximum(position + 1, 0) // RATIO, topk)
    gathered_from = length - tl.load(gather_lens + request)
    window_from = tl.maximum(tl.maximum(position - (WINDOW - 1), gathered_from), 0)
    window_len = tl.minimum(tl.maximum(position + 1 - window_from, 0), WINDOW)
    known_len = tl.minimum(tl.load(compressed_lens + request), max_len)
    tl.store(lens + query, visible + window_len)
    named = topk_indices + query.to(tl.int64) * topk_stride
    target = indices + query.to(tl.int64) * width
    first_row = request * rows_of_request
    for first in range(0, width, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        entry = tl.load(named + column * topk_column_stride, mask=column < visible, other=-1)
        counts = (entry >= 0) & (entry < known_len)
        entry = tl.where(counts, entry, 0)
        if IS_UNION:
            place = request.to(tl.int64) * num_words + entry // 32
            word = tl.load(flags + place, mask=counts, other=0)
            below = (tl.full([COLUMNS], 1, tl.int32) << (entry % 32)) - 1
            row = tl.load(ranks + place, mask=counts, other=0) + popcount(word & below)
            counts &= (((word >> (entry % 32)) & 1) != 0) & (row < max_union)
        else:
            row = first_row + entry
            counts = _is_stored(
                table,
                request,
                entry // BLOCK_SIZE,
                counts,
                table_stride,
                table_column_stride,
                table_width,
                num_blocks,
            )
        token = window_from + column - visible
        offset = token - gathered_from
        in_window = (column >= visible) & (column < visible + window_len)
        in_window &= (offset >= 0) & (offset < max_gather_len)
        token = tl.where(in_window, token, 0)
        in_window = _is_stored(
            swa_table,
            request,
            token // SWA_BLOCK_SIZE,
            in_window,
            swa_stride,
            swa_column_stride,
            swa_width,
            swa_num_blocks,
        )
        value = tl.where(in_window, first_row + first_swa_row + offset, -1)
        value = tl.where(counts, row, value)
        tl.store(target + column, value, mask=column < width)
    if IS_UNION:
        # What no entry took of the rows is no slot.
        num_union = tl.load(ranks + num_all_words)
        for first in range(num_union + query * COLUMNS, max_union, num_queries * COLUMNS):
            rest = first + tl.arange(0, COLUMNS)
            tl.store(slots + rest, tl.full([COLUMNS], -1, tl.int32), mask=rest < max_union)
