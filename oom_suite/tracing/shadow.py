"""The shadow lane: the code under fake tensors, at full production sizes, on any machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.errors import LaneError
from oom_suite.operators.operands import tensors
from oom_suite.targets.target import target as named
from oom_suite.torch_compat.fake_cuda import literals_made_on_host
from oom_suite.tracing import attending
from oom_suite.tracing.believing import believing
from oom_suite.tracing.host_arrays import numpy_arrays
from oom_suite.tracing.index_values import IndexValues
from oom_suite.tracing.kernels_of import kernels_of
from oom_suite.tracing.lane_spec import MOST
from oom_suite.tracing.launches import recorded_launches
from oom_suite.tracing.quick_fake import QuickFakeMode
from oom_suite.tracing.recorder import Recorder
from oom_suite.tracing.repeated import Repeated
from oom_suite.tracing.shadow_device import shadow_device
from oom_suite.tracing.source_lines import lines_under_test
from oom_suite.tracing.starting import one_backward_thread, watched
from oom_suite.tracing.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from oom_suite.records import Trace
    from oom_suite.records.kept import RepeatedCalls
    from oom_suite.tracing.lane import Build


class ShadowLane:
    """Runs a call with tensors that have sizes and no memory.

    The trace's bytes are exact: they equal what a GPU's allocator counts as requested; for the
    target ``cpu``, what the same operators request on the CPU.

    Does not prove: what kernels allocate inside (`Trace.unseen` names the known ones), nor
    that the values are right, nor anything about a Triton kernel's own behaviour.
    """

    name = "shadow"

    def __init__(self, root: Path, scratch: str = "", target: str = "generic") -> None:
        """Show source files relative to `root`.

        Args:
            root: folder that source files are shown relative to.
            scratch: a target (``"cuda:sm_90"``; ``"cuda"`` is that) whose kernels' own scratch is
                added, to the byte or at most; empty to leave it out.
            target: the device that the code is to believe in, as a user spells it.
        """
        self._target = named(target)
        self._kernels = kernels_of(scratch)
        self._lines = lines_under_test(root)
        # One for all runs: what the code keeps in a global must fit its next call's tensors.
        self._fake = QuickFakeMode()
        self._values = IndexValues(self._fake, self._lines)
        self._recorder: Recorder | None = None

    def run(self, build: Build, sizes: Mapping[str, int], choice: str = MOST) -> Trace:
        """The trace of one call of ``build(sizes, device)``.

        Args:
            build: makes the call.
            sizes: the axes' values.
            choice: how much of what data may choose is taken, as `oom_suite.tracing.lane_spec`
                has it; all of it is the worst case, unless the code does more with less.

        Raises:
            LaneError: the code needs a value that exists only on a device.
        """
        if choice.startswith("part"):
            # Which part comes at a number is known after a call.
            self._run(build, sizes, MOST)
        return self._run(build, sizes, choice)

    def _run(self, build: Build, sizes: Mapping[str, int], choice: str) -> Trace:
        self._values.begin(choice)
        device = shadow_device(self._target)

        def made(_: Recorder) -> Callable[[], object]:
            call = build(sizes, device)
            self._values.begin_call()
            return call

        trace = self._recorded(made).trace(self.name, sizes)
        return replace(trace, data_sizes=self._values.data_sizes)

    def repeat(self, build: Build, sizes: Mapping[str, int]) -> RepeatedCalls:
        """What calls at the same sizes leave alive, one after the other.

        Raises:
            LaneError: the code needs a value that exists only on a device.
        """
        device, files = shadow_device(self._target), self._lines.files
        made: list[Repeated] = []
        self._values.begin(MOST)

        def repeated(recorder: Recorder) -> Repeated:
            made.append(
                Repeated(
                    recorder,
                    lambda: build(sizes, device),
                    lambda file: files.shown(file) is not None,
                )
            )
            return made[0]

        self._recorded(repeated)
        assert made[0].found is not None
        return made[0].found

    def _recorded(self, make: Callable[[Recorder], Callable[[], object]]) -> Recorder:
        """The recorder of the call that `make` gives."""
        device = shadow_device(self._target)
        recorder = self._recorder = Recorder(device.type, self._lines, self._kernels)
        modes = (self._fake, self._values, recorder)
        threads = recorder.threads = Threads(modes, recorder.overlaps, self._lines)
        self._fake.elsewhere = threads.elsewhere
        try:
            with (
                recorded_launches(self.launched),
                numpy_arrays(self._values.array_of),
                believing(self._target),
                attending.kernels_on(self._target, self._kernels),
                one_backward_thread(),
                watched(literals_made_on_host, one_backward_thread),
                threads.recorded(),
                self._fake.refusing(),
            ):
                recorder.record(make(recorder))
        except (RuntimeError, IndexError) as error:
            if isinstance(error, LaneError) or not self._values.data_sizes:
                raise
            raise LaneError(self._misfit(error)) from error
        finally:
            self._recorder = None
        return recorder

    def mark(self) -> None:
        """Note that a step of the running call ends here."""
        if self._recorder is not None:
            self._recorder.mark()

    def _misfit(self, error: Exception) -> str:
        """What may be wrong where code fails whose sizes are decided by data."""
        first = str(error).splitlines()[0]
        return (
            f"the code fails where data decides a size ({self._values.data_sizes[-1]}): {first}; "
            "it may rely on another number, which only the measure lane has"
        )

    def launched(self, kernel: str, arguments: list[object]) -> None:
        """Record a kernel launch by name; what it may have written is unknown from now on."""
        if self._recorder is None:
            return
        self._recorder.launched(kernel, arguments)
        self._values.forget(list(tensors(arguments)))
