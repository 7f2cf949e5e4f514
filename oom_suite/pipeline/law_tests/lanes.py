"""Runs a builder in a lane, in a child process or in this one. Importing it imports torch."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from oom_suite.errors import LaneError, SubjectError
from oom_suite.pipeline.law_tests.decorator import declaration_of
from oom_suite.pipeline.law_tests.machine import IS_COMPILED
from oom_suite.pipeline.law_tests.sizes import Sizes
from oom_suite.tracing.measure import MeasureLane
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.tracing.shadow_device import shadow_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from oom_suite.pipeline.law_tests.job import LawJob, Target

_NO_FAKE = "torch._subclasses.fake_tensor.UnsupportedOperatorException"

_NO_AUTOCAST = (
    "torch.autocast on the device that it is given cannot be run without memory: "
    "convert the tensors in the test, or take autocast out of what it calls"
)


def make_handler(job: LawJob) -> Callable[[Any], Any]:
    """The function that answers sizes (hints, in the prove lane) with a trace."""
    return runner(find(job.target), job.lane, job.device, Path(job.target.root))


def runner(build: Callable[..., Any], lane: str, device: str, root: Path) -> Callable[[Any], Any]:
    """A function from sizes (hints, in the prove lane) to the trace of ``build(sizes, device)()``.

    Args:
        build: ``build(sizes=..., device=...)`` gives the call.
        lane: ``"prove"``, ``"shadow"``, ``"shadow cuda"`` (with the scratch of CUDA's kernels)
            or ``"measure"``.
        device: where the measure lane runs.
        root: source files are shown relative to it.
    """
    lanes: dict[str, Callable[[Path], Any]] = {
        "prove": ProveLane,
        "shadow": ShadowLane,
        "shadow cuda": functools.partial(ShadowLane, scratch="cuda"),
    }
    # A process that has no such device yet may be one that measures on a GPU: leave it so.
    if lane != "measure" or torch._C._get_privateuse1_backend_name() != "privateuseone":
        _allow_autocast()
    chosen = MeasureLane(root, device) if lane == "measure" else lanes[lane](root)

    def called(sizes: Mapping[str, int], on: torch.device) -> Callable[[], object]:
        call = build(sizes=Sizes(sizes), device=on)
        if not callable(call):
            raise SubjectError(_returns_no_call(build, call))
        return call  # type: ignore[no-any-return]  # callable, which is all that is known

    entered: list[object] = []

    def run(request: Any) -> Any:
        if request == IS_COMPILED:
            return bool(entered)
        with _explained(), _without_memory(lane), _noting_compiled(entered):
            return chosen.run(called, request)

    return run


def find(target: Target) -> Callable[..., Any]:
    """The builder that a target names, its further arguments bound.

    Raises:
        SubjectError: the file has no such test when it is imported here.
    """
    found: Any = _imported(target)
    *classes, name = target.qualname.split(".")
    try:
        for part in classes:
            found = getattr(found, part)
        function = getattr(found() if classes else found, name)
    except AttributeError:
        msg = f"{target.file} has no {target.qualname} when it is imported in a process of its own"
        raise SubjectError(msg) from None
    declaration = declaration_of(function)
    if declaration is not None and not classes:
        function = declaration.build
    return functools.partial(function, **target.arguments)


def _imported(target: Target) -> ModuleType:
    """The file as a module, under the name that it has where the test was collected."""
    path = Path(target.file)
    with contextlib.suppress(ImportError, ValueError):
        found = importlib.util.find_spec(target.module)
        if found is not None and found.origin and Path(found.origin).resolve() == path.resolve():
            return importlib.import_module(target.module)
    spec = importlib.util.spec_from_file_location(target.module, path)
    if spec is None or spec.loader is None:
        raise SubjectError(f"{target.file} cannot be imported: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[target.module] = module
    spec.loader.exec_module(module)
    return module


def _allow_autocast() -> None:
    """Let ``torch.autocast`` and checkpoints take the device without memory for a GPU."""
    module = torch.get_device_module(shadow_device())
    if not hasattr(module, "get_amp_supported_dtype"):
        supported = [torch.float16, torch.bfloat16, torch.float32]
        vars(module)["get_amp_supported_dtype"] = lambda: supported


@contextlib.contextmanager
def _without_memory(lane: str) -> Iterator[None]:
    """What the lanes without memory need of the code that they run.

    Backward passes stay on the calling thread: torch ends the process where Python code runs on
    the thread that autograd keeps for a device without memory, and lines are read there too.
    Compiled functions run as they are written: there is nothing to compile for.
    """
    with contextlib.ExitStack() as undo:
        if lane != "measure":
            undo.enter_context(torch.autograd.set_multithreading_enabled(False))
            undo.enter_context(torch.compiler.set_stance("force_eager"))
        yield


@contextlib.contextmanager
def _noting_compiled(entered: list[object]) -> Iterator[None]:
    """Notes that a compiled function is entered; it asks for the stance each time it is."""
    frames: Any = sys.modules.get("torch._dynamo.eval_frame")
    original = getattr(frames, "_callback_from_stance", None)
    if original is None:
        yield
        return

    def noting(callback: object) -> Any:
        # Those who switch the compiler off ask too, on entering and on leaving.
        if callable(callback) and sys._getframe(1).f_code.co_name == "compile_wrapper":
            entered.append(True)
        return original(callback)

    with mock.patch.object(frames, "_callback_from_stance", noting):
        yield


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Says what to do about an operator that no fake tensor can go through."""
    try:
        yield
    except Exception as error:
        if "Autocast" in str(error) and isinstance(error, NotImplementedError):
            raise LaneError(_NO_AUTOCAST) from error
        name = _operator_without_fake(error)
        if name is None:
            raise
        msg = (
            f"custom operator {name} has no fake kernel, so its result's size is not known without "
            f'running it: register one with @torch.library.register_fake("{name}")'
        )
        raise LaneError(msg) from error


def _operator_without_fake(error: BaseException) -> str | None:
    """The operator's name, where that is what an error is about."""
    kind = type(error)
    if f"{kind.__module__}.{kind.__qualname__}" == _NO_FAKE:
        func = getattr(error, "func", None)
        namespace, _, rest = str(func).partition(".")
        return f"{namespace}::{rest.partition('.')[0]}"
    text = str(error)
    if "no fake impl registered for" in text and "CustomOpDef(" in text:
        return text.partition("CustomOpDef(")[2].partition(")")[0]
    return None


def _returns_no_call(build: Callable[..., Any], value: object) -> str:
    name = getattr(build, "func", build)
    kind = type(value).__name__
    return (
        f"{getattr(name, '__name__', 'the builder')} returns {kind}, not a function: "
        "return what is to be judged as a call, such as `return lambda: decode(cache)`"
    )
