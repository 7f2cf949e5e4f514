"""Reads how a user names a subject: a built-in, a vLLM release or tree, a file, a module."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from difflib import get_close_matches

from packaging.version import InvalidVersion, Version

from oom_suite.errors import UsageError

BUILTIN_NAMES = ("full_dequant", "block_compaction", "token_gather", "streaming")
"""The decode paths that the suite brings along."""

SPELLINGS = (
    *BUILTIN_NAMES,
    "vllm (the installed one)",
    "vllm==VERSION",
    "vllm@PATH",
    "PATH.py:FUNCTION",
    "package.module:function",
)
"""Every way to write a subject, for messages and help."""

_NAME = r"[^\W\d]\w*"
_MODULE = re.compile(rf"(?P<module>{_NAME}(?:\.{_NAME})*):(?P<function>{_NAME})")
_FILE = re.compile(rf"(?P<path>.+\.py):(?P<function>{_NAME})", re.DOTALL)


class SubjectKind(enum.Enum):
    """Where the code under test comes from."""

    BUILTIN = "builtin"
    VLLM_INSTALLED = "vllm_installed"
    VLLM_RELEASE = "vllm_release"
    VLLM_TREE = "vllm_tree"
    FILE = "file"
    MODULE = "module"


@dataclass(frozen=True, slots=True)
class SubjectSpec:
    """A subject as its user wrote it, taken apart.

    Attributes:
        text: the spelling itself.
        kind: where the code comes from; decides which of the others are set.
        name: the built-in's name.
        version: the release, as ``"0.21.0"``.
        path: the file, or the tree's root, as written.
        module: the module's dotted name.
        function: the function's name, for a file or a module.
    """

    text: str
    kind: SubjectKind
    name: str | None = None
    version: str | None = None
    path: str | None = None
    module: str | None = None
    function: str | None = None


def parse(text: str) -> SubjectSpec:
    """The subject that a spelling such as ``vllm==0.21.0`` or ``decode.py:run`` names.

    Only the spelling is judged: whether the file or release exists is found when it is loaded.

    Raises:
        UsageError: the spelling is none of `SPELLINGS`.
    """
    text = text.strip()
    if text in BUILTIN_NAMES:
        return SubjectSpec(text, SubjectKind.BUILTIN, name=text)
    if text == "vllm":
        return SubjectSpec(text, SubjectKind.VLLM_INSTALLED)
    if text.startswith("vllm@"):
        return _tree(text)
    if re.match(r"vllm\s*[=<>!~]", text):
        return _release(text)
    if match := _FILE.fullmatch(text):
        return SubjectSpec(text, SubjectKind.FILE, path=match["path"], function=match["function"])
    if match := _MODULE.fullmatch(text):
        return SubjectSpec(
            text, SubjectKind.MODULE, module=match["module"], function=match["function"]
        )
    raise _unreadable(text)


def _tree(text: str) -> SubjectSpec:
    path = text.removeprefix("vllm@")
    if not path.strip():
        raise UsageError(
            f"subject {text!r} names no path: write vllm@PATH, the root of a checkout or of an "
            "extracted source archive"
        )
    return SubjectSpec(text, SubjectKind.VLLM_TREE, path=path)


def _release(text: str) -> SubjectSpec:
    written = text.removeprefix("vllm").strip()
    number = written.lstrip("=<>!~ ").partition(",")[0].strip()
    try:
        version = str(Version(number))
    except InvalidVersion:
        raise UsageError(
            f"subject {text!r} names no release: {number!r} is not a version; "
            "write one, as vllm==0.21.0"
        ) from None
    if not re.fullmatch(r"==[^=<>!~,]+", written) or " " in text:
        raise UsageError(
            f"subject {text!r} names no single release: one version after == is understood; "
            f"write vllm=={version}"
        )
    return SubjectSpec(text, SubjectKind.VLLM_RELEASE, version=version)


def _unreadable(text: str) -> UsageError:
    choices = ", ".join(SPELLINGS)
    if "::" in text:
        plain = text.replace("::", ":")
        return UsageError(f"unknown subject {text!r}: one colon, as {plain!r}")
    if text.endswith(".py"):
        return UsageError(f"subject {text!r} names no function: write {text}:FUNCTION")
    if ".py:" in text:
        function = text.rpartition(":")[2]
        return UsageError(
            f"subject {text!r} names no function: {function!r} is not the name of a function at "
            "the top of the file; write PATH.py:FUNCTION"
        )
    near = get_close_matches(text, (*BUILTIN_NAMES, "vllm"), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown subject {text!r}: write one of {choices}{hint}")
