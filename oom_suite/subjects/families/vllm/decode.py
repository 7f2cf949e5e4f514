"""Calls a vLLM tree's DeepSeek-V4 decode path for ROCm, whichever form the release gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import NotApplicableError, SubjectError
from oom_suite.subjects.convention import DECODE_KEYWORDS, required_extras
from oom_suite.subjects.families.vllm.loading import LoadedModule
from oom_suite.subjects.families.vllm.stubs import Stub, stub_used
from oom_suite.subjects.families.vllm.tree import DECODE_FILE, tree_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENTRIES = ("rocm_forward_decode_fallback", "rocm_sparse_attn_decode")
"""The decode entry's names, the older first.

Source: vLLM 0.21.0 `vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:1086`; 0.22.0 :1684.
"""

FIRST_RELEASE = "0.21.0"
"""The first release whose file defines one of `ENTRIES`."""

_RAGGED = "_ragged_"


@dataclass(frozen=True, slots=True)
class LoadedDecode:
    """A tree's decode path, ready to be called.

    Attributes:
        call: takes the fourteen keywords of `DECODE_KEYWORDS` and writes ``output``.
        entry: the name of vLLM's function behind it.
        module: the loaded file.
    """

    call: Callable[..., Any]
    entry: str
    module: LoadedModule

    @property
    def version(self) -> str:
        """The tree's version."""
        return self.module.version

    def close(self) -> None:
        """Nothing; the loaded file can be freed."""
        self.module.close()


def load_decode(root: Path, arch: str = "generic") -> LoadedDecode:
    """The decode path of the tree at `root`.

    Args:
        root: the tree's root.
        arch: ``"generic"``, ``"gfx942"`` or ``"gfx950"``.

    Raises:
        NotApplicableError: the tree has no such path.
        SubjectError: it has one that cannot be loaded, or that takes other parameters.
        StubUsedError: loading it depends on what the suite stubs.
        UsageError: an unknown architecture.
    """
    if not (root / DECODE_FILE).is_file():
        raise _not_applicable(tree_version(root), f"{DECODE_FILE} does not exist")
    loaded = LoadedModule(root, arch)
    entry = next((name for name in ENTRIES if hasattr(loaded.module, name)), None)
    if entry is None:
        what = f"{DECODE_FILE} defines neither {' nor '.join(ENTRIES)}"
        raise _not_applicable(loaded.version, what)
    return LoadedDecode(_adapted(loaded, entry), entry, loaded)


def _not_applicable(version: str, what: str) -> NotApplicableError:
    return NotApplicableError(
        f"vLLM {version} has no DeepSeek-V4 decode path for ROCm: {what}; "
        f"first release with one is {FIRST_RELEASE}"
    )


def _adapted(loaded: LoadedModule, entry: str) -> Callable[..., Any]:
    function: Any = getattr(loaded.module, entry)
    name = f"{entry} of vLLM {loaded.version}"
    if isinstance(function, Stub):
        raise stub_used(repr(function).removeprefix("<stub ").removesuffix(">"))
    extras = required_extras(function, name)
    strange = [parameter for parameter in extras if _RAGGED not in parameter]
    if strange:
        raise SubjectError(
            f"{name} requires `{strange[0]}`, which this version of the suite does not know how "
            f"to fill; known are {', '.join(DECODE_KEYWORDS)} and ..._ragged_...: call it from a "
            "function of your own (PATH.py:FUNCTION)"
        )
    # The ragged forms of the indices are an optimization: without them vLLM derives its own.
    fill = dict.fromkeys(extras)

    def call(**keywords: Any) -> Any:
        with loaded.running():
            return function(**keywords, **fill)

    return call
