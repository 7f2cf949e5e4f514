"""Code of the user's own: ``PATH.py:FUNCTION`` and ``package.module:function``."""

from __future__ import annotations

import abc
import contextlib
import importlib
import importlib.util
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from oom_suite.errors import StubUsedError, SubjectError, UsageError
from oom_suite.hookspecs import hookimpl
from oom_suite.records import SubjectSpec
from oom_suite.subjects.convention import fitted, names_one, takes
from oom_suite.subjects.family import LoadedSubject, SubjectFamily
from oom_suite.subjects.loading import Isolated, Modules
from oom_suite.subjects.parameters import module_file, parameters_of
from oom_suite.subjects.source import FreshLoader, fresh_imports, import_failure, shown
from oom_suite.subjects.stubs import StubLog

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from oom_suite.records import Workload

_NAME = r"[^\W\d]\w*"
_MODULE = re.compile(rf"(?P<module>{_NAME}(?:\.{_NAME})*):(?P<function>{_NAME})")
_FILE = re.compile(rf"(?P<path>.+\.py):(?P<function>{_NAME})", re.DOTALL)
_FILE_MODULE = "_oom_suite_subject_"


class _CodeFamily(SubjectFamily):
    """A function that anybody wrote: it takes the workloads whose keywords it has as parameters."""

    takes_stubs: ClassVar[bool] = True

    def workloads(self, spec: SubjectSpec, known: Iterable[Workload]) -> tuple[Workload, ...]:
        """Those that its parameters fit, read off its source.

        Where they fit none, the nearest, so that loading it says what is missing. Where they
        cannot be told, those that such code is taken to be for.
        """
        source = self.source(spec)
        found = None if source is None else parameters_of(source, str(spec.function))
        callers = [workload for workload in known if workload.convention is not None]
        if found is None or not names_one(found):
            return tuple(workload for workload in callers if workload.is_assumed)
        fits = tuple(workload for workload in callers if takes(found, workload))
        return fits or _nearest(found, callers)

    @abc.abstractmethod
    def source(self, spec: SubjectSpec) -> Path | None:
        """The file that defines it; None where that is not known without running it."""

    def may_launch_kernels(self, spec: SubjectSpec) -> bool:
        """Whether its file mentions Triton."""
        source = self.source(spec)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return source is not None and "triton" in source.read_text(encoding="utf-8")
        return False


def _nearest(
    parameters: tuple[inspect.Parameter, ...], callers: list[Workload]
) -> tuple[Workload, ...]:
    """The workloads that share the most names with the parameters, of at least one."""
    names = {parameter.name for parameter in parameters}

    def num_shared(workload: Workload) -> int:
        return len(names.intersection(workload.convention.keywords if workload.convention else ()))

    most = max(map(num_shared, callers), default=0)
    return tuple(w for w in callers if num_shared(w) == most and (most or w.is_assumed))


class FileFamily(_CodeFamily):
    """A function at the top of a file, which is loaded as a script is."""

    name = "file"

    @property
    def spellings(self) -> tuple[str, ...]:
        """One."""
        return ("PATH.py:FUNCTION",)

    def parse(self, text: str) -> SubjectSpec | None:
        """The function of a file.

        Raises:
            UsageError: a file without a function.
        """
        if match := _FILE.fullmatch(text):
            return SubjectSpec(text, self.name, path=match["path"], function=match["function"])
        if "::" in text:
            plain = text.replace("::", ":")
            raise UsageError(f"unknown subject {text!r}: one colon, as {plain!r}")
        if text.endswith(".py"):
            raise UsageError(f"subject {text!r} names no function: write {text}:FUNCTION")
        if ".py:" in text:
            function = text.rpartition(":")[2]
            raise UsageError(
                f"subject {text!r} names no function: {function!r} is not the name of a function "
                "at the top of the file; write PATH.py:FUNCTION"
            )
        return None

    def source(self, spec: SubjectSpec) -> Path | None:
        """The file itself."""
        return Path(str(spec.path)).expanduser()

    def source_folders(self, spec: SubjectSpec) -> tuple[Path, ...]:
        """The current folder, and the file's."""
        return (Path.cwd(), Path(str(spec.path)).expanduser().parent)

    def load(
        self, spec: SubjectSpec, workload: Workload, *, root: Path | None, arch: str
    ) -> LoadedSubject:
        """The function, with its folder on the path until it is closed."""
        path = Path(str(spec.path)).expanduser().absolute()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise SubjectError(f"{spec.text}: {spec.path} {what} (looked in {Path.cwd()})")
        folder = path.parent
        with contextlib.ExitStack() as undo:
            # As `python PATH.py` does; until closed, for what the function imports when called.
            undo.enter_context(_on_path(folder))
            undo.enter_context(fresh_imports(folder))
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
            stubs = Isolated(Modules(spec.stubs), StubLog(spec.text))
            with _one_line(spec, folder), stubs.importing():
                found.loader.exec_module(module)
            call = stubs.during(fitted(_function(module, spec), workload, spec.text))
            return LoadedSubject(call, _root_of(path, folder), None, undo.pop_all())


class ModuleFamily(_CodeFamily):
    """A function of a module that can be imported, from the current folder too."""

    name = "module"

    @property
    def spellings(self) -> tuple[str, ...]:
        """One."""
        return ("package.module:function",)

    def parse(self, text: str) -> SubjectSpec | None:
        """The function of a module."""
        if match := _MODULE.fullmatch(text):
            return SubjectSpec(text, self.name, module=match["module"], function=match["function"])
        return None

    def source(self, spec: SubjectSpec) -> Path | None:
        """The module's file; no package above it is executed to find it."""
        return module_file(str(spec.module), Path.cwd())

    def source_folders(self, spec: SubjectSpec) -> tuple[Path, ...]:
        """The current folder, and the one that the module's top package lies in."""
        source = self.source(spec)
        return (Path.cwd(),) if source is None else (Path.cwd(), _above(source, str(spec.module)))

    def load(
        self, spec: SubjectSpec, workload: Workload, *, root: Path | None, arch: str
    ) -> LoadedSubject:
        """The function, with the current folder on the path until it is closed."""
        name = str(spec.module)
        with contextlib.ExitStack() as undo:
            undo.enter_context(_on_path(Path.cwd()))
            undo.enter_context(fresh_imports(Path.cwd()))
            importlib.invalidate_caches()
            stubs = Isolated(Modules(spec.stubs), StubLog(spec.text))
            with _one_line(spec, Path.cwd()), stubs.importing():
                module = importlib.import_module(name)
            call = stubs.during(fitted(_function(module, spec), workload, spec.text))
            path = Path(module.__file__ or Path.cwd() / name).absolute()
            return LoadedSubject(call, _root_of(path, _above(path, name)), None, undo.pop_all())


@contextlib.contextmanager
def _one_line(spec: SubjectSpec, folder: Path) -> Iterator[None]:
    """Whatever an import raises, as one line; a script may end itself by `SystemExit`."""
    try:
        yield
    except (KeyboardInterrupt, StubUsedError):
        raise
    except BaseException as error:
        raise import_failure(error, spec.text, folder) from error


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
            "name a function that makes one call of the workload"
        )
    return function  # type: ignore[no-any-return]  # callable, which is all that is known


def _above(file: Path, module: str) -> Path:
    """The folder that the module's top package lies in."""
    return file.parents[module.count(".") + (file.name == "__init__.py")]


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


@hookimpl
def oom_subject_families() -> list[SubjectFamily]:
    """Files and modules."""
    return [FileFamily(), ModuleFamily()]
