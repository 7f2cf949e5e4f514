"""`@memory_law` tests under pytest: refused at collection, run by the fixture `oom_law`."""

from __future__ import annotations

import inspect
import pickle
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oom_suite.errors import ContractError, UsageError
from oom_suite.pipeline.law_tests.decorator import BUILDER_PARAMETERS, declaration_of
from oom_suite.pipeline.law_tests.promise import promise
from oom_suite.pipeline.programs import BuilderProgram, CallableProgram
from oom_suite.pytest_plugin.judging import contract_text
from oom_suite.pytest_plugin.running import Running
from oom_suite.records import Verdict
from oom_suite.targets.default import default_targets
from oom_suite.tracing.lane_spec import LaneSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.pipeline.law_tests.promise import Promise
    from oom_suite.pipeline.programs import Program
    from oom_suite.pytest_plugin.options import Options
    from oom_suite.records import Result


def refuse_bad_declarations(items: list[pytest.Item]) -> None:
    """Nothing where every collected `memory_law` test can be read.

    Raises:
        pytest.UsageError: one cannot; one line says which, and what to write.
    """
    for item in items:
        declaration = declaration_of(getattr(item, "function", None))
        if declaration is not None and declaration.error:
            raise pytest.UsageError(f"{item.nodeid}: {declaration.error}")


def _worst(results: list[Result]) -> Result:
    return next((one for one in results if one.verdict is not Verdict.PASS), results[0])


class OomLaw:
    """Judges what a builder promises; the value of the fixture `oom_law`."""

    def __init__(self, node: pytest.Item, options: Options, note: Callable[[Result], None]) -> None:
        self._node = node
        self._options = options
        self._note = note

    def __call__(self, build: Callable[..., Any], **promises: Any) -> Result:
        """The result of ``build(sizes, device)``, whose promises are kept.

        A function of a module is run in a child process, as a `memory_law` test is. A closure or
        a lambda cannot be found by another process: it is run in this one, where a crash or an
        endless loop is the whole test run's.

        Args:
            build: makes the inputs and returns the call that is judged.
            promises: as `oom_suite.memory_law` takes them: ``axes`` and at least one promise.

        Raises:
            ContractError: a promise is broken, or could not be judged.
            UsageError: the promises cannot be read.
        """
        __tracebackhide__ = True
        return self._noted(self._results(build, promises))

    def judge(self, build: Callable[..., Any], **promises: Any) -> Result:
        """The same result, whatever it says; it is not in the run's own table.

        Of several targets' it is the first that is not green.

        Raises:
            UsageError: the promises cannot be read.
        """
        return _worst(self._results(build, promises))

    def _results(self, build: Callable[..., Any], promises: Mapping[str, Any]) -> list[Result]:
        unknown = sorted(promises.keys() - inspect.signature(promise).parameters.keys())
        if unknown or "axes" not in promises:
            wrong = f"takes no {unknown[0]!r}" if unknown else "needs axes={name: size}"
            raise UsageError(f"oom_law {wrong}; it takes what oom_suite.memory_law takes")
        made = promise(**promises)
        here = CallableProgram(build, self._node.config.rootpath)
        return self._judged(self._named(build), made, self._program(build, {}) or here)

    def test(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Nothing, where the promises of a decorated test are kept.

        Args:
            function: the decorated function.
            args: the instance, where it is a method.
            kwargs: its arguments beside sizes and device.

        Raises:
            ContractError: a promise is broken, or could not be judged.
        """
        __tracebackhide__ = True
        declaration = declaration_of(function)
        if declaration is None or declaration.promise is None:
            raise UsageError(declaration.error if declaration else "not a memory_law test")
        program = self._program(declaration.build, kwargs)
        if program is None:
            raise UsageError(
                f"{self._node.name}: its arguments ({', '.join(kwargs)}) cannot be handed to a "
                "process of its own: use values that pickle, or the fixture oom_law"
            )
        name = self._node.nodeid
        self._noted(self._judged(name, declaration.promise, program))

    def _noted(self, results: list[Result]) -> Result:
        __tracebackhide__ = True
        for each in results:
            self._note(each)
        result = _worst(results)
        if result.verdict is not Verdict.PASS:
            raise ContractError(contract_text(result), result)
        return result

    def _judged(self, subject: str, made: Promise, program: Program) -> list[Result]:
        """A result for each target."""
        wanted = made.targets or self._options.targets
        return [self._judged_for(target, subject, made, program) for target in wanted]

    def _judged_for(self, target: str, subject: str, made: Promise, program: Program) -> Result:
        # Only who judges waits for what judging imports.
        from oom_suite.pipeline.judging import study
        from oom_suite.pipeline.session import Session

        options = self._options
        settings = replace(
            made.settings(
                options.device or "cpu",
                options.budget,
                options.time_limit_s,
                options.test_time_limit_s,
            ),
            target=target,
        )
        with (
            Running(self._node.config, subject) as running,
            Session.of(settings, running.update) as session,
        ):
            lane = LaneSpec("measure", device=settings.device, target=target)
            runs = session.open(program, subject, lane)
            result = study(runs, subject, settings).result
        if result.verdict is Verdict.FAIL:
            return replace(result, next_command=self._next(target, made, result))
        return result

    def _next(self, target: str, made: Promise, result: Result) -> str:
        """The search for the commit, with what the command line said and the test does not."""
        words = ["git", "bisect", "run", "oom-suite", "probe", "--test", self._node.nodeid]
        if not made.targets and target not in default_targets():
            words += ["--target", target]
        is_over = result.budget is not None and not result.budget.fits
        if is_over and made.budget is None and self._options.budget is not None:
            words += ["--budget", self._options.budget.name]
        return shlex.join(words)

    def _named(self, build: Callable[..., Any]) -> str:
        name = getattr(build, "__qualname__", type(build).__name__)
        return f"{self._node.nodeid} {name.rpartition('.')[2]}"

    def _program(
        self, build: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> BuilderProgram | None:
        """Where another process finds it; None where none could."""
        qualname = getattr(build, "__qualname__", "<")
        given = {k: v for k, v in arguments.items() if k not in BUILDER_PARAMETERS}
        file = getattr(getattr(build, "__code__", None), "co_filename", "")
        if "<" in qualname or not Path(file).is_file():
            return None
        try:
            pickle.dumps(given)
        except Exception:
            return None
        root = str(self._node.config.rootpath)
        return BuilderProgram(file, build.__module__, qualname, root, given)
