"""The house keeps its shape: who may import whom, who may import torch, how long a file gets."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "oom_suite"
NAME = "oom_suite"
MAX_LINES = 350

LEAVES = frozenset({"errors", "units", "records", "budgets", "process_memory"})
# The composition roots put the pieces together and may import anything.
ROOTS = frozenset(
    {
        "__init__",
        "__main__",
        "bisect",
        "check",
        "children",
        "cli",
        "commands",
        "law_tests",
        "measured",
        "plugin",
        "replay",
        "ranks",
        "safety_check",
        "safety_child",
        "sanitize",
        "selfcheck",
        "worker",
    }
)
TORCHLESS = LEAVES | {
    "__main__",
    "cli",
    "commands",
    "contracts",
    "devices",
    "geometry",
    "laws",
    "lockfile",
    "progress",
    "report",
}
# A part may import the leaves and what stands here, all of it before it in the one direction
# geometry -> caches -> workloads -> lanes -> laws -> report. The siblings lanes, subjects,
# laws, report and meters do not import each other.
ALLOWED: dict[str, frozenset[str]] = {
    "geometry": frozenset(),
    "allocator": frozenset(),
    "caches": frozenset({"geometry"}),
    "workloads": frozenset({"geometry", "caches"}),
    "subjects": frozenset({"geometry", "caches", "workloads"}),
    "lanes": frozenset({"allocator"}),
    "meters": frozenset({"allocator"}),
    "safety": frozenset({"geometry", "caches", "workloads", "lanes", "allocator"}),
    "laws": frozenset(),
    "contracts": frozenset(),
    "devices": frozenset(),
    "lockfile": frozenset({"contracts"}),
    "reconcile": frozenset({"allocator"}),
    "report": frozenset(),
    "progress": frozenset(),
    "hookspecs": frozenset({"workloads", "subjects"}),
}


def part_of(path: Path, package: Path) -> str:
    """The part of the house that a file belongs to: its folder, or its own name."""
    first = path.relative_to(package).parts[0]
    return first.removesuffix(".py")


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
            if module == package.name:
                for alias in node.names:
                    found.setdefault(f"{module}.{alias.name}", node.lineno)
            else:
                found.setdefault(module, node.lineno)
    return found


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
        num_lines = len(path.read_text(encoding="utf-8").splitlines())
        if num_lines > MAX_LINES:
            found.append(f"{where}: {num_lines} lines, allowed {MAX_LINES}")
        if part not in ROOTS | LEAVES | set(ALLOWED):
            found.append(f"{where}: part {part!r} has no place in the house; name it in ALLOWED")
            continue
        for module, line in imports(path, package).items():
            reason = _breach(part, module, package.name)
            if reason:
                found.append(f"{where}:{line}: {reason}")
    return sorted(found)


def _breach(part: str, module: str, package: str) -> str:
    first, *rest = module.split(".")
    if first == "torch" and part in TORCHLESS:
        return f"{part} imports torch"
    if first in {"fixtures", "tests"}:
        return f"{part} imports {first}, which the wheel does not contain"
    if first != package or not rest or part in ROOTS:
        return ""
    allowed = {part} | LEAVES | ALLOWED.get(part, frozenset())
    return "" if rest[0] in allowed else f"{part} imports {rest[0]}"


def test_the_package_keeps_its_shape():
    assert violations(PACKAGE) == []


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
            "geometry/a.py",
            "from oom_suite.workloads.sparse_mla.caches.pool import Pool",
            "geometry/a.py:1: geometry imports caches",
        ),
        (
            "workloads/a.py",
            "import oom_suite.tracing.shadow",
            "workloads/a.py:1: workloads imports lanes",
        ),
        ("lanes/a.py", "from oom_suite import laws", "lanes/a.py:1: lanes imports laws"),
        ("lanes/a.py", "from ..subjects import x", "lanes/a.py:1: lanes imports subjects"),
        (
            "subjects/b/a.py",
            "from ...meters import x",
            "subjects/b/a.py:1: subjects imports meters",
        ),
        ("lanes/a.py", "import oom_suite.pipeline.check", "lanes/a.py:1: lanes imports check"),
        ("budgets.py", "from oom_suite import report", "budgets.py:1: budgets imports report"),
        (
            "lanes/a.py",
            "import fixtures",
            "lanes/a.py:1: lanes imports fixtures, which the wheel does not contain",
        ),
        (
            "utils.py",
            "",
            "utils.py: part 'utils' has no place in the house; name it in ALLOWED",
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
        ("budgets.py", "from oom_suite.units import GIB"),
        ("lanes/a.py", "import torch\nfrom oom_suite import records"),
        ("subjects/a.py", "from oom_suite.workloads import decode"),
        ("check.py", "from oom_suite import lanes, laws, report, subjects"),
        ("lanes/a.py", "import torchvision_like\nfrom oom_suite_other import x"),
    ],
)
def test_what_the_rules_allow_is_not_reported(tmp_path, where, source):
    assert violations(plant(tmp_path, where, source)) == []
