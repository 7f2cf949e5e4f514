"""Each private name of torch that the suite uses is looked for, and its absence is told at once."""

from __future__ import annotations

import ast
import contextlib
import enum
import importlib
import importlib.util
import inspect
import pkgutil
import re
import types
from pathlib import Path

import pytest
import torch
from torch_names import is_private, own_names, sources

import oom_suite
from oom_suite import torch_compat
from oom_suite.errors import LaneError, OomSuiteError
from oom_suite.torch_compat.probes import KNOWN_VERSIONS, Name, TorchChangedError, fault_of

ROOM = Path(torch_compat.__file__).parent
MODULES = sorted(
    found.name for found in pkgutil.iter_modules([str(ROOM)]) if found.name != "probes"
)
EVERY = [
    (module, name)
    for module in MODULES
    for found in [importlib.import_module(f"oom_suite.torch_compat.{module}")]
    for name in (*getattr(found, "NAMES", ()), *getattr(found, "NAMES_OF_GPU_BUILDS", ()))
]
ids = [f"{module}-{name.text}" for module, name in EVERY]
each_name = pytest.mark.parametrize(("module", "name"), EVERY, ids=ids)

PUBLIC = frozenset(
    {
        *("Tensor", "UntypedStorage", "FunctionSchema", "SymInt", "accelerator", "device"),
        *("cuda", "version", "hip", "untyped_storage"),
        *("Basic", "Symbol", "Expr", "oo"),
        *("patch", "object", "modules", "_getframe", "f_code", "co_name", "partition", "cache"),
        *("contextmanager", "get", "clear", "__code__", "f_back", "getrefcount", "name"),
        *("inference_mode", "ones", "pairwise_distance"),
        *("util", "find_spec", "import_module", "ModuleType", "TestCase", "StringIO"),
        *("items", "update", "pop", "redirect_stdout", "suppress"),
        *("ExitStack", "suppress", "callback", "enter_context", "pop_all", "push", "close"),
        *("CDLL", "CFUNCTYPE", "addressof", "c_size_t", "c_void_p", "cast", "sizeof", "value"),
        *("from_address", "in_dll", "glob", "parent", "partial", "Lock", "lock", "count", "undo"),
        *("__file__", "__version__", "__setitem__", "is_available"),
        *("ops", "aten", "record_stream", "default", "elsewhere"),
    }
)
"""Attributes that the package takes of others and that are documented, or no names of torch."""


@pytest.fixture(autouse=True)
def gpu_build(monkeypatch):
    """A torch that has, beside its own names, those of a build for GPUs."""
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", clear, raising=False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


