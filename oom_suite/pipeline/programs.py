"""What is run: a subject on a workload's inputs, or anyone's builder; and the requests for it.

Importing this imports no torch: a program is described here, and loaded where it runs.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import pickle
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from oom_suite.errors import NotApplicableError, SubjectError
from oom_suite.processes.protocol import Kept, Request
from oom_suite.records import Trace
from oom_suite.records.symbolic import Hints, SymbolicTrace
from oom_suite.tracing.lane_spec import MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from types import ModuleType

    import torch

    from oom_suite.records import SubjectSpec, Workload
    from oom_suite.targets.meters import Watch
    from oom_suite.tracing.lane import Build
    from oom_suite.tracing.lane_spec import LaneSpec
    from oom_suite.tracing.lanes import RunningLane


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program in the process that runs it.

    Attributes:
        build: from sizes and a device to the call that is judged, its inputs bound.
        root: the folder that its source paths are shown relative to.
    """

    build: Build
    root: Path


class Program(Protocol):
    """Code that can be sent to a process and run there at any sizes."""

    @property
    def key(self) -> Hashable:
        """What tells it from other programs."""
        ...

    def load(self, kept: Kept) -> Loaded:
        """The program, ready to run in this process.

        Raises:
            SubjectError: it cannot be found or loaded here.
        """
        ...


