"""Turns a subject's spelling into something to call."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.errors import SubjectError, unknown
from oom_suite.subjects.convention import require_convention
from oom_suite.subjects.families.vllm.decode import load_decode
from oom_suite.subjects.families.vllm.releases import obtain
from oom_suite.subjects.families.vllm.tree import installed_root, open_tree
from oom_suite.subjects.source import FreshLoader, import_failure, shown
from oom_suite.subjects.spec import SubjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType, TracebackType
    from typing import Self

    from oom_suite.subjects.spec import SubjectSpec

_FILE_MODULE = "_oom_suite_subject_"


@dataclass(frozen=True, slots=True)
class LoadedSubject:
    """A subject, ready to be called; a context manager that closes it.

    Attributes:
        call: takes the fourteen keywords of a decode step and writes ``output``.
        root: the folder that its source paths are shown relative to.
        version: its version, where it has one.
        undo: what `close` runs.
    """

    call: Callable[..., Any]
    root: Path
    version: str | None
    undo: contextlib.ExitStack

    def close(self) -> None:
        """Nothing; what was loaded for it is taken out of the process."""
        self.undo.close()

    def __enter__(self) -> Self:
        """The subject."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def load(spec: SubjectSpec, *, root: Path | None = None, arch: str = "generic") -> LoadedSubject:
    """The subject that `spec` names.

    Args:
        spec: from `oom_suite.subjects.spec.parse`.
        root: the release's tree, where it was obtained already; else it is obtained here.
        arch: the GPU that vLLM's code is told it runs on: ``"generic"``, ``"gfx942"``,
            ``"gfx950"``.

    Raises:
        SubjectError: it cannot be found, loaded or called with the fourteen keywords.
        NotApplicableError: the vLLM tree has no decode path to call.
        FetchError: the release cannot be fetched.
        UsageError: an unknown architecture.
    """
    match spec.kind:
        case SubjectKind.BUILTIN:
            return _builtin(str(spec.name))
        case SubjectKind.VLLM_RELEASE:
            return _vllm(root or obtain(str(spec.version)), arch)
        case SubjectKind.VLLM_TREE:
            return _vllm(open_tree(str(spec.path)), arch)
        case SubjectKind.VLLM_INSTALLED:
            return _vllm(installed_root(), arch)
        case SubjectKind.FILE:
            return _file(spec)
        case SubjectKind.MODULE:
            return _module(spec)


def _builtin(name: str) -> LoadedSubject:
    decode = importlib.import_module("oom_suite.workloads.sparse_mla.builtins")
    if name not in decode.BUILTINS:
        raise unknown("built-in subject", name, decode.BUILTINS)
    package_parent = Path(__file__).resolve().parents[2]
    return LoadedSubject(decode.BUILTINS[name], package_parent, None, contextlib.ExitStack())


def _vllm(root: Path, arch: str) -> LoadedSubject:
    loaded = load_decode(root, arch)
    undo = contextlib.ExitStack()
    undo.callback(loaded.close)
    return LoadedSubject(loaded.call, root, loaded.version, undo)


def _file(spec: SubjectSpec) -> LoadedSubject:
    path = Path(str(spec.path)).expanduser().absolute()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SubjectError(f"{spec.text}: {spec.path} {what} (looked in {Path.cwd()})")
    folder = path.parent
    with contextlib.ExitStack() as undo:
        # As `python PATH.py` does; until closed, for what the function imports when it is called.
        undo.enter_context(_on_path(folder))
        undo.enter_context(_forgetting(folder))
        name = _FILE_MODULE + path.stem
        found = importlib.util.spec_from_file_location(
            name, path, loader=FreshLoader(name, str(path))
        )
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[name] = module
        undo.callback(sys.modules.pop, name, None)
        try:
            found.loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a script may end itself: SystemExit
            raise import_failure(error, spec.text, folder) from error
        call = _function(module, spec)
        return LoadedSubject(call, _root_of(path, folder), None, undo.pop_all())


def _module(spec: SubjectSpec) -> LoadedSubject:
    name = str(spec.module)
    with contextlib.ExitStack() as undo:
        undo.enter_context(_on_path(Path.cwd()))
        importlib.invalidate_caches()
        try:
            module = importlib.import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise import_failure(error, spec.text, Path.cwd()) from error
        call = _function(module, spec)
        path = Path(module.__file__ or Path.cwd() / name).absolute()
        depth = name.count(".") + (path.name == "__init__.py")
        root = _root_of(path, path.parents[depth])
        return LoadedSubject(call, root, None, undo.pop_all())


def _function(module: ModuleType, spec: SubjectSpec) -> Callable[..., Any]:
    name = str(spec.function)
    where = shown(module.__file__) if module.__file__ else module.__name__
    try:
        function = getattr(module, name)
    except AttributeError:
        names = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
        raise SubjectError(f"{spec.text}: {where} has no function {name!r}; {hint}") from None
    if not callable(function):
        raise SubjectError(
            f"{spec.text}: {name!r} in {where} is {type(function).__name__}, not a function; "
            "name a function that runs one decode step"
        )
    require_convention(function, spec.text)
    return function  # type: ignore[no-any-return]  # callable, which is all that is known


def _root_of(path: Path, otherwise: Path) -> Path:
    return Path.cwd() if path.is_relative_to(Path.cwd()) else otherwise


@contextlib.contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)


@contextlib.contextmanager
def _forgetting(folder: Path) -> Iterator[None]:
    """On leaving, drops the modules that came from the folder, so that another's are not mixed."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            file = Path(getattr(sys.modules.get(name), "__file__", None) or "/")
            top = name.partition(".")[0]
            # Not all that lies below: a virtual environment may, and torch cannot come twice.
            if file.is_relative_to(folder) and file.relative_to(folder).parts[0] in {
                f"{top}.py",
                top,
            }:
                del sys.modules[name]
