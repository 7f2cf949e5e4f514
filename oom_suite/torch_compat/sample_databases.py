"""torch's own operators and modules, each with inputs that it takes: what torch tests itself with.

Importing this takes some seconds and changes the process: torch's test code freezes its backend
flags. Only a process that holds operators against a device does it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import types
import unittest
from typing import TYPE_CHECKING

from oom_suite.torch_compat.probes import Name, needed

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPERATORS = "torch.testing._internal.common_methods_invocations"
_MODULES = "torch.testing._internal.common_modules"

NAMES = (Name(f"{_OPERATORS}:op_db"), Name(f"{_MODULES}:module_db"))
"""The names of torch behind this module."""


@contextlib.contextmanager
def _without_test_tools() -> Iterator[None]:
    """While active, torch's test code is imported without what only its own tests need.

    It derives its test cases from ``expecttest``, which is rarely installed, would change the
    settings of ``hypothesis`` for the whole process, and asks ``numba`` for a GPU: in a forked
    process, whose GPUs are hidden, that can end in a crash.
    """
    placed: dict[str, types.ModuleType | None] = {}
    if "expecttest" not in sys.modules and importlib.util.find_spec("expecttest") is None:
        tests = types.ModuleType("expecttest")
        vars(tests)["TestCase"] = unittest.TestCase
        placed["expecttest"] = tests
    placed |= {"hypothesis": None, "numba": None}
    before = {name: sys.modules.get(name) for name in placed}
    sys.modules.update(placed)  # type: ignore[arg-type]  # None is how Python hides a module
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


with _without_test_tools(), contextlib.suppress(ImportError):
    importlib.import_module(_OPERATORS)
    importlib.import_module(_MODULES)

with needed("oom-suite conformance needs", NAMES):
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db

__all__ = ["module_db", "op_db"]
