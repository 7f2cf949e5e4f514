"""What a step does not reference of a pool, byte by byte.

One block of a pool with three tokens of which the step names only the second, and padded pages::

    | data 0 | data 1 | data 2 | scales 0 | scales 1 | scales 2 | page padding |
    |########|        |########|##########|       #  |##########|##############|

Everything under ``#`` is unreferenced: another token's data and scales, the pad byte behind the
seven scales of the token itself, and the page's padding. So is every byte of a block that no
counting entry names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.records.safety import Region

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from oom_suite.workloads.sparse_mla.geometry.layouts import Layout


def unreferenced(
    name: str, pool: torch.Tensor, slots: Collection[int], layout: Layout
) -> tuple[Region, ...]:
    """The parts of a pool that a step which names these slots does not reference.

    Args:
        name: the argument that the pool is given as.
        pool: uint8 [num_blocks, block_size, token_bytes], strided in its first dimension at most.
        slots: the slots named.
        layout: how a block's bytes are arranged; its scales stand apart from the data.

    Returns:
        The parts in the order of their bytes; distances are to the nearest named byte.
    """
    num_blocks, block_size, _ = pool.shape
    page_bytes = pool.stride(0)
    parts: list[Region] = []
    by_block: dict[int, set[int]] = {}
    for slot in slots:
        by_block.setdefault(slot // block_size, set()).add(slot % block_size)
    for block in range(num_blocks):
        first_byte = block * page_bytes
        here = by_block.get(block, set())
        if here:
            for what, token, at, num_bytes in _within(here, block_size, layout):
                first = first_byte + at
                parts.append(Region(name, what, block, token, first, num_bytes, None))
        else:
            used_bytes = layout.block_bytes(block_size)
            what = "unreferenced block"
            parts.append(Region(name, what, block, None, first_byte, used_bytes, None))
        padding_bytes = page_bytes - layout.block_bytes(block_size)
        if padding_bytes:
            first = first_byte + layout.block_bytes(block_size)
            parts.append(Region(name, "page padding", block, None, first, padding_bytes, None))
    return tuple(parts)


def _within(
    named: Collection[int], block_size: int, layout: Layout
) -> list[tuple[str, int, int, int]]:
    """The unreferenced parts of a block that holds named tokens.

    Each is what it is, its token, its offset from the block's start and its length, in bytes.
    """
    parts = []
    used_scales_bytes = layout.num_scales * layout.scale_item_bytes
    pad_bytes = layout.scales_bytes - used_scales_bytes
    for token in range(block_size):
        scales = layout.scale_offset_bytes(token, block_size)
        if token not in named:
            data = layout.nope_offset_bytes(token)
            parts.append(("unreferenced token", token, data, layout.token_stride_bytes))
            parts.append(("unreferenced scales", token, scales, layout.scales_bytes))
        elif pad_bytes:
            parts.append(("pad byte", token, scales + used_scales_bytes, pad_bytes))
    return sorted(parts, key=lambda part: part[2])


def referenced_spans(
    pool: torch.Tensor, slots: Collection[int], layout: Layout
) -> tuple[tuple[int, int], ...]:
    """The bytes that a step which names these slots may read: pairs of first and end, in order."""
    block_size = pool.shape[1]
    used_scales_bytes = layout.num_scales * layout.scale_item_bytes
    spans = []
    for slot in slots:
        block, token = divmod(slot, block_size)
        page = block * pool.stride(0)
        data = page + layout.nope_offset_bytes(token)
        scales = page + layout.scale_offset_bytes(token, block_size)
        spans.append((data, data + layout.token_stride_bytes))
        spans.append((scales, scales + used_scales_bytes))
    return tuple(sorted(spans))
