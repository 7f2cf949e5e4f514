"""What torch's own test code must not find while its databases are imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

import pytest

pytestmark = pytest.mark.xdist_group("conformance")


@pytest.mark.parametrize("name", ["numba", "hypothesis"])
def test_it_finds_no_library_that_it_would_ask_or_change(name, monkeypatch):
    """numba is asked for a GPU, which can end a process whose GPUs are hidden; both come back."""
    from oom_suite.torch_compat.sample_databases import _without_test_tools

    library = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, library)
    with _without_test_tools():
        assert importlib.util.find_spec(name) is None
        with pytest.raises(ImportError):
            importlib.import_module(name)
    assert sys.modules[name] is library
    monkeypatch.delitem(sys.modules, name)
    with _without_test_tools():
        pass
    assert name not in sys.modules
