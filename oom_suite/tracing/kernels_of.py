"""The kernels of a target, and what they request and free inside, written into a book."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.indexing import sees_masks
from oom_suite.operators.inside import MADE_OF_NOTHING, inside, is_partial
from oom_suite.operators.kernels import Call, Kernels
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give
from oom_suite.targets.target import target
from oom_suite.torch_compat.dispatch import storage_key
from oom_suite.torch_compat.fakes import device_of
from oom_suite.tracing import attending
from oom_suite.tracing.book import NOT_RECORDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oom_suite.operators.compositions import Composition
    from oom_suite.operators.operands import Operator
    from oom_suite.operators.steps import Step
    from oom_suite.records import Frame
    from oom_suite.tracing.book import Book
    from oom_suite.tracing.plan import Plan

_CUDA = "cuda:sm_90"
_PUTS = frozenset({"aten::index_put", "aten::index_put_", "aten::_index_put_impl_"})


class _Held(defaultdict[str, list[int]]):
    """What a kernel holds, by its name in the steps.

    A kernel inside another may use the same name: the innermost is given back first.
    """

    def __init__(self) -> None:
        super().__init__(list)


def kernels_of(scratch: str) -> Kernels | None:
    """Whose kernels a lane's ``scratch`` names; None where it names none that are known.

    Args:
        scratch: a target, as in ``cuda:sm_90``; ``cuda`` is that one; empty for none.

    Raises:
        UsageError: there is no such target.
    """
    if not scratch:
        return None
    found = target(_CUDA if scratch == "cuda" else scratch)
    if found.backend not in {"cuda", "rocm"}:
        return None
    return Kernels(
        backend=found.backend,
        arch=found.arch,
        num_multiprocessors=found.num_multiprocessors,
        warp_size=found.warp_size,
        max_threads_per_multiprocessor=found.max_threads_per_multiprocessor,
    )


class InsideKernels:
    """Writes into a device's book what kernels take inside.

    Args:
        book: the device's.
        device_type: of the device.
        kernels: whose; None where a recording has what dispatch sees and no more.
        stack: gives the lines of the call that is under way.
    """

    def __init__(
        self,
        book: Book,
        device_type: str,
        kernels: Kernels | None,
        stack: Callable[[], tuple[Frame, ...]],
    ) -> None:
        self._book = book
        self._device_type = device_type
        self._kernels = kernels
        self._stack = stack

    @property
    def are_wanted(self) -> bool:
        """Whether a recording has what kernels take inside, as far as that is known."""
        return self._kernels is not None

    def are_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether it is the device's kernels that such a call runs, and they are wanted."""
        first = next(tensors((args, kwargs)), None) if self._kernels is not None else None
        return first is not None and device_of(first).type == self._device_type

    def composition(
        self, plan: Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Composition | None:
        """How a call is run as its parts, where it is made of others on the device."""
        if self.see_masks(plan.facts, args, kwargs):
            return None
        on_gpu = plan.compose_on_gpu is not None and self.are_of(args, kwargs)
        return plan.compose_on_gpu if on_gpu else plan.compose

    def steps(
        self, facts: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> Sequence[Step] | None:
        """What the device's kernel does in that call, where it is wanted and known."""
        if self._kernels is None:
            return None
        if not self.are_of((result,) if facts.family in MADE_OF_NOTHING else args, kwargs):
            return None
        return inside(Call(facts.family, args, kwargs, result, self._kernels))

    def is_partial(self, family: str, args: tuple[Any, ...], result: Any) -> bool:
        """Whether a library may take more in a call than what was written down of it."""
        if attending.is_partial(family):
            return True
        kernels = self._kernels
        return kernels is not None and is_partial(Call(family, args, {}, result, kernels))

    def see_masks(self, facts: Operator, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether the kernel's own steps have the positions of a mask in them."""
        if self._kernels is None or facts.family not in _PUTS:
            return False
        return sees_masks(Call(facts.family, args, kwargs, None, self._kernels))

    def known_among(self, results: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The results that were there before: ``out=`` arguments, and what is written in place."""
        find = self._book.find
        return [each for each in results if find(storage_key(each.untyped_storage())) is not None]

    def write(self, family: str, steps: Sequence[Step], results: Sequence[torch.Tensor]) -> None:
        """Write down what a kernel requests and frees, its new results among it.

        Args:
            family: whose kernel.
            steps: in the kernel's order.
            results: the call's results; those that no step requests are not requests.
        """
        book, stack, held = self._book, self._stack(), _Held()
        for step in steps:
            if isinstance(step, Give):
                book.give_back(held[step.name].pop())
                continue
            if isinstance(step.name, str):
                request = step.num_bytes, step.op, stack, step.is_bound, family
                number = book.request(*request) if step.num_bytes else NOT_RECORDED
                held[step.name].append(number)
                continue
            if not step.num_bytes:
                continue
            storage = results[step.name].untyped_storage()
            seen_bytes = storage.nbytes()
            is_more = step.num_bytes > seen_bytes
            beyond = (step.is_bound, family, seen_bytes) if is_more else (step.is_bound,)
            number = book.request(step.num_bytes, step.op, stack, *beyond)
            book.keep(storage, number, seen_bytes)
        for tensor in results:
            storage = tensor.untyped_storage()
            if book.find(storage_key(storage)) is None:
                book.keep(storage, NOT_RECORDED, storage.nbytes())

    def write_exact(
        self, steps: Sequence[Step], result: Any, expressed: Callable[[Any], Any]
    ) -> None:
        """Write down what a kernel requests and frees, where every size may be a symbol.

        Args:
            steps: in the kernel's order; numbers are places in the result.
            result: the call's, as it returned it.
            expressed: a number of bytes as the book keeps it.
        """
        book, stack, held = self._book, self._stack(), _Held()
        made = (result,) if isinstance(result, torch.Tensor) else result
        for step in steps:
            if isinstance(step, Give):
                book.give_back(held[step.name].pop())
                continue
            num_bytes = expressed(step.num_bytes)
            number = book.request(num_bytes, step.op, stack) if num_bytes != 0 else NOT_RECORDED
            if isinstance(step.name, str):
                held[step.name].append(number)
            else:
                storage = made[step.name].untyped_storage()
                book.keep(storage, number, expressed(storage.nbytes()))
        for tensor in tensors(result):
            storage = tensor.untyped_storage()
            if book.find(storage_key(storage)) is None:
                book.keep(storage, NOT_RECORDED, expressed(storage.nbytes()))

    def write_registered(self, facts: Operator, num_bytes: Any) -> None:
        """Write down what the author of an operator says that it takes beside its results."""
        if num_bytes != 0:
            op = f"{facts.family} (registered)"
            self._book.give_back(self._book.request(num_bytes, op, self._stack(), True))
