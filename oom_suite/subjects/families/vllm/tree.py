"""What a vLLM source tree holds: the files that the suite reads, and its version."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from email.parser import HeaderParser
from pathlib import Path

from oom_suite.errors import SubjectError

DECODE_FILE = "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py"
"""The file that holds the DeepSeek-V4 decode path for ROCm, from the tree's root."""

PURE_FILES = ("vllm/utils/math_utils.py",)
"""Files of vLLM's own that load with the standard library alone, and so are used as they are."""

VERSION_FILE = "vllm/_version.py"
METADATA_FILE = "PKG-INFO"

NEEDED = (DECODE_FILE, *PURE_FILES, VERSION_FILE, METADATA_FILE)
"""All that is kept of a release, from the tree's root; a release may lack some of it."""

_VERSION = re.compile(r"^(?:__version__\s*=\s*)?version\s*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)
_GIT_TIMEOUT_S = 10


def open_tree(path: str) -> Path:
    """The absolute root of the vLLM tree at `path`.

    Raises:
        SubjectError: nothing is there, or it holds no `vllm` folder.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise SubjectError(
            f"no vLLM tree at {path!r}: it does not exist; "
            "give the root of a checkout or of an extracted source archive"
        )
    if not (root / "vllm").is_dir():
        inner = root.name == "vllm" and (root / "__init__.py").is_file()
        hint = f"; did you mean vllm@{Path(path).parent}?" if inner else ""
        raise SubjectError(
            f"no vLLM tree at {path!r}: it holds no `vllm` folder; "
            f"give the root of a checkout or of an extracted source archive{hint}"
        )
    return root.resolve()


def installed_root() -> Path:
    """The folder that the installed vLLM's package lies in; vLLM itself is not imported.

    Raises:
        SubjectError: vLLM is not installed in this Python.
    """
    try:
        spec = importlib.util.find_spec("vllm")
    except ValueError:  # a module in `sys.modules` without a spec
        spec = None
    if spec is None or spec.origin is None:
        raise SubjectError(
            "vLLM is not installed in this Python: install it, or name a release (vllm==0.21.0) "
            "or a tree (vllm@PATH)"
        )
    return Path(spec.origin).resolve().parent.parent


def tree_version(root: Path) -> str:
    """The version of the tree at `root`; ``"unknown"`` when nothing in it says so.

    Looked for in a source archive's metadata, then in the version file that a build writes,
    then in git.
    """
    metadata = _read(root / METADATA_FILE)
    if metadata:
        headers = HeaderParser().parsestr(metadata)
        if headers.get("Name", "").lower() == "vllm" and headers.get("Version"):
            return str(headers["Version"])
    written = _VERSION.search(_read(root / VERSION_FILE))
    if written:
        return written[1]
    return _git_version(root) or "unknown"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _git_version(root: Path) -> str:
    git = shutil.which("git")
    # Only the tree's own repository: one that merely encloses it would give a false answer.
    if git is None or not (root / ".git").exists():
        return ""
    command = [git, "-C", str(root), "describe", "--tags", "--always"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().removeprefix("v") if done.returncode == 0 else ""
