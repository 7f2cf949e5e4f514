"""The subjects that workloads bring along, written by their name alone."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from oom_suite import doors
from oom_suite.errors import NotApplicableError
from oom_suite.hookspecs import hookimpl
from oom_suite.records import SubjectSpec
from oom_suite.subjects.family import LoadedSubject, SubjectFamily

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oom_suite.records import Workload
    from oom_suite.records.workload import Builtin


class BuiltinFamily(SubjectFamily):
    """Subjects of `Workload.builtins`, those of other packages' workloads too."""

    name = "built-in"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The names of all of them."""
        return tuple(dict.fromkeys(n for w in doors.workloads().values() for n in w.builtins))

    @property
    def words(self) -> tuple[str, ...]:
        """The same: each is a whole word."""
        return self.spellings

    def parse(self, text: str) -> SubjectSpec | None:
        """The built-in of this name."""
        return SubjectSpec(text, self.name, name=text) if text in self.spellings else None

    def workloads(self, spec: SubjectSpec, known: Iterable[Workload]) -> tuple[Workload, ...]:
        """Those that bring it along."""
        return tuple(workload for workload in known if spec.name in workload.builtins)

    def load(
        self, spec: SubjectSpec, workload: Workload, *, root: Path | None, arch: str
    ) -> LoadedSubject:
        """Its function, as it is: what comes with a workload is called as that calls it."""
        builtin = self._of(spec, workload)
        if builtin is None:
            others = ", ".join(w.name for w in self.workloads(spec, doors.workloads().values()))
            msg = f"the built-in {spec.name} comes with {others}, not with {workload.name}"
            raise NotApplicableError(msg)
        module, _, function = builtin.code.partition(":")
        call = getattr(importlib.import_module(module), function)
        return LoadedSubject(call, _parent_of(module), None, contextlib.ExitStack())

    def source_folders(self, spec: SubjectSpec) -> tuple[Path, ...]:
        """The parents of the packages that it comes in."""
        found = self.workloads(spec, doors.workloads().values())
        return tuple(
            dict.fromkeys(
                _parent_of(w.builtins[str(spec.name)].code.partition(":")[0]) for w in found
            )
        )

    def may_launch_kernels(self, spec: SubjectSpec) -> bool:
        """Whether a file that it comes in mentions Triton."""
        for workload in self.workloads(spec, doors.workloads().values()):
            module = workload.builtins[str(spec.name)].code.partition(":")[0]
            found = importlib.util.find_spec(module)
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if found and found.origin and "triton" in _text(found.origin).lower():
                    return True
        return False

    def known_bug(self, spec: SubjectSpec, workload: Workload) -> str:
        """As the workload that brings it along says."""
        builtin = self._of(spec, workload)
        return builtin.known_bug if builtin else ""

    def known_breaches(self, spec: SubjectSpec, workload: Workload) -> tuple[str, ...]:
        """As the workload that brings it along says."""
        builtin = self._of(spec, workload)
        return builtin.breaches if builtin else ()

    def next_command(self, spec: SubjectSpec) -> str:
        """None: its code has no history of its own."""
        return ""

    @staticmethod
    def _of(spec: SubjectSpec, workload: Workload) -> Builtin | None:
        return workload.builtins.get(str(spec.name))


def _text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def _parent_of(module: str) -> Path:
    """The folder that the module's top package lies in."""
    top = importlib.import_module(module.partition(".")[0])
    file = Path(str(top.__file__)).resolve()
    return file.parents[1] if file.name == "__init__.py" else file.parent


@hookimpl
def oom_subject_families() -> list[SubjectFamily]:
    """The family of built-ins."""
    return [BuiltinFamily()]
