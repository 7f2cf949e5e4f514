"""Modules under test are what their files say now, whatever byte code lies beside them."""

from __future__ import annotations

import importlib
import os
import py_compile
import sys
from pathlib import Path

import pytest

from oom_suite.errors import SubjectError
from oom_suite.subjects.source import _is_below, fresh_imports, refuse_modules_of

STALE, NOW = "VALUE = 1\n", "VALUE = 2\n"


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """`imported(name)`: a module of the folder; it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def module(name):
        names.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield module
    for name in names:
        sys.modules.pop(name, None)


def stale(file):
    """Byte code of another commit that Python would take for the file's: same size, same second."""
    file.write_text(STALE, encoding="utf-8")
    py_compile.compile(str(file))
    times = file.stat()
    file.write_text(NOW, encoding="utf-8")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_byte_code_of_another_commit_is_not_run(tmp_path, imported):
    """Two commits within a second can differ in it alone."""
    stale(tmp_path / "freshly.py")
    with fresh_imports(tmp_path):
        assert 2 == imported("freshly").VALUE


def test_python_alone_would_run_it(tmp_path, imported):
    """So that the test above can fail."""
    stale(tmp_path / "not_freshly.py")
    assert 1 == imported("not_freshly").VALUE


def test_no_byte_code_is_left(tmp_path, imported, monkeypatch):
    """Packages and what is in them are compiled from source too."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "packaged").mkdir()
    (tmp_path / "packaged/__init__.py").write_text("")
    (tmp_path / "packaged/inner.py").write_text(NOW)
    with fresh_imports(tmp_path):
        assert 2 == imported("packaged.inner").VALUE
    sys.modules.pop("packaged")
    assert [] == list(tmp_path.rglob("*.pyc"))


def test_what_is_installed_below_the_folder_is_imported_as_ever(tmp_path, imported, monkeypatch):
    """A virtual environment in a checkout keeps its byte code."""
    folder = tmp_path / "env/lib/site-packages"
    folder.mkdir(parents=True)
    stale(folder / "installed_below.py")
    monkeypatch.syspath_prepend(str(folder))
    with fresh_imports(tmp_path):
        assert 1 == imported("installed_below").VALUE


def test_module_of_a_folder_that_is_not_judged_is_refused(tmp_path, imported):
    """Its name, its file and what to do stand in one line."""
    (tmp_path / "elsewhere.py").write_text(NOW)
    refuse_modules_of(tmp_path)
    imported("elsewhere")
    with pytest.raises(SubjectError, match=r"the module elsewhere was loaded from .*elsewhere\.py"):
        refuse_modules_of(tmp_path)


def test_a_path_that_says_the_folders_name_is_not_therefore_below_it(tmp_path):
    """Nor is one that does not say it; one below it is."""
    folder = tmp_path / "code"
    paths = [folder / "a", tmp_path / "coded" / "a", tmp_path / "else" / "a", Path("/code/a")]
    assert [True, False, False, False] == [_is_below(str(path), folder) for path in paths]
    assert _is_below("/a", Path("/"))
