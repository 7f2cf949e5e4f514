"""What a function takes, read off its source: code under test is not run to learn that."""

from __future__ import annotations

import ast
import inspect
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = inspect.Parameter


def parameters_of(source: Path, function: str) -> tuple[inspect.Parameter, ...] | None:
    """The parameters of the function that a file defines at its top.

    None where they cannot be told: the file cannot be read, defines it twice or not at all (it may
    import it), or decorates it.
    """
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    found = [node for node in _at_top(tree) if node.name == function]
    if len(found) != 1 or found[0].decorator_list:
        return None
    return tuple(_parameters(found[0].args))


def module_file(module: str, folder: Path) -> Path | None:
    """The file of a module, searched for first in a folder; no package of it is executed."""
    path: list[str] | None = [str(folder), *sys.path]
    spec = None
    for depth in range(module.count(".") + 1):
        name = ".".join(module.split(".")[: depth + 1])
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _at_top(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """The functions of the module itself, those under an ``if`` or ``try`` too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        elif not isinstance(node, ast.ClassDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _at_top(node)


def _parameters(arguments: ast.arguments) -> Iterator[inspect.Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    num_required = len(positional) - len(arguments.defaults)
    for number, argument in enumerate(positional):
        is_only = number < len(arguments.posonlyargs)
        kind = _KINDS.POSITIONAL_ONLY if is_only else _KINDS.POSITIONAL_OR_KEYWORD
        default = _KINDS.empty if number < num_required else None
        yield inspect.Parameter(argument.arg, kind, default=default)
    if arguments.vararg:
        yield inspect.Parameter(arguments.vararg.arg, _KINDS.VAR_POSITIONAL)
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        default = _KINDS.empty if value is None else None
        yield inspect.Parameter(argument.arg, _KINDS.KEYWORD_ONLY, default=default)
    if arguments.kwarg:
        yield inspect.Parameter(arguments.kwarg.arg, _KINDS.VAR_KEYWORD)
