"""Loads single files of a package under their true names, with nothing else of that package."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_file_location, spec_from_loader
from typing import TYPE_CHECKING, Any

from oom_suite.errors import OomSuiteError, StubUsedError, SubjectError
from oom_suite.subjects.source import FreshLoader, import_failure
from oom_suite.subjects.stubs import Stub, StubLog, StubModule, stub_used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType


def _everything(name: str) -> bool:
    """Whether a package holds this module, where that is not known: taken to be so."""
    del name
    return True


@dataclass(frozen=True, slots=True)
class Modules:
    """Which modules the code under test finds, and what they are.

    Attributes:
        packages: the packages that are answered for; all others are this Python's own.
        files: their modules that are loaded from a file, by dotted name.
        supplied: for others of them, the real names in each.
        absent: packages that look as if they were not installed.
        holds: whether a further module of them exists: then its names are stubs. One that does
            not is missing, as it is for whoever installed the package.
    """

    packages: tuple[str, ...]
    files: Mapping[str, Path] = field(default_factory=dict)
    supplied: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    holds: Callable[[str], bool] = _everything


@dataclass(frozen=True, slots=True)
class Given:
    """What a function is given that supplies a module.

    Attributes:
        arch: the GPU that the code sees.
        log: where uses of stubs are recorded.
    """

    arch: str
    log: StubLog

    def stub(self, name: str) -> Stub:
        """A stand-in of that dotted name that may be named and not used."""
        return Stub(name, self.log)


class _RecordedLoader(FreshLoader):
    """Loads one of the package's own files; while it is executed, stubs give stubs."""

    def __init__(self, name: str, path: str, log: StubLog) -> None:
        super().__init__(name, path)
        self._log = log

    def exec_module(self, module: ModuleType) -> None:
        self._log.importing += 1
        try:
            super().exec_module(module)
        finally:
            self._log.importing -= 1


class _Finder(MetaPathFinder, Loader):
    """Answers for every module of the packages: a file, what is supplied, stubs, or nothing."""

    def __init__(self, modules: Modules, log: StubLog) -> None:
        self._modules = modules
        self._log = log
        named = (*modules.files, *modules.supplied)
        self._parents = {name[:at] for name in named for at, c in enumerate(name) if c == "."}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self._modules.packages:
            return None
        file = self._modules.files.get(fullname)
        if file is not None:
            loader = _RecordedLoader(fullname, str(file), self._log)
            return spec_from_file_location(fullname, file, loader=loader)
        is_known = fullname in self._modules.supplied or fullname in self._parents
        if is_known or self._modules.holds(fullname):
            return spec_from_loader(fullname, self, is_package=True)
        return None  # nor does another finder know it: its parent has no path to look in

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        content = dict(self._modules.supplied.get(spec.name, {}))
        return StubModule(spec.name, self._log, content, self._submodule)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: a stub module is complete when it is created."""

    def _submodule(self, name: str) -> ModuleType | None:
        known = name in self._modules.files or name in self._modules.supplied
        return importlib.import_module(name) if known else None


class Isolated:
    """Modules that are in `sys.modules` only while they are loaded and called.

    Several trees and an installed package of the same name can live in one process. Not for
    several threads at once.

    Attributes:
        used_stubs: the stubs that the last run used, in order, swallowed exceptions included.
    """

    def __init__(self, modules: Modules, log: StubLog) -> None:
        """Install nothing yet.

        Args:
            modules: what is found while it is installed.
            log: where uses of stubs are recorded.
        """
        self.used_stubs = log.used
        self._log = log
        self._modules = modules
        self._finder = _Finder(modules, log)
        self._kept: dict[str, ModuleType] = {}
        self._depth = 0

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """While inside, code can be imported that is not itself of the packages."""
        self._log.importing += 1
        try:
            with self._installed():
                yield
        finally:
            self._log.importing -= 1

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While inside, the functions of the modules can be called.

        Raises:
            StubUsedError: on leaving, when a stub was used, whatever became of its exception.
            SubjectError: the code imports a module of the packages that they do not hold.
        """
        self.used_stubs.clear()
        try:
            with self._installed():
                yield
        except StubUsedError:
            raise
        except Exception as error:
            if self.used_stubs:
                raise stub_used(self.used_stubs[0]) from error
            if isinstance(error, ModuleNotFoundError) and self._is_ours(error.name or ""):
                raise self._missing(str(error.name)) from error
            raise
        if self.used_stubs:
            raise stub_used(self.used_stubs[0])

    def during(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, called inside `running`; itself where there is nothing to install."""
        if not self._modules.packages:
            return function

        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            with self.running():
                return function(*args, **keywords)

        return call

    def close(self) -> None:
        """Nothing; all that was loaded can be freed."""
        self._kept.clear()

    def _is_ours(self, name: str) -> bool:
        return name.partition(".")[0] in self._modules.packages

    def _missing(self, name: str) -> SubjectError:
        return SubjectError(
            f"{self._log.owner} imports `{name}`, which it does not hold: it cannot be run as it "
            "was released; a family of subjects that supplies this module can"
        )

    @contextlib.contextmanager
    def _installed(self) -> Iterator[None]:
        """Puts these modules in place of any others of the packages', and those back after."""
        if self._depth:
            yield
            return
        others = self._taken()
        # None makes Python report the package as not installed, even where it is.
        absent = dict.fromkeys(self._modules.absent)
        sys.modules.update(self._kept | absent)  # type: ignore[arg-type]  # None too, see above
        sys.meta_path.insert(0, self._finder)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            sys.meta_path.remove(self._finder)
            self._kept = self._taken()
            sys.modules.update(others)

    def _taken(self) -> dict[str, ModuleType]:
        """The modules of the packages, taken out of `sys.modules`."""
        tops = {*self._modules.packages, *self._modules.absent}
        if not tops:
            return {}
        names = [name for name in sys.modules if name.partition(".")[0] in tops]
        return {name: sys.modules.pop(name) for name in names}


class LoadedModule(Isolated):
    """One file of a package's tree, loaded."""

    def __init__(self, root: Path, file: str, version: str, modules: Modules, log: StubLog) -> None:
        """Load it.

        Args:
            root: the tree's root.
            file: the file, from the root; one of `modules`.
            version: the tree's version.
            modules: what it finds.
            log: where uses of stubs are recorded.

        Raises:
            SubjectError: its import raised.
            StubUsedError: its import depends on a value that the suite stubs.
        """
        super().__init__(modules, log)
        self.root = root
        self.file = file
        self.version = version
        self._module: ModuleType | None = self._import(file)

    @property
    def module(self) -> ModuleType:
        """The module itself; its functions are for calls inside `running`.

        Raises:
            SubjectError: it was closed.
        """
        if self._module is None:
            raise SubjectError(f"{self._log.owner} was closed: load it again")
        return self._module

    def close(self) -> None:
        """Nothing; the module and all that was loaded for it can be freed."""
        super().close()
        self._module = None

    def _import(self, file: str) -> ModuleType:
        try:
            with self._installed():
                return importlib.import_module(dotted(file))
        except OomSuiteError:
            raise
        except ModuleNotFoundError as error:
            if self._is_ours(error.name or ""):
                raise self._missing(str(error.name)) from error
            raise import_failure(error, f"{file} of {self._log.owner}", self.root) from error
        except Exception as error:
            raise import_failure(error, f"{file} of {self._log.owner}", self.root) from error


def dotted(file: str) -> str:
    """The module's name of a file, as ``a/b.py`` is ``a.b``."""
    return file.removesuffix(".py").replace("/", ".")
