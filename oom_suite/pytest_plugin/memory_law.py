"""`@memory_law` tests under pytest: refused at collection, run by the fixture `oom_law`."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oom_suite.errors import ContractError, UsageError
from oom_suite.pipeline.law_tests.decorator import BUILDER_PARAMETERS, declaration_of
from oom_suite.pipeline.law_tests.job import Target
from oom_suite.pipeline.law_tests.promise import promise
from oom_suite.pytest_plugin.judging import contract_text
from oom_suite.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oom_suite.pipeline.law_tests.promise import Promise
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


class OomLaw:
    """Judges what a builder promises; the value of the fixture `oom_law`.

    Args:
        node: the test that asks.
        options: what the command line and the ini file say.
        note: told every result.
    """

    def __init__(self, node: pytest.Item, options: Options, note: Callable[[Result], None]) -> None:
        """Judge for this test."""
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
        return self._noted(self.judge(build, **promises))

    def judge(self, build: Callable[..., Any], **promises: Any) -> Result:
        """The same result, whatever it says; it is not in the run's own table.

        Raises:
            UsageError: the promises cannot be read.
        """
        unknown = sorted(promises.keys() - inspect.signature(promise).parameters.keys())
        if unknown or "axes" not in promises:
            wrong = f"takes no {unknown[0]!r}" if unknown else "needs axes={name: size}"
            raise UsageError(f"oom_law {wrong}; it takes what oom_suite.memory_law takes")
        made = promise(**promises)
        return self._judged(self._named(build), made, build, self._target(build, {}))

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
        target = self._target(declaration.build, kwargs)
        if target is None:
            raise UsageError(
                f"{self._node.name}: its arguments ({', '.join(kwargs)}) cannot be handed to a "
                "process of its own: use values that pickle, or the fixture oom_law"
            )
        del args
        name = self._node.nodeid
        self._noted(self._judged(name, declaration.promise, declaration.build, target))

    def _noted(self, result: Result) -> Result:
        __tracebackhide__ = True
        self._note(result)
        if result.verdict is not Verdict.PASS:
            raise ContractError(contract_text(result), result)
        return result

    def _judged(
        self, subject: str, made: Promise, build: Callable[..., Any], target: Target | None
    ) -> Result:
        # These import torch: only who judges waits for it.
        from oom_suite.pipeline.law_tests.judging import Judging, judge_promise
        from oom_suite.pipeline.law_tests.runs import RunsHere, RunsInChildren

        options = self._options
        device = options.device or "cpu"
        judging = Judging(device, options.budget)
        if target is None:
            here = RunsHere(build, device, self._node.config.rootpath)
            result = judge_promise(subject, made, here, judging)
        else:
            with RunsInChildren(target, device, options.time_limit_s) as children:
                result = judge_promise(subject, made, children, judging)
        if result.verdict is Verdict.FAIL:
            return replace(result, next_command=f"git bisect run pytest {self._node.nodeid}")
        return result

    def _named(self, build: Callable[..., Any]) -> str:
        name = getattr(build, "__qualname__", type(build).__name__)
        return f"{self._node.nodeid} {name.rpartition('.')[2]}"

    def _target(self, build: Callable[..., Any], arguments: Mapping[str, Any]) -> Target | None:
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
        return Target(file, build.__module__, qualname, root, given)
