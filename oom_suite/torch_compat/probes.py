"""Looks for names of torch, and says what is to be done where one is missing or has changed."""

from __future__ import annotations

import contextlib
import dis
import importlib
import inspect
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN_VERSIONS = ("2.11", "2.13", "2.15")
"""Versions of torch with which the lanes were tested."""

_MISSING = object()
_MAKERS = ("__init__", "_init")
"""Methods that set the attributes of a new instance, in torch's classes."""


class TorchChangedError(LaneError, ImportError):
    """The installed torch lacks a name that a lane needs, or has another thing by that name.

    An `ImportError` as well: the server that imports lanes ahead of time for its children goes
    on, and the child that needs the lane says what is wrong.
    """


@dataclass(frozen=True, slots=True)
class Name:
    """A name of torch, and how the suite uses it.

    Attributes:
        path: ``module:attribute`` or ``module:attribute.attribute``; the last may be one that
            instances of a class get when they are made.
        positional: how many arguments it is given by position; None where it is not called.
        keywords: what it is given by name.
        asked_by: ``module:function`` or ``module:function.nested``, a function which must look
            the name up each time it is called; empty where none must.
    """

    path: str
    positional: int | None = None
    keywords: tuple[str, ...] = ()
    asked_by: str = ""

    @property
    def text(self) -> str:
        """The name as one would write it."""
        return self.path.replace(":", ".")


@contextlib.contextmanager
def needed(user: str, names: tuple[Name, ...]) -> Iterator[None]:
    """Looks for the names, then runs what is inside, which imports them.

    Args:
        user: who needs them, as in ``"every lane needs"``.
        names: what is looked for.

    Raises:
        TorchChangedError: one of them is missing, or cannot be used as it was.
    """
    require(user, names)
    yield


def require(user: str, names: tuple[Name, ...]) -> None:
    """Looks for the names; arguments and errors are those of `needed`."""
    for name in names:
        fault = fault_of(name)
        if fault:
            known = f"{', '.join(KNOWN_VERSIONS[:-1])} and {KNOWN_VERSIONS[-1]}"
            raise TorchChangedError(
                f"torch {torch.__version__} {fault}, which {user}; the suite is known to work "
                f"with torch {known}: install one of these, or a newer oom-suite"
            )


def fault_of(name: Name) -> str:
    """What is wrong with a name, to stand after torch's version; empty where nothing is."""
    found = _found(name.path)
    if found is _MISSING:
        return f"has no {name.text}"
    fault = _refused(found, name) or _unasked(name)
    return f"has another {name.text} ({fault})" if fault else ""


def _found(path: str) -> Any:
    """What a path leads to: `_MISSING` where nowhere, None for what only instances have."""
    module, _, attributes = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return _MISSING
    *owners, last = attributes.split(".")
    for owner in owners:
        found = getattr(found, owner, _MISSING)
    value = getattr(found, last, _MISSING)
    if value is _MISSING and isinstance(found, type) and _is_of_instances(found, last):
        return None
    return value


def _is_of_instances(kind: type, name: str) -> bool:
    """Whether a class declares an attribute for its instances, or sets it when one is made."""
    if any(name in inspect.get_annotations(base) for base in kind.__mro__):
        return True
    made_by = [getattr(getattr(kind, maker, None), "__code__", None) for maker in _MAKERS]
    return any(
        step.opname == "STORE_ATTR" and step.argval == name
        for code in made_by
        if code is not None
        for step in dis.get_instructions(code)
    )


def _refused(found: Any, name: Name) -> str:
    """Why it cannot be called as the suite does; empty where it can, or where C++ does not say."""
    if name.positional is None:
        return ""
    if not callable(found):
        return "it cannot be called"
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*(None,) * name.positional, **dict.fromkeys(name.keywords))
    except TypeError as error:
        return str(error)
    return ""


def _unasked(name: Name) -> str:
    """Why patching the name would have no effect; empty where it would."""
    if not name.asked_by:
        return ""
    last = name.path.replace(":", ".").rpartition(".")[2]
    code = _code(name.asked_by)
    if code is not None and last in code.co_names:
        return ""
    return f"{name.asked_by.replace(':', '.')} does not ask for it"


def _code(path: str) -> CodeType | None:
    """The code of a function, or of one nested in another; None where there is neither."""
    code: CodeType | None = getattr(_found(path), "__code__", None)
    if code is not None:
        return code
    outer, _, nested = path.rpartition(".")
    parts = getattr(getattr(_found(outer), "__code__", None), "co_consts", ())
    inner = (part for part in parts if isinstance(part, CodeType) and part.co_name == nested)
    return next(inner, None)
