"""The house keeps its shape: who may import whom, no circles, who may import torch."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "oom_suite"
PAGE = PACKAGE.parent / "docs" / "architecture.md"
NAME = "oom_suite"
MAX_LINES = 350

LEAVES = frozenset({"errors", "records", "units"})
"""What every room may import; they import each other alone."""

ALLOWED: dict[str, frozenset[str]] = {
    "allocator": frozenset(),
    "hookspecs": frozenset(),
    "processes": frozenset(),
    "torch_compat": frozenset(),
    "doors": frozenset({"hookspecs"}),
    "laws": frozenset({"allocator"}),
    "operators": frozenset({"torch_compat"}),
    "targets": frozenset({"processes"}),
    "tracing": frozenset({"allocator", "operators", "processes", "targets", "torch_compat"}),
    "workloads": frozenset({"hookspecs"}),
    "subjects": frozenset({"doors", "hookspecs"}),
    "safety": frozenset(
        {"allocator", "operators", "processes", "torch_compat", "tracing", "workloads"}
    ),
    "report": frozenset({"targets"}),
    "pipeline": frozenset(
        {
            "allocator",
            "doors",
            "laws",
            "processes",
            "safety",
            "subjects",
            "targets",
            "torch_compat",
            "tracing",
            "workloads",
        }
    ),
    "selfcheck": frozenset(
        {
            "doors",
            "hookspecs",
            "laws",
            "operators",
            "pipeline",
            "processes",
            "safety",
            "subjects",
            "tracing",
            "workloads",
        }
    ),
    "sanitizers": frozenset(
        {"safety", "cli", "doors", "hookspecs", "processes", "report", "subjects", "workloads"}
    ),
    "history": frozenset({"cli", "hookspecs", "report", "subjects"}),
    "cli": frozenset(
        {
            "doors",
            "hookspecs",
            "laws",
            "pipeline",
            "processes",
            "report",
            "selfcheck",
            "subjects",
            "targets",
            "workloads",
        }
    ),
    "pytest_plugin": frozenset(
        {
            "doors",
            "laws",
            "pipeline",
            "processes",
            "report",
            "subjects",
            "targets",
            "tracing",
            "workloads",
        }
    ),
    "__init__": frozenset({"operators", "pipeline"}),
    "__main__": frozenset({"cli"}),
}
"""What a room may import beside the leaves, function bodies included."""

EXEMPT: frozenset[str] = frozenset()
"""Files that the rules do not hold for; never more than three."""

TORCHLESS = LEAVES | {"allocator", "cli", "history", "laws", "report"}
"""Rooms that never import torch: judging and reporting are tested in milliseconds."""


def part_of(path: Path, package: Path) -> str:
    """The room that a file belongs to: its folder, or its own name."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def imports(path: Path, package: Path) -> dict[str, int]:
    """Every module that a file imports at run time, with its line; relative ones resolved."""
    found: dict[str, int] = {}
    inside = (package.name, *path.relative_to(package).parent.parts)
    for node in _runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.setdefault(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            module = ".".join((*base, *((node.module,) if node.module else ())))
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                is_module = module == package.name or _is_module(inner, package)
                found.setdefault(inner if is_module else module, node.lineno)
    return found


def _is_module(dotted: str, package: Path) -> bool:
    path = package.parent.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _runtime_nodes(tree):
    """Every node but those under ``if TYPE_CHECKING:``, which nothing executes."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def violations(package: Path) -> list[str]:
    """One line for each breach of the rules above, sorted."""
    found = []
    for path in sorted(package.rglob("*.py")):
        part, where = part_of(path, package), path.relative_to(package).as_posix()
        if where in EXEMPT:
            continue
        num_lines = len(path.read_text(encoding="utf-8").splitlines())
        if num_lines > MAX_LINES:
            found.append(f"{where}: {num_lines} lines, allowed {MAX_LINES}")
        if part not in LEAVES | set(ALLOWED):
            found.append(f"{where}: room {part!r} has no place in the house; name it in ALLOWED")
            continue
        reasons = {}
        for module, line in imports(path, package).items():
            if reason := _breach(part, module, package.name):
                reasons.setdefault(reason, line)
        found += [f"{where}:{line}: {reason}" for reason, line in reasons.items()]
    return sorted(found) + circles(package)


def _breach(part: str, module: str, package: str) -> str:
    first, *rest = module.split(".")
    if first == "torch" and part in TORCHLESS:
        return f"{part} imports torch"
    if first in {"fixtures", "tests"}:
        return f"{part} imports {first}, which the wheel does not contain"
    if first != package or not rest:
        return ""
    allowed = {part} | LEAVES | ALLOWED.get(part, frozenset())
    return "" if rest[0] in allowed else f"{part} imports {rest[0]}"


def circles(package: Path) -> list[str]:
    """One line for a circle of modules that import each other, late imports included."""
    paths = {_dotted(path, package): path for path in package.rglob("*.py")}
    graph = {
        name: {module for module in imports(path, package) if module in paths and module != name}
        for name, path in paths.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [f"a circle: {' imports '.join(reversed(error.args[1]))}"]
    return []


def _dotted(path: Path, package: Path) -> str:
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def test_the_package_keeps_its_shape():
    assert [] == violations(PACKAGE)


def test_few_files_are_exempt():
    assert len(EXEMPT) <= 3


def test_the_rooms_form_no_circle():
    """A room is above all that it may import, whatever it imports today."""
    assert list(graphlib.TopologicalSorter(ALLOWED).static_order())


def plant(root: Path, where: str, source: str) -> Path:
    package = root / NAME
    path = package / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    ("where", "source", "expected"),
    [
        ("units.py", "import torch.nn", "units.py:1: units imports torch"),
        ("records/law.py", "from oom_suite import laws", "records/law.py:1: records imports laws"),
        ("laws/fit.py", "def f():\n    import torch", "laws/fit.py:2: laws imports torch"),
        ("report/a.py", "from torch import nn", "report/a.py:1: report imports torch"),
        ("cli.py", "import torch", "cli.py:1: cli imports torch"),
        (
            "tracing/a.py",
            "from oom_suite.laws.fit import Fit",
            "tracing/a.py:1: tracing imports laws",
        ),
        (
            "workloads/a.py",
            "import oom_suite.tracing.shadow",
            "workloads/a.py:1: workloads imports tracing",
        ),
        ("targets/a.py", "from oom_suite import laws", "targets/a.py:1: targets imports laws"),
        ("targets/a.py", "from ..subjects import x", "targets/a.py:1: targets imports subjects"),
        (
            "subjects/b/a.py",
            "from ...targets import x",
            "subjects/b/a.py:1: subjects imports targets",
        ),
        (
            "targets/a.py",
            "import oom_suite.pipeline.check",
            "targets/a.py:1: targets imports pipeline",
        ),
        ("errors.py", "from oom_suite import report", "errors.py:1: errors imports report"),
        (
            "targets/a.py",
            "import fixtures",
            "targets/a.py:1: targets imports fixtures, which the wheel does not contain",
        ),
        (
            "utils.py",
            "",
            "utils.py: room 'utils' has no place in the house; name it in ALLOWED",
        ),
        ("laws/long.py", "\n" * 351, "laws/long.py: 351 lines, allowed 350"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, where, source, expected):
    assert violations(plant(tmp_path, where, source)) == [expected]


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("laws/a.py", "from oom_suite.records import Law\nfrom oom_suite.laws.fit import fit"),
        ("laws/a.py", "from .fit import fit"),
        ("laws/a.py", "if TYPE_CHECKING:\n    import torch"),
        ("errors.py", "from oom_suite.units import GIB"),
        ("targets/a.py", "import torch\nfrom oom_suite import records"),
        ("subjects/a.py", "from oom_suite import doors"),
        ("pipeline/check.py", "from oom_suite import laws, subjects, tracing"),
        ("targets/a.py", "import torchvision_like\nfrom oom_suite_other import x"),
    ],
)
def test_what_the_rules_allow_is_not_reported(tmp_path, where, source):
    assert violations(plant(tmp_path, where, source)) == []


def test_a_planted_circle_is_found(tmp_path):
    """Late imports are seen too."""
    plant(tmp_path, "laws/a.py", "from oom_suite.laws.b import x")
    package = plant(tmp_path, "laws/b.py", "def f():\n    from oom_suite.laws import a")
    (found,) = violations(package)
    assert found.startswith("a circle: oom_suite.laws.")
    assert {"oom_suite.laws.a", "oom_suite.laws.b"} == set(
        found.partition(": ")[2].split(" imports ")
    )


def walk() -> list[tuple[Path, str]]:
    """The lines of the walk in docs/architecture.md: a file and a function each."""
    block = re.search(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line[9:].split() for line in block[1].splitlines()]
    return [(PACKAGE / words[0], words[1]) for words in lines]


def function(path: Path, name: str) -> ast.AST:
    found: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for part in name.split("."):
        found = next(node for node in ast.walk(found) if getattr(node, "name", None) == part)
    return found


def calls(node: ast.AST) -> set[str]:
    """Every name that a function mentions."""
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return names | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def test_each_step_of_the_walk_is_called_by_one_above_it():
    """The documented way of a request is the way that the code takes."""
    steps = walk()
    assert 10 == len(steps)
    called: set[str] = {steps[0][1]}
    for path, name in steps:
        assert name.rpartition(".")[2] in called, f"{name} is called by no line above it"
        called |= calls(function(path, name))
