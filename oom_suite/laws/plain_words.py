"""Why code could not be run on symbols, in words about the code instead of torch's insides."""

from __future__ import annotations

import re

_AT = re.compile(r" at (?P<where>[^()\n]+:\d+ \([^()]*\))\.?$")
_RAISED = "raised: "
_DATA = "the code needs a number that data decides"

_SAID = (
    (
        re.compile(r"unhashable type: .*SymInt"),
        (
            "the code uses a size as a key, of a dict, a set or functools.cache{at}, and a key "
            "has to be one number"
        ),
    ),
    (
        re.compile(r"expected to contain only concrete integers|with symbolic sizes/strides"),
        "the code calls an operator of torch{at} that takes sizes as plain numbers alone",
    ),
    (
        re.compile(r"Sym(Int|Float|Bool)"),
        "the code calls a function{at} that takes plain numbers alone, and gives it a size",
    ),
)
"""What messages of torch say of the code. An error that only symbols cause is about a size.

Source: torch 2.13 ``torch/__init__.py`` (``SymInt.__hash__``), ``c10/core/SymIntArrayRef.h``,
``c10/core/TensorImpl.cpp``.
"""


def plain(reason: str) -> str:
    """The reason in words that somebody understands who wrote the code and not torch.

    Args:
        reason: why the prove lane could not run code that the shadow lane does run.
    """
    if reason.startswith(_DATA):
        # The rest is torch's own name for the number.
        return re.sub(rf"^({_DATA}(?: at [^()\n]+:\d+ \([^()]*\))?): .*$", r"\1", reason)
    if not reason.startswith(_RAISED):
        return reason
    found = _AT.search(reason)
    at = f" at {found['where']}" if found is not None else ""
    for pattern, said in _SAID:
        if pattern.search(reason):
            return said.format(at=at)
    return f"the code does not run{at} where a size is a symbol instead of a number"
