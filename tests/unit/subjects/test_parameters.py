"""What a function takes, read off its source, and the workloads that this makes it for."""

from __future__ import annotations

import inspect
import textwrap

import pytest

from oom_suite.records import Contract, Convention, Workload
from oom_suite.subjects import family_of, parse
from oom_suite.subjects.parameters import module_file, parameters_of

KEYWORDS = Convention(("a", "b", "c"), optional=("c",))
TOY = Workload("toy", (), "", Contract(), convention=KEYWORDS)
OTHER = Workload("other", (), "", Contract(), convention=Convention(("a", "x", "y")))
ASSUMED = Workload("assumed", (), "", Contract(), convention=Convention(("q",)), is_assumed=True)
OWN_CALL = Workload("own-call", (), "", Contract())
KNOWN = (TOY, OTHER, ASSUMED, OWN_CALL)


@pytest.fixture
def write(tmp_path):
    """A function that writes a file and gives its path."""

    def write(source, name="code.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    return write


SIGNATURES = (
    "a, b",
    "a, /, b=1, *, c, d=2",
    "*values, a, b=None, **rest",
    "a: int = 1, *, b: str, **keywords: object",
    "",
)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_parameters_are_those_that_inspect_would_tell(write, signature):
    """Names, kinds and whether there is a default are read as if the function had been loaded."""
    source = f"def run({signature}): raise RuntimeError\n"
    names = {}
    exec(source, names)
    expected = [
        (p.name, p.kind, p.default is p.empty)
        for p in inspect.signature(names["run"]).parameters.values()
    ]
    found = parameters_of(write("raise SystemExit\n" + source), "run")
    assert expected == [(p.name, p.kind, p.default is p.empty) for p in found]


@pytest.mark.parametrize(
    "source",
    [
        "from elsewhere import run\n",
        "import functools\n@functools.cache\ndef run(a, b): pass\n",
        "if True:\n    def run(a, b): pass\nelse:\n    def run(a): pass\n",
        "class C:\n    def run(self, a, b): pass\n",
        "def run(:\n",
        "async def run(a, b): pass\n",
    ],
    ids=["imported", "decorated", "twice", "method", "syntax", "async"],
)
def test_what_cannot_be_told_is_none(write, source):
    """A function that is not plainly there is not guessed at."""
    assert parameters_of(write(source), "run") is None


def test_a_function_under_a_condition_is_found(write):
    """A guard against a missing package hides nothing."""
    path = write(
        "try:\n    import x\nexcept ImportError:\n    x = None\nif x:\n    def run(a): pass\n"
    )
    assert ["a"] == [p.name for p in parameters_of(path, "run")]


def workloads_of(path, function="run"):
    """The names of the workloads that a file's function is taken to be for."""
    spec = parse(f"{path}:{function}")
    return [workload.name for workload in family_of(spec).workloads(spec, KNOWN)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def run(a, b, c): pass", ["toy"]),
        ("def run(a, b): pass", ["toy"]),
        ("def run(a, b, extra=1): pass", ["toy"]),
        ("def run(a, **rest): pass", ["toy", "other"]),
        ("def run(q): pass", ["assumed"]),
        ("def run(a, x): pass", ["other"]),
        ("def run(a, b, needed): pass", ["toy"]),
        ("def run(**anything): pass", ["assumed"]),
        ("def run(unheard_of): pass", ["assumed"]),
        ("from m import run", ["assumed"]),
    ],
)
def test_a_function_takes_the_workloads_that_its_parameters_fit(write, source, expected):
    """Else the nearest, whose error says what is missing; else those that code is assumed for."""
    assert expected == workloads_of(write(source + "\n"))


def test_a_missing_file_is_left_to_loading(tmp_path):
    """Whether it exists is said when it is loaded, in one line of its own."""
    assert ["assumed"] == workloads_of(tmp_path / "none.py")


def test_a_module_is_found_without_running_its_packages(write, tmp_path, monkeypatch):
    """No file above or in it is executed."""
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    write("raise RuntimeError\n", "top/__init__.py")
    inner = write("raise RuntimeError\ndef run(a, b): pass\n", "top/inner.py")
    assert inner == module_file("top.inner", tmp_path)
    assert tmp_path / "top" / "__init__.py" == module_file("top", tmp_path)
    assert module_file("top.none", tmp_path) is None
    assert module_file("none.inner", tmp_path) is None
    monkeypatch.chdir(tmp_path)
    spec = parse("top.inner:run")
    assert ["toy"] == [workload.name for workload in family_of(spec).workloads(spec, KNOWN)]
