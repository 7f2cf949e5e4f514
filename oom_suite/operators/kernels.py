"""Whose kernels are asked about, and one call of an operator as their formulas read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from oom_suite.operators.steps import Step


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels of one target.

    Attributes:
        backend: ``"cuda"`` or ``"rocm"``.
        arch: ``sm_90``, ``gfx942``.
        num_multiprocessors: streaming multiprocessors, or compute units.
        warp_size: threads of a warp or wavefront.
        max_threads_per_multiprocessor: resident threads at most.
    """

    backend: str = "cuda"
    arch: str = "sm_90"
    num_multiprocessors: int = 132
    warp_size: int = 32
    max_threads_per_multiprocessor: int = 2048

    @property
    def has_cub(self) -> bool:
        """Whether device-wide sorts and scans are CUB's, tuned as for sm_90."""
        return self.backend == "cuda" and self.arch == "sm_90"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator of torch.

    Attributes:
        op: the operator's name without its overload, as ``aten::sort``.
        args: its arguments by position.
        kwargs: those that were given by name.
        result: what it returned.
        kernels: whose.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    kernels: Kernels

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument, wherever it stands."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[position] if len(self.args) > position else default

    @property
    def input(self) -> torch.Tensor:
        """The first argument."""
        tensor: torch.Tensor = self.args[0]
        return tensor

    def results(self) -> Iterator[Step]:
        """A request for each new result, in order."""
        given = {id(tensor) for tensor in tensors((self.args, self.kwargs))}
        for number, tensor in enumerate(tensors(self.result)):
            if id(tensor) not in given:
                yield Take(number, tensor.untyped_storage().nbytes(), self.op)

    def temporary(
        self, num_bytes: int, name: str = "", *, is_bound: bool = False
    ) -> Iterator[Step]:
        """A request that is given back at once; nothing where it is empty."""
        if num_bytes:
            label = name or self.op
            yield Take(label, num_bytes, label, is_bound)
            yield Give(label)

    def dim(self, position: int, name: str = "dim", default: int = -1) -> int:
        """A dimension of the first argument, counted from its beginning."""
        dim = int(self.argument(position, name, default))
        return dim % max(self.input.dim(), 1)


def num_bytes(tensor: torch.Tensor) -> int:
    """What the entries of a tensor take, one after the other."""
    return tensor.numel() * tensor.element_size()


def ceil_div(number: int, by: int) -> int:
    """How many pieces of that size cover it."""
    return -(-number // by)
