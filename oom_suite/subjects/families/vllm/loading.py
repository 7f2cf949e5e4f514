"""Loads vLLM's decode file out of a tree, with nothing else of vLLM, under its true name."""

from __future__ import annotations

import contextlib
import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_file_location, spec_from_loader
from typing import TYPE_CHECKING

from oom_suite.errors import OomSuiteError, StubUsedError, SubjectError
from oom_suite.subjects.families.vllm.stubs import StubLog, StubModule, stub_used
from oom_suite.subjects.families.vllm.supplied import supplied
from oom_suite.subjects.families.vllm.tree import DECODE_FILE, PURE_FILES, tree_version
from oom_suite.subjects.source import FreshLoader, import_failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType

_PACKAGES = ("vllm", "aiter")


def _dotted(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


class _TreeLoader(FreshLoader):
    """Loads one of the tree's own files; while it is executed, stubs give stubs."""

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
    """Answers for every module of vLLM's: the tree's own file for a few, stubs for the rest."""

    def __init__(self, root: Path, arch: str, log: StubLog) -> None:
        self._log = log
        self._supplied = supplied(arch, log)
        files = {_dotted(file): root / file for file in (DECODE_FILE, *PURE_FILES)}
        self._files = {name: path for name, path in files.items() if path.is_file()}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] != "vllm":
            return None
        file = self._files.get(fullname)
        if file is None:
            return spec_from_loader(fullname, self, is_package=True)
        loader = _TreeLoader(fullname, str(file), self._log)
        return spec_from_file_location(fullname, file, loader=loader)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        content = self._supplied.get(spec.name, {})
        return StubModule(spec.name, self._log, content, self._submodule)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: a stub module is complete when it is created."""

    def _submodule(self, name: str) -> ModuleType | None:
        known = name in self._files or name in self._supplied
        return importlib.import_module(name) if known else None


class LoadedModule:
    """The decode file of one tree, loaded.

    Its modules are in `sys.modules` only while it is loaded and while `running`: several trees
    and an installed vLLM can live in one process. Not for several threads at once.

    Attributes:
        root: the tree's root.
        version: the tree's version.
        used_stubs: the stubs that the last run used, in order, swallowed exceptions included.
    """

    def __init__(self, root: Path, arch: str = "generic") -> None:
        """Load it.

        Args:
            root: the tree's root.
            arch: the GPU that the code is told it runs on.

        Raises:
            SubjectError: the file is missing, or its import raised.
            StubUsedError: its import depends on a value that the suite stubs.
            UsageError: an unknown architecture.
        """
        self.root = root
        self.version = tree_version(root)
        self._log = StubLog()
        self.used_stubs = self._log.used
        self._finder = _Finder(root, arch, self._log)
        self._modules: dict[str, ModuleType] = {}
        self._depth = 0
        self._module: ModuleType | None = self._import()

    @property
    def module(self) -> ModuleType:
        """The module itself; its functions are for calls inside `running`.

        Raises:
            SubjectError: it was closed.
        """
        if self._module is None:
            raise SubjectError(f"vLLM {self.version} was closed: load it again")
        return self._module

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While inside, the module's functions can be called.

        Raises:
            StubUsedError: on leaving, when a stub was used, whatever became of its exception.
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
            raise
        if self.used_stubs:
            raise stub_used(self.used_stubs[0])

    def close(self) -> None:
        """Nothing; the module and all that was loaded for it can be freed."""
        self._modules.clear()
        self._module = None

    def _import(self) -> ModuleType:
        try:
            with self._installed():
                return importlib.import_module(_dotted(DECODE_FILE))
        except OomSuiteError:
            raise
        except Exception as error:
            name = f"{DECODE_FILE} of vLLM {self.version}"
            raise import_failure(error, name, self.root) from error

    @contextlib.contextmanager
    def _installed(self) -> Iterator[None]:
        """Puts this tree's modules in place of any others of vLLM's, and these back after."""
        if self._depth:
            yield
            return
        others = _taken()
        # None makes Python report the package as not installed, even where it is.
        sys.modules.update(self._modules | {"aiter": None})  # type: ignore[arg-type]  # the mapping's values are of several types
        sys.meta_path.insert(0, self._finder)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            sys.meta_path.remove(self._finder)
            self._modules = _taken()
            sys.modules.update(others)


def _taken() -> dict[str, ModuleType]:
    """The modules of vLLM's and AITER's, taken out of `sys.modules`."""
    names = [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]
    return {name: sys.modules.pop(name) for name in names}
