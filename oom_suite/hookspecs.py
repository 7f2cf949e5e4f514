"""The doors of the suite: what a package of anybody's can add, by the entry points `oom_suite`.

In its ``pyproject.toml``:

```toml
[project.entry-points.oom_suite]
my_kernels = "my_kernels.oom_plugin"
```

The module that is named there defines any of the hooks below. The suite's own workloads, subjects,
planted faults and sanitizers come in the same way. A module that is named here must not import
torch: builders, oracles and the code itself are named as ``"module:function"``, and imported where
they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import typer

    from oom_suite.records import Workload
    from oom_suite.report.reporter import Reporter
    from oom_suite.selfcheck.faults.record import Subject
    from oom_suite.subjects.family import SubjectFamily

PROJECT = "oom_suite"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def oom_workloads() -> Iterable[Workload]:  # type: ignore[empty-body]  # a specification
    """The workloads of this package.

    An override:

    ```python
    from oom_suite.hookspecs import hookimpl
    from oom_suite.records import Axis, Contract, Convention, Scenario, Workload


    @hookimpl
    def oom_workloads():
        return [
            Workload(
                name="my-decode",
                axes=(Axis("num_blocks", step=64, far=(64, 1 << 20), unit="block"),),
                builder="my_kernels.inputs:build",
                contract=Contract(independent_of=("num_blocks",)),
                convention=Convention(("q", "kv_cache", "slots")),
                scenarios={"small": Scenario("small", {"num_blocks": 64}, "an ordinary test")},
            )
        ]
    ```
    """


@hookspec
def oom_subject_families() -> Iterable[SubjectFamily]:  # type: ignore[empty-body]  # a specification
    """The kinds of subject that this package knows how to find and load.

    An override, for a released package whose files can be loaded one at a time:

    ```python
    from oom_suite.hookspecs import hookimpl
    from oom_suite.subjects.families.package import PackageFamily


    @hookimpl
    def oom_subject_families():
        return [PackageFamily("my-server", title="My Server", archive="wheel")]
    ```
    """


@hookspec
def oom_reporters() -> Iterable[Reporter]:  # type: ignore[empty-body]  # a specification
    """What can write the results of a check, for ``--report NAME=FILE``.

    An override:

    ```python
    from oom_suite.hookspecs import hookimpl


    class Counts:
        name = "counts"

        def write(self, results, path):
            path.write_text(str(len(results)))


    @hookimpl
    def oom_reporters():
        return [Counts()]
    ```
    """


@hookspec
def oom_faults() -> Iterable[str | Subject]:  # type: ignore[empty-body]  # a specification
    """Planted faults and healthy twins of this package's workloads, for ``oom-suite selfcheck``.

    An override names the modules that they stand in:

    ```python
    from oom_suite.hookspecs import hookimpl


    @hookimpl
    def oom_faults():
        return ["my_kernels.faults"]
    ```

    There each is declared beside its function, and the first line of the function's docstring is
    what reports say of it:

    ```python
    from oom_suite.selfcheck import LAW, mutant


    @mutant(LAW, workload="my-decode")
    def copies_the_pool(q, kv_cache, slots): ...
    ```

    What cannot be declared there is given as a record, an `oom_suite.selfcheck.Mutant` or `Twin`,
    which names its function by a spelling and its workload by its name.
    """


@hookspec
def oom_commands(app: typer.Typer) -> None:
    """Nothing; adds commands of this package to ``oom-suite``.

    An override:

    ```python
    import typer
    from oom_suite.hookspecs import hookimpl


    @hookimpl
    def oom_commands(app):
        @app.command("pools")
        def pools(subject: str) -> None:
            typer.echo(subject)
    ```

    Args:
        app: the command line, with the suite's own commands.
    """
