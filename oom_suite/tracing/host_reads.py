"""Values that code reads on the host: those that are known, and a plain refusal of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.torch_compat.dispatch import no_dispatch
from oom_suite.torch_compat.fakes import device_of
from oom_suite.tracing.checks import truth_that_passes
from oom_suite.tracing.real_values import holds_index_data

if TYPE_CHECKING:
    import numpy

    from oom_suite.tracing.index_ranges import IndexRanges
    from oom_suite.tracing.real_values import RealValues
    from oom_suite.tracing.source_lines import SourceLines

_SELECT = "aten::select"
_READS = "aten::_local_scalar_dense (.item(), int(), bool(), .tolist()) reads"


class HostReads:
    """Gives values to the host."""

    def __init__(self, values: RealValues, ranges: IndexRanges, lines: SourceLines) -> None:
        """Reads are counted from `begin` on."""
        self._values = values
        self._ranges = ranges
        self._lines = lines

    def begin(self) -> None:
        """Start a call: nothing was read yet."""
        self._pending: tuple[object, LaneError] | None = None

    def scalar(self, tensor: torch.Tensor) -> Any:
        """The value of a tensor that has one.

        To read a row's number in order to take that row (``weights[expert]``) needs none: all rows
        are of one size. Any number will do then, as long as `before` sees that row taken next.

        Raises:
            LaneError: it is not known.
        """
        if self._values.are_known(tensor):
            with no_dispatch():
                return self._values.of(tensor).item()
        # A cache's bytes are whatever the code before wrote, even where the builder made zeros.
        found = self._ranges.of(tensor) if holds_index_data(tensor) else None
        refused = self.refusal(_READS)
        if tensor.dtype is torch.bool:
            passing = truth_that_passes()
            if passing is not None:
                return passing
        if found is None or not found.low.is_Integer or not found.high.is_Integer:
            raise refused
        if found.low == found.high:
            return int(found.low)
        place = self._lines.subscript()
        if place is None or found.low < 0:
            raise refused
        self._pending = (place, refused)
        return int(found.low)

    def before(self, family: str) -> None:
        """Look at the operator that comes next.

        Raises:
            LaneError: a number was read to take its row, and something else is done with it.
        """
        if self._pending is None:
            return
        (place, refused), self._pending = self._pending, None
        if family != _SELECT or self._lines.subscript() != place:
            raise refused

    def array_of(self, fake: torch.Tensor) -> numpy.ndarray[Any, Any]:
        """The values of a tensor as a NumPy array that shares its memory.

        Raises:
            LaneError: they are not known.
            TypeError: the tensor is on a device, where NumPy sees nothing.
        """
        if device_of(fake).type != "cpu":
            raise TypeError(
                f"can't convert a tensor on {device_of(fake)} to NumPy: use Tensor.cpu() first"
            )
        if not self._values.are_known(fake):
            raise self.refusal("numpy() reads")
        with no_dispatch():
            found: numpy.ndarray[Any, Any] = self._values.of(fake).numpy()
            return found

    def refusal(self, what: str) -> LaneError:
        """The error that says who needs a value that is not known, and where."""
        return LaneError(
            f"{what} a value that exists only on a device{self._lines.here()}: it does not come "
            "from index data alone; run it in the measure lane"
        )
