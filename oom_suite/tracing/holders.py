"""What holds a tensor alive, by the name that the code gives it."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from types import CellType, FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.torch_compat.dispatch import storage_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_MAX_DEPTH = 8
_MAX_TRAILS = 200
"""Objects whose own holders are looked for at once; more hold a thing that everybody shares."""

_OF_MODULES = frozenset({"_buffers", "_parameters", "_modules"})
_CACHE = "_lru_cache_wrapper"


@dataclass(frozen=True, slots=True, eq=False)
class _Trail:
    """The way from a tensor up to an object.

    Attributes:
        at: the object.
        names: attributes on the way down from it.
        key: under which the object, a dict, has what is below it.
        cell: the variable of a closure that the way goes through.
        nearest: the first object with a name of a kind, and its attribute.
    """

    at: Any
    names: tuple[str, ...] = ()
    key: str = ""
    cell: CellType | None = None
    nearest: str = ""


def holders(
    keys: Collection[int], is_under_test: Callable[[str], bool], *, is_old: bool
) -> dict[int, str]:
    """What holds each of these storages: ``_CACHE``, ``Decoder.rows``, ``memo of step``.

    Args:
        keys: of `storage_key`; those that nothing known holds are left out.
        is_under_test: whether a file is code under test, whose globals need no module's name.
        is_old: whether to look among what was there before this process was forked, too. That is
            all that is global, and most of the process; looking at it gives it to the collector.

    **Does not prove:** that nothing else holds them.
    """
    wanted = set(keys)
    found, samples, graphs = _tensors_of(wanted)
    if is_old:
        gc.unfreeze()
        if wanted - found.keys() - samples.keys():
            found, samples, graphs = _tensors_of(wanted)
    search = _Search(is_under_test)
    for key, tensor in samples.items():
        if key not in found and (name := search.holder(tensor)):
            found[key] = name
    graph = next((found[key] for key in graphs if key in found), "")
    if graph:
        # What a backward pass would need has no tensor of Python's.
        found |= dict.fromkeys(wanted - found.keys(), f"the graph of {graph}")
    return found


def _tensors_of(keys: set[int]) -> tuple[dict[int, str], dict[int, torch.Tensor], list[int]]:
    """Storages that are gradients; a tensor of each other one; those that are part of a graph."""
    gradients: dict[int, str] = {}
    samples: dict[int, torch.Tensor] = {}
    graphs: list[int] = []
    for tensor in _tensors() if keys else ():
        key = _key(tensor)
        if key in keys:
            samples[key] = tensor
            graphs += [key] if tensor.grad_fn is not None else []
        grad = tensor.grad if tensor.is_leaf else None
        if grad is not None and (at := _key(grad)) in keys:
            gradients[at] = ".grad"
    return gradients, samples, graphs


def _tensors() -> Iterator[torch.Tensor]:
    return (each for each in gc.get_objects() if issubclass(type(each), torch.Tensor))


def _key(tensor: torch.Tensor) -> int:
    return storage_key(tensor.untyped_storage()) if tensor.layout is torch.strided else -1


class _Search:
    """Goes up from a tensor, all ways at once, to the first thing that has a name."""

    def __init__(self, is_under_test: Callable[[str], bool]) -> None:
        self._is_under_test = is_under_test
        self._modules = {
            id(vars(module)): module
            for module in list(sys.modules.values())
            if isinstance(module, ModuleType)
        }

    def holder(self, tensor: torch.Tensor) -> str:
        """The name of what holds it; empty where none was found."""
        trails = [_Trail(tensor)]
        seen = {id(tensor), id(trails), id(self._modules)}
        nearest = ""
        for _ in range(_MAX_DEPTH):
            above: list[_Trail] = []
            for trail in trails[:_MAX_TRAILS]:
                for holder in _holders(trail.at, seen):
                    name = self._name(holder, trail)
                    if name:
                        return name
                    above.append(_climbed(holder, trail))
            nearest = nearest or next((each.nearest for each in above if each.nearest), "")
            seen |= {id(above), *map(id, above)}
            trails = above
        return nearest

    def _name(self, holder: Any, trail: _Trail) -> str:
        """The whole name, where the holder has one of its own."""
        if isinstance(holder, dict):
            module = self._modules.get(id(holder))
            return "" if module is None else self._global(module, _key_of(holder, trail), trail)
        if isinstance(holder, ModuleType):
            return self._global(holder, trail.key, trail)
        if isinstance(holder, type):
            name = trail.key or _key_of(vars(holder), trail)
            return _joined(holder.__qualname__, name, *trail.names)
        if type(holder).__name__ == _CACHE:
            return f"{holder.__wrapped__.__qualname__}'s cache"
        if isinstance(holder, FunctionType):
            return _variable(holder, trail)
        return ""

    def _global(self, module: ModuleType, name: str, trail: _Trail) -> str:
        file = getattr(module, "__file__", None)
        own = isinstance(file, str) and self._is_under_test(file)
        return _joined(*(() if own else (module.__name__,)), name, *trail.names)


def _holders(held: Any, seen: set[int]) -> Iterator[Any]:
    """What refers to an object, each once in a search; running code does not hold, it borrows."""
    for holder in gc.get_referrers(held):
        if id(holder) in seen or isinstance(holder, (FrameType, _Trail)):
            continue
        seen.add(id(holder))
        yield holder


def _climbed(holder: Any, trail: _Trail) -> _Trail:
    """The trail, one object further up."""
    names, cell, nearest = trail.names, trail.cell, trail.nearest
    if isinstance(holder, dict):
        key = _key_of(holder, trail)
        return _Trail(holder, names, trail.key if key in _OF_MODULES else key, cell, nearest)
    if isinstance(holder, CellType):
        return _Trail(holder, names, "", holder, nearest)
    attributes = getattr(holder, "__dict__", None)
    if isinstance(attributes, dict) and not isinstance(holder, torch.Tensor):
        name = trail.key if attributes is trail.at else _key_of(attributes, trail)
        name = trail.key if name in _OF_MODULES else name
        if name:
            names = (name, *names)
            nearest = nearest or _joined(type(holder).__qualname__, *names)
    return _Trail(holder, names, "", cell, nearest)


def _key_of(holder: Any, trail: _Trail) -> str:
    return next((str(key) for key, value in list(holder.items()) if value is trail.at), "")


def _variable(function: FunctionType, trail: _Trail) -> str:
    """The variable or default argument of a function that the trail goes through."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        if cell is trail.cell:
            return f"{_joined(name, *trail.names)} of {function.__qualname__}"
    if trail.at is function.__defaults__:
        return f"a default argument of {function.__qualname__}"
    if trail.at is function.__dict__:
        return _joined(function.__qualname__, trail.key, *trail.names)
    return ""


def _joined(*names: str) -> str:
    return ".".join(name for name in names if name)
