"""What a package's source tree holds: where it is, its version, and which modules it has."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from email.parser import HeaderParser
from pathlib import Path

from oom_suite.errors import SubjectError

SDIST_METADATA = "PKG-INFO"
WHEEL_METADATA = "*.dist-info/METADATA"
WHEEL_RECORD = "*.dist-info/RECORD"
"""The list of all that a wheel installs."""

_VERSION = re.compile(r"^(?:__version__\s*=\s*)?version\s*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)
_GIT_TIMEOUT_S = 10


def open_tree(path: str, package: str, title: str, spelling: str) -> Path:
    """The absolute root of the tree at `path`.

    Args:
        path: as written.
        package: the package that must lie in it.
        title: what messages call it.
        spelling: how such a tree is written, up to its path.

    Raises:
        SubjectError: nothing is there, or it does not hold the package.
    """
    root = Path(path).expanduser()
    what = "give the root of a checkout or of an extracted source archive"
    if not root.exists():
        raise SubjectError(f"no {title} tree at {path!r}: it does not exist; {what}")
    if not (root / package).is_dir():
        inner = root.name == package and (root / "__init__.py").is_file()
        hint = f"; did you mean {spelling}{Path(path).parent}?" if inner else ""
        raise SubjectError(
            f"no {title} tree at {path!r}: it holds no `{package}` folder; {what}, and --package "
            f"for a fork that is laid out as another package{hint}"
        )
    return root.resolve()


def installed_root(package: str, title: str, otherwise: str) -> Path:
    """The folder that the installed package lies in; it is not imported.

    Args:
        package: the package.
        title: what messages call it.
        otherwise: the spellings to use where it is not installed.

    Raises:
        SubjectError: it is not installed in this Python.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module in `sys.modules` without a spec
        spec = None
    if spec is None or spec.origin is None:
        raise SubjectError(
            f"{title} is not installed in this Python: install it, or name {otherwise}"
        )
    return Path(spec.origin).resolve().parent.parent


def tree_version(root: Path, project: str, version_file: str) -> str:
    """The version of the tree at `root`; ``"unknown"`` when nothing in it says so.

    Looked for in an archive's metadata, then in the version file that a build writes, then in git.

    Args:
        root: the tree's root.
        project: the name that the metadata must have.
        version_file: the version file, from the root.
    """
    for metadata in (root / SDIST_METADATA, *_of_wheel(root, project, "METADATA")):
        headers = HeaderParser().parsestr(_read(metadata))
        if headers.get("Name", "").lower() == project and headers.get("Version"):
            return str(headers["Version"])
    written = _VERSION.search(_read(root / version_file))
    if written:
        return written[1]
    return _git_version(root) or "unknown"


def module_names(root: Path, project: str) -> frozenset[str] | None:
    """The dotted names of all modules and packages of a wheel; None where its list is not kept.

    Args:
        root: where it was unpacked or installed, others perhaps beside it.
        project: its name on the package index.
    """
    records = _of_wheel(root, project, "RECORD")
    if not records:
        return None
    names: set[str] = set()
    for line in _read(records[0]).splitlines():
        file = Path(line.partition(",")[0])
        if file.suffix in {".py", ".so", ".pyd"}:
            # A compiled module's name ends where its tag begins: _C.cpython-311-x86_64-linux-gnu.so
            parts = (*file.parts[:-1], file.name.partition(".")[0])
            names |= {".".join(parts[: depth + 1]) for depth in range(len(parts))}
    return frozenset(names)


def has_module(root: Path, name: str) -> bool:
    """Whether the tree's files hold a module or package of this dotted name."""
    stem = root.joinpath(*name.split("."))
    return stem.is_dir() or any(stem.parent.glob(f"{stem.name}.*"))


def _of_wheel(root: Path, project: str, file: str) -> list[Path]:
    return sorted(root.glob(f"{project.replace('-', '_')}-*.dist-info/{file}"))


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