def run_module(module):
    """Import a module of the package once more, under another name; give what it is then."""
    spec = importlib.util.spec_from_file_location("imported_once_more", ROOM / f"{module}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    if module == "compiler":
        # torch's compiler takes a second to import: this one is looked for when a lane is made.
        found.require_compiler()
    return found


def owner_of(name):
    """The object that a name is an attribute of, where that is found, and the attribute."""
    path, _, last = name.text.rpartition(".")
    module = name.path.partition(":")[0]
    return pkgutil.resolve_name(f"{module}:{path[len(module) + 1 :]}".rstrip(":")), last


def take_away(monkeypatch, name):
    """Let torch not have a name."""
    owner, last = owner_of(name)
    if inspect.isclass(owner) and not hasattr(owner, last):
        take_from_instances(monkeypatch, owner, last)
        return
    is_own = last in getattr(owner, "__dict__", {}) and not isinstance(owner, enum.EnumMeta)
    if is_own:
        # A class that is written in C++ says no.
        with contextlib.suppress(TypeError):
            monkeypatch.delattr(owner, last)
    if hasattr(owner, last):
        # Its type has it, or is written in C++: another object stands in its place.
        left = {each: getattr(owner, each) for each in dir(owner) if each != last}
        replace(monkeypatch, name.path.rpartition(".")[0], types.SimpleNamespace(**left))


def take_from_instances(monkeypatch, kind, attribute):
    """Let a class neither declare an attribute nor set it on new instances."""
    for base in kind.__mro__:
        declared = inspect.get_annotations(base)
        if declared.pop(attribute, None) is not None:
            monkeypatch.setattr(base, "__annotations__", declared)
    for maker in ("__init__", "_init"):
        function = getattr(kind, maker, None)
        if attribute in getattr(getattr(function, "__code__", None), "co_names", ()):
            code = function.__code__
            names = tuple("renamed" if each == attribute else each for each in code.co_names)
            monkeypatch.setattr(function, "__code__", code.replace(co_names=names))


def replace(monkeypatch, path, value):
    """Put a value where a path leads."""
    owner, last = owner_of(Name(path))
    monkeypatch.setattr(owner, last, value)


@each_name
def test_the_installed_torch_has_it(module, name):
    assert "" == fault_of(name)


@each_name
def test_without_it_the_import_fails_in_one_line_that_says_what_to_do(module, name, monkeypatch):
    """Which name, which torch is installed, which ones are known to work, and what to do."""
    take_away(monkeypatch, name)
    with pytest.raises(TorchChangedError) as caught:
        run_module(module)
    text = str(caught.value)
    assert [True] * 5 == [
        text.startswith(f"torch {torch.__version__} has no {name.text}, which "),
        all(version in text for version in KNOWN_VERSIONS),
        "install one of these, or a newer oom-suite" in text,
        "\n" not in text,
        isinstance(caught.value, LaneError) and isinstance(caught.value, OomSuiteError),
    ]


CALLED = [(module, name) for module, name in EVERY if name.positional is not None]
each_call = pytest.mark.parametrize(
    ("module", "name"), CALLED, ids=[f"{module}-{name.text}" for module, name in CALLED]
)
FUNCTIONS = [
    (module, name)
    for module, name in CALLED
    if not name.asked_by and not name.text.rpartition(".")[2][0].isupper()
]


@each_call
def test_one_that_takes_other_arguments_is_told(module, name, monkeypatch):
    def changed(*, renamed):
        raise AssertionError(renamed)

    replace(monkeypatch, name.path, changed)
    with pytest.raises(TorchChangedError, match=f"has another {re.escape(name.text)} "):
        run_module(module)


@pytest.mark.parametrize(
    ("module", "name"), FUNCTIONS, ids=[f"{module}-{name.text}" for module, name in FUNCTIONS]
)
def test_one_that_takes_these_arguments_and_more_is_taken(module, name, monkeypatch):
    def wider(*args, added=None, **kwargs):
        raise AssertionError(args, kwargs, added)

    replace(monkeypatch, name.path, wider)
    assert "" == fault_of(name)


@each_call
def test_one_that_cannot_be_called_is_told(module, name, monkeypatch):
    replace(monkeypatch, name.path, 3)
    with pytest.raises(TorchChangedError, match="it cannot be called"):
        run_module(module)


ASKED = [(module, name) for module, name in EVERY if name.asked_by]


@pytest.mark.parametrize(
    ("module", "name"), ASKED, ids=[f"{module}-{name.text}" for module, name in ASKED]
)
def test_one_that_nobody_asks_for_any_more_is_told(module, name, monkeypatch):
    """It is patched to be noticed; where its caller no longer looks it up, nothing would be."""
    caller = Name(name.asked_by)
    is_nested = not caller.text.endswith("__")
    function = caller.path.rpartition(".")[0] if is_nested else caller.path
    replace(monkeypatch, function, lambda *args, **kwargs: None)
    with pytest.raises(TorchChangedError, match=f"{re.escape(caller.text)} does not ask for it"):
        run_module(module)


def test_a_build_for_the_cpu_needs_no_names_of_gpus(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.delattr(torch._C, "_cuda_clearCublasWorkspaces")
    assert run_module("cuda_memory").NAMES_OF_GPU_BUILDS


@pytest.mark.parametrize("build", ["cuda", "hip"])
def test_a_build_for_gpus_needs_them(build, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, build, "7.0")
    monkeypatch.delattr(torch._C, "_cuda_clearCublasWorkspaces")
    with pytest.raises(TorchChangedError, match="_cuda_clearCublasWorkspaces"):
        run_module("cuda_memory")


def test_a_module_of_torch_that_is_gone_is_a_name_that_is_missing():
    assert "has no torch._gone.away" == fault_of(Name("torch._gone:away"))


def unprobed(source, names):
    """Names of torch that a file of the package takes and that are not among these."""
    tree, own = ast.parse(source), own_names([source])
    parts = {part for name in names for part in name.text.split(".")}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            paths = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {path for path in paths if not any(is_at(path, name) for name in names)}
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            dotted = ast.unparse(node)
            if dotted.startswith("torch.") and is_private(node.attr):
                is_known = any(is_at(dotted, name) for name in names)
            else:
                is_known = node.attr in parts | own | PUBLIC | defined(tree)
            found |= set() if is_known else {dotted}
    return sorted(found)


def is_at(path, name):
    return name.text == path or name.text.startswith(f"{path}.")


def defined(tree):
    """What a file's classes define and set, and what it names in its own statements."""
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            base = node.value
            if isinstance(base, ast.Name) and base.id == "self" and is_private(node.attr):
                found.add(node.attr)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_name_that_a_module_uses_is_looked_for(module):
    found = importlib.import_module(f"oom_suite.torch_compat.{module}")
    names = (*found.NAMES, *getattr(found, "NAMES_OF_GPU_BUILDS", ()))
    assert [] == unprobed((ROOM / f"{module}.py").read_text(encoding="utf-8"), names)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from torch._ops import OpOverload", ["torch._ops.OpOverload"]),
        ("import torch\ntorch._C._gone()", ["torch._C._gone"]),
        ("def f(fake):\n    return fake.real_tensor", ["fake.real_tensor"]),
        ("class A(B):\n    def f(self):\n        return self.divisible", ["self.divisible"]),
        ("from torch._known import Thing\nThing().size", ["Thing().size"]),
    ],
)
def test_a_name_that_nobody_looks_for_is_found(source, expected):
    assert expected == unprobed(source, [Name("torch._known:Thing"), Name("torch._C:_kept")])


def test_names_that_are_looked_for_are_not_reported():
    source = "import torch\nfrom torch._known import Thing\ntorch._C._kept()\nThing().size"
    names = [Name("torch._known:Thing.size"), Name("torch._C:_kept")]
    assert [] == unprobed(source, names)


def test_the_version_that_ci_installs_is_a_known_one():
    pins = (Path(oom_suite.__file__).parents[1] / "constraints" / "cpu.txt").read_text()
    version = re.search(r"^torch==(\d+\.\d+)", pins, re.MULTILINE)
    assert version[1] in KNOWN_VERSIONS


def test_every_module_of_the_package_looks_for_names():
    """`sources` sees the same files that the tests above import."""
    files = {Path(where).stem for where in sources(ROOM)} - {"__init__", "probes"}
    assert files == set(MODULES) == {module for module, _ in EVERY}
