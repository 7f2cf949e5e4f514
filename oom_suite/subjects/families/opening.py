"""Which modules the code of a released package finds: its file, what is supplied, stubs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from oom_suite.subjects.families.tree import has_module, module_names
from oom_suite.subjects.loading import Modules, dotted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oom_suite.subjects.families.package import PackageFamily
    from oom_suite.subjects.loading import Given


def modules_of(
    family: PackageFamily,
    root: Path,
    file: str,
    given: Given,
    package: str | None = None,
    stubs: tuple[str, ...] = (),
    beside: tuple[str, ...] = (),
) -> Modules:
    """What one file of a tree finds when it imports.

    Args:
        family: whose tree.
        root: the tree's root.
        file: the file, from the root, in the tree's own layout.
        given: what supplied modules are made with.
        package: the package that a fork is laid out as; its modules are answered for beside those
            of the family's own package.
        stubs: other packages to replace by stubs.
        beside: files that are loaded as they are, beside the family's pure ones.
    """
    tops = tuple(dict.fromkeys((family.package, package or family.package)))
    names = (*family.pure_files, *beside)
    pure = (in_layout(name, family.package, top) for top in tops for name in names)
    supplied = {name: called(maker, given) for name, maker in family.supplies.items()}
    return Modules(
        packages=(*tops, *stubs),
        files={dotted(one): root / one for one in (file, *pure) if (root / one).is_file()},
        supplied={
            in_layout(name, family.package, top, "."): names
            for top in tops
            for name, names in supplied.items()
        },
        absent=family.absent,
        holds=_holds(family, root, tops),
    )


def _holds(family: PackageFamily, root: Path, packages: tuple[str, ...]) -> Callable[[str], bool]:
    if family.unknown_modules == "stubs":
        return lambda _: True
    names = module_names(root, family.project)
    # A package that is installed from a checkout lists none of its files.
    listed = names if names is not None and family.package in names else None

    def holds(name: str) -> bool:
        if name.partition(".")[0] not in packages:
            return True
        return has_module(root, name) if listed is None else name in listed

    return holds


def in_layout(name: str, package: str, layout: str, separator: str = "/") -> str:
    """The name of a file or module of a package where the package has another name."""
    top, rest = name.partition(separator)[::2]
    return f"{layout}{separator}{rest}" if top == package and rest else name


def called(maker: str, *arguments: Any) -> Any:
    """What the function gives that ``"module:function"`` names."""
    module, _, function = maker.partition(":")
    return getattr(importlib.import_module(module), function)(*arguments)
