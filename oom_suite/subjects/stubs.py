"""Stands in for what the suite does not supply: harmless to name, an error to use in a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from oom_suite.errors import StubUsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TRITON = "triton."


@dataclass(slots=True)
class StubLog:
    """What became of the stubs of one loaded subject.

    Attributes:
        owner: whose code is run beside them, for the message.
        importing: how many of its modules are being executed just now. Only then may a
            stub be decorated with, subscripted or called, and it gives stubs again.
        used: names of the stubs that a call used, in order. Code under test may swallow the
            exception, so whoever calls it looks here afterwards.
    """

    owner: str = "the subject"
    importing: int = 0
    used: list[str] = field(default_factory=list)

    def refuse(self, name: str) -> NoReturn:
        """Never returns: the use is recorded and raised.

        Raises:
            StubUsedError: always.
        """
        if not self.importing:
            self.used.append(name)
        raise stub_used(name)


def stub_used(name: str) -> StubUsedError:
    """The error for code under test that used a stubbed name."""
    if name.startswith(_TRITON):
        return StubUsedError(
            f"the code under test uses `{name}`, and Triton is not installed in this Python: "
            "install it (pip install 'oom-suite[triton]')"
        )
    return StubUsedError(
        f"the code under test uses `{name}`, which the suite only stubs: a result would not be "
        "about the real code; supply the real one in a subject of your own (PATH.py:FUNCTION)"
    )


class Stub:
    """A name that the suite does not supply.

    While a module of the subject is executed it can be read, called, subscripted, subclassed, put
    into annotations and computed with, and gives stubs again; its truth, order or number is
    refused, because the module would go on with a made-up value. In a call every use is refused.

    **Does not prove:** that no stub decided anything: an identity test (``stub is None``) and
    the mere presence of a module (``try: import vllm.x``) cannot be seen.
    """

    __slots__ = ("_log", "_name")
    _log: StubLog
    _name: str

    def __init__(self, name: str, log: StubLog) -> None:
        """Remember the dotted name, for the message, and where uses are recorded."""
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_log", log)

    def __repr__(self) -> str:
        """``<stub vllm.envs.VLLM_X>``; never refused, for tracebacks show it."""
        return f"<stub {self._name}>"

    def __getattr__(self, attribute: str) -> Stub:
        """The attribute, as a stub."""
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)
        return self._more(f"{self._name}.{attribute}")

    def __call__(self, *args: object, **kwargs: object) -> Stub:
        """The result, as a stub: also what stands for a decorated function."""
        if len(args) == 1 and isinstance(args[0], FunctionType | type):
            return self._more(f"{self._name}({args[0].__qualname__})")
        return self._more(f"{self._name}()")

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        """A base class, whose instances are stubs."""
        self._more(self._name)

        def instance(_class: type, *_args: object, **_kwargs: object) -> Stub:
            return self._more(f"{self._name}()")

        return (type(self._name.rpartition(".")[2], (), {"__new__": instance}),)

    def __instancecheck__(self, instance: object) -> bool:
        """False while the module is executed: no real object is one of a stub."""
        self._more(self._name)
        return False

    __subclasscheck__ = __instancecheck__

    def __eq__(self, other: object) -> bool:
        self._more(self._name)
        return self is other

    def __hash__(self) -> int:
        """By identity."""
        self._more(self._name)
        return id(self)

    def __setattr__(self, attribute: str, value: object) -> None:
        """Refused: nothing reads it back."""
        self._log.refuse(f"{self._name}.{attribute}")

    @classmethod
    def __torch_function__(
        cls,
        function: object,
        types: object,
        args: Sequence[object] = (),
        kwargs: dict[str, object] | None = None,
    ) -> NoReturn:
        """Refused: torch was given a stub where it takes a tensor."""
        waiting: list[object] = [*args, *(kwargs or {}).values()]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list | tuple):
                waiting.extend(value)
            elif type(value) is cls:
                value._log.refuse(value._name)
        raise stub_used("a stub that torch was given")

    def _more(self, name: str) -> Stub:
        if not self._log.importing:
            self._log.refuse(name)
        return Stub(name, self._log)


def _computed(self: Stub, *_operands: object) -> Stub:
    return self._more(self._name)


def _refused(self: Stub, *_operands: object) -> NoReturn:
    self._log.refuse(self._name)


_ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "xor",
    "or",
)
_COMPUTING = (
    "__getitem__",
    "__neg__",
    "__pos__",
    "__abs__",
    "__invert__",
    *(f"__{side}{name}__" for name in _ARITHMETIC for side in ("", "r")),
)
_DECIDING = (
    "__bool__",
    "__len__",
    "__iter__",
    "__next__",
    "__contains__",
    "__int__",
    "__float__",
    "__index__",
    "__str__",
    "__format__",
    "__lt__",
    "__le__",
    "__gt__",
    "__ge__",
    "__enter__",
    "__exit__",
    "__await__",
    "__setitem__",
    "__delitem__",
    "__delattr__",
)
for _method in _COMPUTING:
    setattr(Stub, _method, _computed)
for _method in _DECIDING:
    setattr(Stub, _method, _refused)


class StubModule(ModuleType):
    """A module that the suite does not supply, or supplies in part.

    Args:
        name: its dotted name.
        log: where uses of its stubs are recorded.
        supplied: the real names in it.
        submodule: the module of a dotted name, when it is one that is more than stubs.
    """

    def __init__(
        self,
        name: str,
        log: StubLog,
        supplied: dict[str, Any],
        submodule: Callable[[str], ModuleType | None],
    ) -> None:
        """Fill in what is supplied; the rest comes when it is read."""
        super().__init__(name)
        self.__path__: list[str] = []
        self.__dict__.update(supplied)
        self._log = log
        self._submodule = submodule

    def __getattr__(self, attribute: str) -> object:
        """A submodule that is more than stubs, else a stub."""
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)
        name = f"{self.__name__}.{attribute}"
        value = self._submodule(name) or Stub(name, self._log)
        self.__dict__[attribute] = value
        return value
