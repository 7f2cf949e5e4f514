"""Exit with one clear line unless this environment's torch drives the wanted kind of GPU.

Usage: `python .ci/require_torch.py hip` or `... cuda`. The GPU lanes use the torch that the
machine already has. Images keep it among the system's packages or in a virtual environment on
PATH; the latter is linked into the one that tox made, which does not see it otherwise.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

NAMES = {"hip": "ROCm", "cuda": "CUDA"}


def link_image_environment() -> None:
    """Make torch importable here where only the image's own virtual environment has it."""
    if sys.prefix == sys.base_prefix or importlib.util.find_spec("torch") is not None:
        return
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        site = Path(folder).parent / "lib" / version / "site-packages"
        if (site / "torch").is_dir():
            link = Path(sysconfig.get_path("purelib"), "oom_suite_image.pth")
            link.write_text(f"{site}\n", encoding="utf-8")
            sys.path.append(str(site))
            return


def refusal(kind: str) -> str:
    """Why this environment cannot run the lane, in one line; empty when it can."""
    lane = "rocm" if kind == "hip" else kind
    wanted = f"{lane} lane: needs a {NAMES[kind]} build of torch"
    how = f"run it in an image that has one (this Python is {sys.executable})"
    if importlib.util.find_spec("torch") is None:
        return f"{wanted}, and this environment has no torch: {how}"
    import torch  # only when it is there

    if not getattr(torch.version, kind, None):
        return f"{wanted}, and torch {torch.__version__} has torch.version.{kind} empty: {how}"
    if not torch.cuda.is_available():
        return (
            f"{lane} lane: torch {torch.__version__} sees no GPU (torch.cuda.is_available() is "
            f"False): give the container its devices and groups, see docs/ci.md"
        )
    return ""


if __name__ == "__main__":
    link_image_environment()
    sys.exit(refusal(sys.argv[1]) or 0)
