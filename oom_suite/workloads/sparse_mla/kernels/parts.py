"""The keys of a token in several parts, and the one result that is merged from them."""

from __future__ import annotations

import torch

MOST_PROGRAMS = 128
"""Programs that a split step is spread over: about the cores of the GPUs that serve."""

FLOATS_OF_A_PART = 513
"""What a part takes for each token and head, in float32: its 512 values and their logarithm."""


def num_splits(num_programs: int, num_tiles: int) -> int:
    """Into how many parts the keys of a token are split: a power of two."""
    return _power_of_two(min(MOST_PROGRAMS // num_programs, num_tiles))


def _power_of_two(most: int) -> int:
    return 1 << (most.bit_length() - 1) if most > 1 else 1


class Parts:
    """The results of splits, which are merged into the output; the output itself without any.

    Args:
        q: bfloat16 [num_tokens, num_heads, 512].
        splits: how many there may be.
        output: as q.
        given: float32, what the parts may lie in; there are no more than it holds. None to take
            what all of them need.

    Attributes:
        splits: how many there are.
    """

    def __init__(
        self, q: torch.Tensor, splits: int, output: torch.Tensor, given: torch.Tensor | None
    ) -> None:
        """Take what the parts need, unless it is given."""
        num_tokens, self._num_heads, width = q.shape
        size = num_tokens * self._num_heads
        if given is not None:
            splits = min(splits, _power_of_two(given.numel() // (FLOATS_OF_A_PART * size)))
        self.splits, self._output = splits, output
        self._values, self._logs = output, output
        if splits > 1:
            room = FLOATS_OF_A_PART * size * splits
            flat = q.new_empty(room, dtype=torch.float32) if given is None else given.view(-1)
            self._values = flat[: width * size * splits]
            self._logs = flat[width * size * splits : room]

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The parts' values and their logarithms."""
        return self._values, self._logs

    def merge(self, attn_sink: torch.Tensor | None) -> None:
        """Write the output from the parts, where there are any."""
        if self.splits == 1:
            return
        from oom_suite.workloads.sparse_mla.kernels.on_triton.decode import merge_kernel

        merge_kernel[(self._output.shape[0] * self._num_heads,)](
            self._output,
            self._values,
            self._logs,
            self._logs if attn_sink is None else attn_sink,
            self._num_heads,
            self._output.stride(0),
            SPLITS=self.splits,
            HAS_SINK=attn_sink is not None,
            num_warps=4,
        )
