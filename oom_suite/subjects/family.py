"""A family of subjects: one kind of spelling, and how the code behind it is found and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from oom_suite.errors import UsageError

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import Self

    from packaging.version import Version

    from oom_suite.records import SubjectSpec, Workload
    from oom_suite.records.covering import Profile

    OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LoadedSubject:
    """A subject, ready to be called; a context manager that closes it.

    Attributes:
        call: takes the keywords of its workload's convention.
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
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class SubjectFamily(Protocol):
    """One kind of spelling. Subclass it: `name`, `parse`, `workloads` and `load` must be given.

    Attributes:
        name: what a spec's `family` says, unique among all that are registered.
        takes_stubs: whether packages can be replaced by stubs for it, by ``--stub``.
        takes_package: whether a tree of it may be laid out as another package, by ``--package``.
    """

    name: str
    takes_stubs: ClassVar[bool] = False
    takes_package: ClassVar[bool] = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """How its subjects are written, for help and messages."""
        return (self.name,)

    @property
    def words(self) -> tuple[str, ...]:
        """The spellings that are whole words, for "did you mean"."""
        return ()

    @property
    def supplied(self) -> tuple[str, ...]:
        """Modules for which it has a stand-in of its own: their code is not the subject's."""
        return ()

    @property
    def obeys_arch(self) -> bool:
        """Whether its code sees which GPU it runs on, and so takes that GPU's fp8."""
        return False

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """What the profile runs of its releases do in the place of later steps."""
        return ()

    def parse(self, text: str) -> SubjectSpec | None:
        """The subject that this spelling names; None where it is none of the family's.

        Only the spelling is judged: whether a file or release exists is found when it is loaded.

        Raises:
            UsageError: it is meant for this family and cannot be read.
        """
        ...

    def workloads(self, spec: SubjectSpec, known: Iterable[Workload]) -> tuple[Workload, ...]:
        """Those of the workloads that the subject can take; its code is not run for the answer."""
        ...

    def load(
        self, spec: SubjectSpec, workload: Workload, *, root: Path | None, arch: str
    ) -> LoadedSubject:
        """The subject's code for the workload.

        Args:
            spec: from `parse`.
            workload: what it is to be called for.
            root: where `obtain` has put its source; None where it needs none.
            arch: the GPU that the code sees.

        Raises:
            NotApplicableError: it has no code for that workload.
            SubjectError: it cannot be found, loaded or called.
        """
        ...

    def obtain(self, spec: SubjectSpec, on_bytes: OnBytes | None = None) -> Path | None:
        """Where its source is on this machine, fetched when it was not; None if nothing is needed.

        Args:
            spec: from `parse`.
            on_bytes: called during a download with the bytes done and the bytes in all.

        Raises:
            FetchError: it cannot be had.
        """
        return None

    def source(self, spec: SubjectSpec) -> Path | None:
        """The file or folder of code that is this machine's own; nothing is run to find it.

        None where it is the same on every machine, as a release is, or cannot be found so.
        """
        del spec
        return None

    def releases(self) -> tuple[Version, ...]:
        """The releases that can be obtained, oldest first.

        Raises:
            UsageError: subjects of this family have no releases.
        """
        msg = f"{self.spellings[0]} has no releases"
        raise UsageError(msg)

    def release(self, version: Version) -> str:
        """How that release is written."""
        return f"{self.name}=={version}"

    def source_folders(self, spec: SubjectSpec) -> tuple[Path, ...]:
        """The folders that the source paths of its results may be relative to."""
        return ()

    def may_launch_kernels(self, spec: SubjectSpec) -> bool:
        """Whether it may launch Triton kernels, as far as can be told without loading it."""
        return False

    def known_bug(self, spec: SubjectSpec, workload: Workload) -> str:
        """What it reproduces, where it is expected to break the contract; otherwise empty."""
        return ""

    def known_breaches(self, spec: SubjectSpec, workload: Workload) -> tuple[str, ...]:
        """The safety properties that it is expected to break."""
        return ()

    def unfit_variants(self, workload: Workload, version: str, arch: str) -> str:
        """Why the workload's variants are not what this code reads; empty where they are.

        Args:
            workload: whose variants.
            version: the code's.
            arch: the GPU that it sees.
        """
        return ""

    def notes(self, spec: SubjectSpec) -> tuple[str, ...]:
        """What a reader of its results has to know, such as whose lines are not its own."""
        return ()

    def next_command(self, spec: SubjectSpec) -> str:
        """What to run when it fails, to find the change that broke it; empty for nothing."""
        return f"git bisect run oom-suite probe {spec.quoted}"
