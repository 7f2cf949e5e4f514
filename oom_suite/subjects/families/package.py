"""A released Python package whose single files are loaded with stubs in place of the rest of it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from oom_suite import doors
from oom_suite.errors import NotApplicableError, SubjectError, UsageError
from oom_suite.records import SubjectSpec
from oom_suite.subjects.convention import fitted
from oom_suite.subjects.families.opening import called, in_layout, modules_of
from oom_suite.subjects.families.releases import Project, fetch, read_release
from oom_suite.subjects.families.tree import (
    SDIST_METADATA,
    WHEEL_METADATA,
    WHEEL_RECORD,
    installed_root,
    open_tree,
    tree_version,
)
from oom_suite.subjects.family import LoadedSubject, SubjectFamily
from oom_suite.subjects.loading import Given, LoadedModule
from oom_suite.subjects.stubs import Stub, StubLog, stub_used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import ModuleType

    from packaging.version import Version

    from oom_suite.records import Workload
    from oom_suite.records.covering import Profile
    from oom_suite.records.workload import Entry
    from oom_suite.subjects.family import OnBytes


@dataclass(frozen=True, slots=True)
class PackageFamily(SubjectFamily):
    """``NAME==VERSION``, ``NAME@PATH`` and ``NAME``: a release, a tree, and what is installed.

    Of a release, only the files that workloads name as their `Entry` are kept, and those below.

    Attributes:
        name: how it is written.
        title: what messages call it.
        project: its name on the package index; `name` by default.
        package: its top package; `project` by default.
        archive: ``"sdist"`` or ``"wheel"``: what is taken of a release.
        pure_files: files of its own that load with the standard library alone, and so are used as
            they are, from the root.
        version_file: the file that a build writes its version into, from the root.
        supplies: for modules with a stand-in, the ``"module:function"`` that makes it:
            ``function(given)`` gives the names in it; see `Given`.
        absent: other packages that its code must find to be not installed.
        unknown_modules: what a module is that is neither its file, nor pure, nor supplied:
            ``"stubs"``, or ``"as released"``, a stub only where the release holds it.
        entries: where it has its code for workloads that do not say so themselves.
        has_arch: whether it sees which GPU it runs on.
        note: what a reader of its results has to know; empty for nothing.
        profiles: what the profile runs of its releases do in the place of later steps.
    """

    name: str
    title: str
    project: str = ""
    package: str = ""
    archive: Literal["sdist", "wheel"] = "sdist"
    pure_files: tuple[str, ...] = ()
    version_file: str = ""
    supplies: Mapping[str, str] = field(default_factory=dict, hash=False)
    absent: tuple[str, ...] = ()
    unknown_modules: Literal["stubs", "as released"] = "stubs"
    entries: Mapping[str, Entry] = field(default_factory=dict, hash=False)
    has_arch: bool = False
    note: str = ""
    profiles: tuple[Profile, ...] = field(default=(), hash=False)

    takes_stubs: ClassVar[bool] = True
    takes_package: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Fill in the names that are the same."""
        object.__setattr__(self, "project", self.project or self.name)
        object.__setattr__(self, "package", self.package or self.project.replace("-", "_"))

    @property
    def spellings(self) -> tuple[str, ...]:
        """Three."""
        return (f"{self.name} (the installed one)", f"{self.name}==VERSION", f"{self.name}@PATH")

    @property
    def words(self) -> tuple[str, ...]:
        """The name."""
        return (self.name,)

    @property
    def supplied(self) -> tuple[str, ...]:
        """The modules with a stand-in."""
        return tuple(self.supplies)

    @property
    def obeys_arch(self) -> bool:
        """As its maker says."""
        return self.has_arch

    def parse(self, text: str) -> SubjectSpec | None:
        """A release, a tree, or what is installed.

        Raises:
            UsageError: it begins with the name, and is none of these.
        """
        if text == self.name:
            return SubjectSpec(text, self.name)
        tree = f"{self.name}@"
        if text.startswith(tree):
            if not text.removeprefix(tree).strip():
                raise UsageError(
                    f"subject {text!r} names no path: write {tree}PATH, the root of a checkout or "
                    "of an extracted source archive"
                )
            return SubjectSpec(text, self.name, path=text.removeprefix(tree))
        if re.match(rf"{re.escape(self.name)}\s*[=<>!~]", text):
            return SubjectSpec(text, self.name, version=read_release(text, self.name))
        return None

    def workloads(self, spec: SubjectSpec, known: Iterable[Workload]) -> tuple[Workload, ...]:
        """Those that it has an entry for, be it in some other release."""
        return tuple(workload for workload in known if self.entry(workload) is not None)

    def entry(self, workload: Workload) -> Entry | None:
        """Where it has its code for the workload; None where it has none."""
        return workload.entries.get(self.name) or self.entries.get(workload.name)

    def releases(self, *, prereleases: bool = False) -> tuple[Version, ...]:
        """The releases that the index has an archive of, oldest first.

        Args:
            prereleases: whether release candidates and the like are among them.

        Raises:
            FetchError: the index cannot be reached or read.
        """
        # The index client takes half a second to import, and a cached release needs none.
        from oom_suite.subjects.families.registry import index_versions

        project = Project(self.project, self.title, self.archive)
        return index_versions(project, prereleases=prereleases)

    def obtain(self, spec: SubjectSpec, on_bytes: OnBytes | None = None) -> Path | None:
        """A release's tree, fetched once; None for what is not a release."""
        return None if spec.version is None else self.fetch(spec.version, on_bytes=on_bytes)

    def fetch(
        self,
        version: str | Version,
        *,
        cache_dir: Path | None = None,
        on_bytes: OnBytes | None = None,
    ) -> Path:
        """The root of a release's tree: the needed files that the release has.

        A tree that is in the cache, unchanged and with all that is needed now, is given without
        asking the network anything.

        Args:
            version: the release, for example ``"0.21.0"``.
            cache_dir: the suite's cache folder; by default ``OOM_SUITE_CACHE``, else the user's.
            on_bytes: called during the download with the bytes done and the bytes in all.

        Raises:
            UsageError: not a version.
            FetchError: no such release, no network, or an archive or cache that cannot be used.
        """
        project = Project(self.project, self.title, self.archive)
        return fetch(project, version, self.needed_files(), cache_dir, on_bytes)

    def source(self, spec: SubjectSpec) -> Path | None:
        """The package's folder in a tree or where it is installed; None for a release."""
        if spec.version is not None:
            return None
        with contextlib.suppress(SubjectError):
            return self._root(spec, None) / (spec.package or self.package)
        return None

    def needed_files(self) -> frozenset[str]:
        """All that is kept of a release, from the tree's root; a release may lack some of it."""
        entries = map(self.entry, doors.workloads().values())
        metadata = (WHEEL_METADATA, WHEEL_RECORD) if self.archive == "wheel" else (SDIST_METADATA,)
        files = {name for one in entries if one is not None for name in (*one.files, *one.beside)}
        return frozenset(files.union(self.pure_files, metadata, (self.version_file,)) - {""})

    def source_folders(self, spec: SubjectSpec) -> tuple[Path, ...]:
        """The tree's root."""
        return (self._root(spec, self.obtain(spec)),)

    def may_launch_kernels(self, spec: SubjectSpec) -> bool:
        """True: GPU-only code is what such packages are for."""
        return True

    def unfit_variants(self, workload: Workload, version: str, arch: str) -> str:
        """As the entry says."""
        found = self.entry(workload)
        return str(called(found.unfit, version, arch)) if found and found.unfit else ""

    def notes(self, spec: SubjectSpec) -> tuple[str, ...]:
        """Its maker's."""
        return (self.note,) if self.note else ()

    def next_command(self, spec: SubjectSpec) -> str:
        """A bisection: of releases for a release, else of commits."""
        if spec.version is not None:
            return f"oom-suite bisect --bad {spec.quoted}"
        return SubjectFamily.next_command(self, spec)

    def load(
        self, spec: SubjectSpec, workload: Workload, *, root: Path | None, arch: str
    ) -> LoadedSubject:
        """The entry's function, called in the convention of the workload."""
        found = self.entry(workload)
        if found is None:
            known = ", ".join(w.name for w in self.workloads(spec, doors.workloads().values()))
            msg = f"no code of {self.title} is known for the workload {workload.name}, only {known}"
            raise NotApplicableError(msg)
        at = self._root(spec, root)
        layout = spec.package or self.package
        places = {in_layout(name, self.package, layout): name for name in found.files}
        file = next((name for place, name in places.items() if (at / place).is_file()), None)
        if file is None:
            raise self._not_applicable(
                self.version(at, spec.package), found, f"{next(iter(places))} does not exist"
            )
        stubs = (*spec.stubs, *found.stubs)
        loaded = self.open(at, file, arch, package=spec.package, stubs=stubs, beside=found.beside)
        call = self._call(loaded, found, workload)
        undo = contextlib.ExitStack()
        undo.callback(loaded.close)
        return LoadedSubject(call, at, loaded.version, undo)

    def open(
        self,
        root: Path,
        file: str,
        arch: str = "generic",
        *,
        package: str | None = None,
        stubs: tuple[str, ...] = (),
        beside: tuple[str, ...] = (),
    ) -> LoadedModule:
        """One file of a tree, loaded.

        Args:
            root: the tree's root.
            file: the file, from the root; in a fork, the package's own name is put in.
            arch: the GPU that the code sees.
            package: the package that a fork is laid out as.
            stubs: other packages to replace by stubs.
            beside: files that it finds as they are, beside the family's pure ones.

        Raises:
            SubjectError: it cannot be loaded.
            StubUsedError: loading it depends on what is stubbed.
            UsageError: an unknown architecture.
        """
        log = StubLog(f"{self.title} {self.version(root, package)}")
        moved = in_layout(file, self.package, package or self.package)
        modules = modules_of(self, root, moved, Given(arch, log), package, stubs, beside)
        return LoadedModule(root, moved, self.version(root, package), modules, log)

    def version(self, root: Path, package: str | None = None) -> str:
        """The version of the tree at `root`; ``"unknown"`` when nothing in it says so.

        Args:
            root: the tree's root.
            package: the package that a fork is laid out as.
        """
        file = in_layout(self.version_file, self.package, package or self.package)
        return tree_version(root, self.project, file)

    def _call(self, loaded: LoadedModule, found: Entry, workload: Workload) -> Callable[..., Any]:
        version = loaded.version
        known = ((name, _named(loaded.module, name)) for name in found.functions)
        name, function = next(((n, one) for n, one in known if one is not None), ("", None))
        if function is None:
            raise self._not_applicable(
                version, found, f"{loaded.file} does not define {' or '.join(found.functions)}"
            )
        if isinstance(function, Stub):
            raise stub_used(repr(function).removeprefix("<stub ").removesuffix(">"))
        title = f"{name} of {self.title} {version}"
        if found.adapt:
            function = called(found.adapt, function)
        return loaded.during(fitted(function, workload, title))

    def _root(self, spec: SubjectSpec, root: Path | None) -> Path:
        package = spec.package or self.package
        if spec.version is not None:
            return root or self.fetch(spec.version)
        if spec.path is not None:
            return open_tree(spec.path, package, self.title, f"{self.name}@")
        otherwise = f"a release ({self.name}==VERSION) or a tree ({self.name}@PATH)"
        return installed_root(package, self.title, otherwise)

    def _not_applicable(self, version: str, found: Entry, what: str) -> NotApplicableError:
        first = f"; first release with one is {found.first_release}" if found.first_release else ""
        return NotApplicableError(f"{self.title} {version} has no {found.what}: {what}{first}")


def _named(module: ModuleType, dotted: str) -> Any:
    """What a module calls by this name, a class's method too; None where there is none."""
    found: Any = module
    for name in dotted.split("."):
        found = getattr(found, name, None)
        if isinstance(found, Stub):
            break
    return found