@dataclass(frozen=True, slots=True)
class SubjectProgram:
    """A subject, called with the inputs that a workload builds.

    Attributes:
        spec: the subject.
        workload: what it is called for.
        root: where its source tree was put, for a release; None otherwise.
        arch: the GPU architecture that the code under test sees.
        instead_of: the folder that the current one stands for; code of the subject that is
            loaded from there is refused. None for none.
    """

    spec: SubjectSpec
    workload: Workload
    root: Path | None = None
    arch: str = "generic"
    instead_of: Path | None = None

    @property
    def key(self) -> Hashable:
        """The subject, and the workload's name."""
        return self.spec, self.workload.name, self.root, self.arch

    def load(self, kept: Kept) -> Loaded:
        """The subject on the workload's inputs."""
        import torch

        from oom_suite.subjects import load
        from oom_suite.subjects.source import refuse_modules_of

        subject = load(self.spec, self.workload, root=self.root, arch=self.arch)
        if self.instead_of is not None:
            refuse_modules_of(self.instead_of)
        module, _, name = self.workload.builder.partition(":")
        inputs: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
        convention = self.workload.convention
        # A server decodes without gradients; the lanes themselves leave that to the code.
        enabled = convention is not None and convention.gradients

        def build(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
            with torch.set_grad_enabled(enabled):
                arguments = inputs(sizes, device)
            step = functools.partial(subject.call, **arguments)

            def call() -> object:
                with torch.set_grad_enabled(enabled):
                    return step()

            if convention is not None and convention.output in arguments:
                vars(call)["writes"] = {convention.output: arguments[convention.output]}
            return call

        return Loaded(build, subject.root)


@dataclass(frozen=True, slots=True)
class BuilderProgram:
    """A function ``build(sizes, device) -> call`` in a file, as `memory_law` decorates one.

    Attributes:
        file: its file.
        module: the name under which pytest imported that file.
        qualname: its name in there, ``test_f`` or ``TestClass.test_f``.
        root: the folder that source paths are shown relative to.
        arguments: further arguments of the builder, by name.
    """

    file: str
    module: str
    qualname: str
    root: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Hashable:
        """Where it lies, and what it is given."""
        return self.file, self.qualname, pickle.dumps(dict(self.arguments))

    def load(self, kept: Kept) -> Loaded:
        """The builder that is named, its further arguments bound."""
        return Loaded(_called(self._find()), Path(self.root))

    def _find(self) -> Callable[..., Any]:
        from oom_suite.pipeline.law_tests.decorator import declaration_of

        found: Any = self._imported()
        *classes, name = self.qualname.split(".")
        try:
            for part in classes:
                found = getattr(found, part)
            function = getattr(found() if classes else found, name)
        except AttributeError:
            msg = f"{self.file} has no {self.qualname} when it is imported in a process of its own"
            raise SubjectError(msg) from None
        declaration = declaration_of(function)
        if declaration is not None and not classes:
            function = declaration.build
        return functools.partial(function, **self.arguments)

    def _imported(self) -> ModuleType:
        """The file as a module, under the name that it has where the test was collected."""
        path = Path(self.file)
        with contextlib.suppress(ImportError, ValueError):
            found = importlib.util.find_spec(self.module)
            origin = None if found is None else found.origin
            if origin and Path(origin).resolve() == path.resolve():
                return importlib.import_module(self.module)
        spec = importlib.util.spec_from_file_location(self.module, path)
        if spec is None or spec.loader is None:
            raise SubjectError(f"{self.file} cannot be imported: it is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.module] = module
        spec.loader.exec_module(module)
        return module


@dataclass(frozen=True, slots=True)
class CallableProgram:
    """A builder that only this process has: a closure, a lambda, a planted fault.

    Attributes:
        function: ``function(sizes=..., device=...)`` gives the call.
        root: the folder that source paths are shown relative to.
    """

    function: Callable[..., Any]
    root: Path

    @property
    def key(self) -> Hashable:
        """The function itself."""
        return self.function

    def load(self, kept: Kept) -> Loaded:
        """The function."""
        return Loaded(_called(self.function), self.root)


def _called(function: Callable[..., Any]) -> Build:
    from oom_suite.pipeline.law_tests.sizes import Sizes

    def build(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
        call = function(sizes=Sizes(sizes), device=device)
        if not callable(call):
            name = getattr(getattr(function, "func", function), "__name__", "the builder")
            raise SubjectError(
                f"{name} returns {type(call).__name__}, not a function: return what is to be "
                "judged as a call, such as `return lambda: decode(cache)`"
            )
        return call  # type: ignore[no-any-return]  # callable, which is all that is known

    return build


@dataclass(frozen=True, slots=True)
class Run(Request[Trace]):
    """One call in the shadow lane or the measure lane.

    Attributes:
        program: what is run.
        lane: where.
        sizes: the axes' values.
        choice: how much of what data may choose is taken; for the shadow lane.
    """

    program: Program
    lane: LaneSpec
    sizes: Mapping[str, int]
    choice: str = MOST

    def prepare(self, kept: Kept) -> None:
        """Load the program."""
        ready(kept, self.program, self.lane)

    def answer(self, kept: Kept) -> Trace:
        """The call's trace."""
        lane, loaded = ready(kept, self.program, self.lane)
        return lane.run(loaded.build, self.sizes, self.choice)


@dataclass(frozen=True, slots=True)
class Prove(Request[SymbolicTrace]):
    """One call with sizes that are symbols."""

    program: Program
    lane: LaneSpec
    hints: Hints

    def prepare(self, kept: Kept) -> None:
        """Load the program."""
        ready(kept, self.program, self.lane)

    def answer(self, kept: Kept) -> SymbolicTrace:
        """The call's symbolic trace."""
        lane, loaded = ready(kept, self.program, self.lane)
        return lane.prove(loaded.build, self.hints)


def ready(kept: Kept, program: Program, spec: LaneSpec) -> tuple[RunningLane, Loaded]:
    """The lane and the program in this process, each made once."""
    from oom_suite.tracing.lanes import loading

    # What starts threads when it is imported is followed onto them later.
    from oom_suite.tracing.starting import watched

    def load() -> Loaded:
        with watched(), loading(spec):
            return program.load(kept)

    loaded = kept.get(program.key, load)
    lane = kept.get((spec, loaded.root), lambda: _lane(spec, loaded.root))
    # Where Triton is not installed, vLLM's kernels are placeholders with a hook of their own.
    from oom_suite.subjects.families.vllm.triton_placeholder import set_on_launch

    set_on_launch(lane.on_launch or _refused)
    return lane, loaded


def _lane(spec: LaneSpec, root: Path) -> RunningLane:
    from oom_suite.tracing.lanes import RunningLane

    return RunningLane(spec, root, _watch)


def _refused(kernel: str, _arguments: list[object]) -> None:
    msg = f"needs a GPU and Triton: it launches the Triton kernel {kernel}"
    raise NotApplicableError(msg)


def _watch(device: torch.device) -> Watch:
    # Half a child's start; only a measurement pays it.
    from oom_suite.targets.meters import Watch

    return Watch(device.type, device.index)
