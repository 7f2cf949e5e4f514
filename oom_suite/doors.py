"""What has come in by the doors: workloads, families of subjects, reporters, faults, commands.

The suite's own come first and by the same hooks, then those of installed packages that have an
entry point in the group `oom_suite`. Nothing here imports torch.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

import pluggy

from oom_suite import hookspecs
from oom_suite.errors import UsageError, line_of, unknown
from oom_suite.hookspecs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import typer

    from oom_suite.records import Workload
    from oom_suite.report.reporter import Reporter
    from oom_suite.selfcheck.faults.record import Subject
    from oom_suite.subjects.family import SubjectFamily


OWN = (
    "oom_suite.workloads.sparse_mla.workload",
    "oom_suite.workloads.sparse_mla.gather.workload",
    "oom_suite.workloads.sparse_mla.prefill.workload",
    "oom_suite.workloads.indexer.workload",
    "oom_suite.workloads.prefill.workload",
    "oom_suite.workloads.flex_maps.workload",
    "oom_suite.workloads.sampling.workload",
    "oom_suite.workloads.layer_caches.workload",
    "oom_suite.workloads.cpu_attention.workload",
    "oom_suite.subjects.families.builtin",
    "oom_suite.subjects.families.vllm",
    "oom_suite.subjects.families.sglang",
    "oom_suite.subjects.families.transformers",
    "oom_suite.subjects.families.code",
    "oom_suite.selfcheck.faults",
    "oom_suite.sanitizers",
    "oom_suite.history",
    "oom_suite.cli.reporters",
)
"""The suite's own plugins, named and not imported, so that no part of it depends on another."""


@functools.cache
def plugins() -> pluggy.PluginManager:
    """All that is registered, made when it is first asked for.

    Raises:
        UsageError: a package's plugin cannot be imported, or defines a hook that does not exist.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in OWN:
        manager.register(importlib.import_module(name), name)
    for point in importlib.metadata.entry_points(group=PROJECT):
        try:
            manager.load_setuptools_entrypoints(PROJECT, point.name)
            manager.check_pending()
        except Exception as error:
            package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
            msg = (
                f"the plugin {point.name!r} ({point.value}) of {package} cannot be used: "
                f"{line_of(error)}; correct it, update it or uninstall the package"
            )
            raise UsageError(msg) from error
    return manager


def workloads() -> Mapping[str, Workload]:
    """Every workload by its name, the suite's own first.

    Raises:
        UsageError: two have one name, or a plugin cannot be used.
    """
    return _by_name("oom_workloads", "workload")


def workload(name: str) -> Workload:
    """The workload of this name.

    Raises:
        UsageError: no such workload; the message names the nearest.
    """
    known = workloads()
    if name not in known:
        raise unknown("workload", name, known)
    return known[name]


def families() -> Mapping[str, SubjectFamily]:
    """Every family of subjects by its name, in the order in which they are asked to parse.

    Raises:
        UsageError: two have one name, or a plugin cannot be used.
    """
    return _by_name("oom_subject_families", "family of subjects")


def reporters() -> Mapping[str, Reporter]:
    """Every reporter by its name.

    Raises:
        UsageError: two have one name, or a plugin cannot be used.
    """
    return _by_name("oom_reporters", "reporter")


def faults() -> tuple[str | Subject, ...]:
    """Every module of planted faults and healthy twins, or record of one, plugin by plugin.

    Raises:
        UsageError: a plugin cannot be used.
    """
    return tuple(fault for _, fault in _all("oom_faults"))


def add_commands(app: typer.Typer) -> None:
    """Add every plugin's commands to a command line.

    Raises:
        UsageError: a plugin cannot be used.
    """
    for implementation in plugins().hook.oom_commands.get_hookimpls():
        try:
            implementation.function(app)
        except Exception as error:
            raise _unusable(implementation.plugin_name, "oom_commands", error) from error


def _unusable(plugin: str, hook: str, error: Exception) -> UsageError:
    return UsageError(
        f"the plugin {plugin!r} cannot be used: its {hook}() raised {type(error).__name__}: "
        f"{error}; correct it, update it or uninstall its package"
    )


def _all(hook: str) -> Iterable[tuple[str, Any]]:
    """What each plugin gives, with the plugin's name."""
    for implementation in getattr(plugins().hook, hook).get_hookimpls():
        try:
            given = list(implementation.function())
        except Exception as error:
            raise _unusable(implementation.plugin_name, hook, error) from error
        for one in given:
            yield implementation.plugin_name, one


@functools.cache
def _by_name(hook: str, kind: str) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for plugin, one in _all(hook):
        if one.name in found:
            msg = (
                f"two plugins, {owners[one.name]!r} and {plugin!r}, bring a {kind} of the name "
                f"{one.name!r}: rename or uninstall one of them"
            )
            raise UsageError(msg)
        found[one.name], owners[one.name] = one, plugin
    return found
