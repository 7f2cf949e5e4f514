"""Which Python, torch and suite this is, without importing torch."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any


def environment() -> dict[str, Any]:
    """Where the results were made: versions of Python, torch and the suite, and the platform.

    A version is None when that distribution is not installed (a source tree on the path).
    """
    return {
        "python": platform.python_version(),
        "torch": _version("torch"),
        "oom_suite": _version("oom-suite"),
        "platform": platform.platform(),
    }


def _version(distribution: str) -> str | None:
    # Not torch.__version__: a report must not pay for importing torch.
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
