"""The shadow lane: the code under fake tensors, at full production sizes, on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from oom_suite.lanes.index_values import IndexValues
from oom_suite.lanes.launches import recorded_launches
from oom_suite.lanes.recorder import Recorder
from oom_suite.lanes.shadow_device import HostLiterals, shadow_device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from oom_suite.lanes.protocol import Build
    from oom_suite.records import Trace


class ShadowLane:
    """Runs a call with tensors that have sizes and no memory.

    The trace's bytes are exact: they equal what a GPU's allocator counts as requested.

    Does not prove: what kernels allocate inside (`Trace.unseen` names the known ones), nor
    that the values are right, nor anything about a Triton kernel's own behaviour.
    """

    name = "shadow"

    def __init__(self, root: Path) -> None:
        """Show source files relative to `root`."""
        self._root = root
        self._active: tuple[Recorder, IndexValues] | None = None

    def run(self, build: Build, sizes: Mapping[str, int]) -> Trace:
        """The trace of one call of ``build(sizes, device)``.

        Raises:
            LaneError: the code needs a value that exists only on a device.
        """
        device = shadow_device()
        recorder = Recorder(device.type, self._root)
        values = IndexValues()
        self._active = (recorder, values)
        try:
            with (
                torch.no_grad(),
                recorded_launches(self.launched),
                HostLiterals(),
                FakeTensorMode(allow_non_fake_inputs=True),
                values,
                recorder,
            ):
                recorder.record(build(sizes, device))
        finally:
            self._active = None
        return recorder.trace(self.name, sizes)

    def launched(self, kernel: str, arguments: list[object]) -> None:
        """Record a kernel launch by name; what it may have written is unknown from now on."""
        if self._active is None:
            return
        recorder, values = self._active
        recorder.launched(kernel)
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                values.forget(argument)
