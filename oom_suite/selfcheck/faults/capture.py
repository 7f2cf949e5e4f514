"""Steps that no CUDA or HIP graph can record, or whose replay does not follow new contents."""

from __future__ import annotations

from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.selfcheck.faults.gather import parts_of, where_named
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode

_SHAPE, _SYNC, _COPY = "data-dependent-shape", "host-sync", "host-copy"
_REFUSED = "capture-refused"


@mutant("capture", _SHAPE, _SYNC, _REFUSED)
def unique_blocks(**step: Any) -> None:
    """Makes the blocks named unique: as many as the data says."""
    for part in parts_of(step):
        torch.unique(where_named(part).block)
    token_gather_decode(**step)


@mutant("capture", _SHAPE, _SYNC, _REFUSED)
def nonzero_entries(**step: Any) -> None:
    """Lists the entries that count: as many as the data says."""
    for part in parts_of(step):
        where_named(part).counts.nonzero()
    token_gather_decode(**step)


@mutant("capture", _SHAPE, _SYNC, _REFUSED)
def boolean_mask(**step: Any) -> None:
    """Selects by a mask: as many as the data says."""
    indices = step["swa_indices"]
    indices[indices >= 0].clone()
    token_gather_decode(**step)


@mutant("capture", _SHAPE, _SYNC, _REFUSED)
def masked_select(**step: Any) -> None:
    """Selects by a mask, by the operator of that name."""
    indices = step["swa_indices"]
    torch.masked_select(indices, indices >= 0)
    token_gather_decode(**step)


@mutant("capture", _SYNC, _REFUSED)
def loop_bound_by_item(**step: Any) -> None:
    """Reads the longest length on the host, and narrows the indices to it."""
    longest = step["swa_lens"].max().item() if step["swa_lens"].numel() else 0
    width = max(1, min(int(longest), step["swa_indices"].shape[-1]))
    token_gather_decode(**{**step, "swa_indices": step["swa_indices"][..., :width]})


@mutant("capture", _COPY, _SYNC, _REFUSED)
def lens_to_the_host(**step: Any) -> None:
    """Copies the lens to the host."""
    step["swa_lens"].cpu()
    token_gather_decode(**step)


@mutant("capture", _COPY, _SYNC, _REFUSED)
def lens_as_list(**step: Any) -> None:
    """Turns the lens into a list."""
    sum(step["swa_lens"].tolist())
    token_gather_decode(**step)


@mutant("capture", _SYNC, _REFUSED)
def branch_on_a_tensor(**step: Any) -> None:
    """Branches on whether anything is padded."""
    if (step["swa_indices"] < 0).any():
        step = {**step, "swa_indices": step["swa_indices"].clone()}
    token_gather_decode(**step)


@mutant("capture", _SYNC, _REFUSED)
def assertion_on_a_tensor(**step: Any) -> None:
    """Asserts of the lens that they are no negative number."""
    assert (step["swa_lens"] >= 0).all()
    token_gather_decode(**step)


@mutant("capture", _COPY, _SYNC, _SHAPE, _REFUSED)
def printed_tensor(**step: Any) -> None:
    """Makes a text of the lens for a log that nobody reads."""
    text = f"lens: {step['swa_lens']}"
    del text
    token_gather_decode(**step)


@mutant("capture", _COPY, _SYNC, _REFUSED)
def literal_on_the_device(**step: Any) -> None:
    """Makes a tensor from a list of Python numbers on the device."""
    q = step["q"]
    torch.tensor([1.0, step["scale"]], dtype=torch.float32, device=q.device)
    token_gather_decode(**step)


@mutant("capture", _SHAPE, _SYNC, _REFUSED)
def repeat_by_lens(**step: Any) -> None:
    """Repeats each request as often as its length says."""
    lens = step["swa_lens"]
    rows = torch.arange(lens.shape[0], device=lens.device)
    torch.repeat_interleave(rows, lens.to(torch.int64))
    token_gather_decode(**step)


@mutant("capture", _SYNC, _REFUSED)
def equal_on_the_host(**step: Any) -> None:
    """Asks whether two tensors are equal."""
    torch.equal(step["swa_lens"], step["swa_lens"].clamp_min(0))
    token_gather_decode(**step)


@mutant("capture", _SYNC, _REFUSED)
def sink_as_a_number(**step: Any) -> None:
    """Reads the first head's sink as a Python number."""
    if step["attn_sink"] is not None:
        float(step["attn_sink"][0])
    token_gather_decode(**step)
