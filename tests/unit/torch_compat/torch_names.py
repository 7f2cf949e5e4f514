"""Which names of torch a source file uses that torch's documentation does not promise."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

UNDOCUMENTED = ("torch.fx.experimental",)
"""Modules without an underscore that promise nothing either."""

_BY_STRING = frozenset({"attrgetter", "delattr", "getattr", "hasattr", "object", "setattr"})
"""Functions that take a name as a string; `object` is `mock.patch.object`."""
_OF_NAMEDTUPLES = frozenset({"_asdict", "_fields", "_make", "_replace"})
_PRIVATE_PATH = re.compile(r"torch(\.\w+)*[.:]_(?!_)\w+([.:]\w+)*")


def is_private(name: str) -> bool:
    """Whether a name begins with an underscore and is none of Python's own, such as `__init__`."""
    return name.startswith("_") and not name.endswith("__") and name != "_"


def private_uses(source: str, own: frozenset[str], probed: frozenset[str]) -> list[tuple[int, str]]:
    """Line and name of each private name of torch in a file, in the file's order.

    Args:
        source: the file's text.
        own: private names that the package itself defines.
        probed: private names that torch is known to have.
    """
    tree = ast.parse(source)
    roots = _imported(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [(node.lineno, path) for path in _paths(node) if _is_undocumented(path)]
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if _is_of_torch(node, roots, own, probed):
                found.append((node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.Call) and _called(node) in _BY_STRING:
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            private = [name for name in names if isinstance(name, str) and is_private(name)]
            found += [(node.lineno, repr(name)) for name in private if name not in own - probed]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _PRIVATE_PATH.fullmatch(node.value):
                found.append((node.lineno, repr(node.value)))
        elif isinstance(node, ast.FunctionDef) and is_private(node.name) and node.name in probed:
            found.append((node.lineno, f"def {node.name}"))
    return sorted(set(found))


def own_names(sources: list[str]) -> frozenset[str]:
    """Every private name that these files define: functions, classes, attributes, slots."""
    found: set[str] = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Assign) and _names_slots(node):
            found.update(ast.literal_eval(node.value))
    return frozenset(filter(is_private, found))


def _names_slots(node: ast.Assign) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "__slots__" for one in node.targets)


def _paths(node: ast.Import | ast.ImportFrom) -> list[str]:
    """What an import statement names, dotted."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names] if not node.level else []


def _is_undocumented(path: str) -> bool:
    first, *rest = path.split(".")
    hidden = any(path == module or path.startswith(f"{module}.") for module in UNDOCUMENTED)
    return first == "torch" and (hidden or any(map(is_private, rest)))


def _imported(tree: ast.AST) -> dict[str, str]:
    """The local names of imports, and the module that each comes from."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = "." if node.level else node.module or "."
    return found


def _is_of_torch(
    node: ast.Attribute, roots: dict[str, str], own: frozenset[str], probed: frozenset[str]
) -> bool:
    """Whether a private attribute is torch's: known to be, or defined by nobody else."""
    base = node.value
    while isinstance(base, ast.Attribute):
        base = base.value
    root = roots.get(base.id) if isinstance(base, ast.Name) else None
    if root is not None:
        return root.partition(".")[0] == "torch"
    is_self = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
    if node.attr in own and (is_self or node.attr not in probed):
        return False
    return node.attr not in _OF_NAMEDTUPLES


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def sources(folder: Path, *, skipped: frozenset[str] = frozenset()) -> dict[str, str]:
    """The text of each Python file below a folder, by its path from there.

    Args:
        folder: where to look.
        skipped: first parts of paths that are left out.
    """
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*.py"))}
    return {
        where.as_posix(): path.read_text(encoding="utf-8")
        for where, path in files.items()
        if where.parts[0] not in skipped
    }
