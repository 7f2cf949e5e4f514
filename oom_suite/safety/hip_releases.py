"""What a build of torch for HIP can do, by its release."""

from __future__ import annotations

_CAPTURE_ERRORS = (7, 14)
_EXPANDABLE_SEGMENTS = (7, 0)


def reports_capture_errors(hip: str | None) -> bool:
    """Whether the runtime says so where a capture meets what it cannot hold.

    Args:
        hip: `torch.version.hip`, ``"7.1.25424"``; None for CUDA, which does.

    Source: ROCm release notes: HIP did not report such errors before 7.14.
    """
    return _release(hip, _CAPTURE_ERRORS) >= _CAPTURE_ERRORS


def has_expandable_segments(hip: str | None) -> bool:
    """Whether torch's allocator can make expandable segments on this runtime.

    Args:
        hip: as of `reports_capture_errors`.

    Source: ROCm has the virtual memory that they need from 7.0 on.
    """
    return _release(hip, _EXPANDABLE_SEGMENTS) >= _EXPANDABLE_SEGMENTS


def _release(hip: str | None, least: tuple[int, int]) -> tuple[int, ...]:
    """Major and minor; those of the least where there is no HIP, or where it cannot be read."""
    parts = (hip or "").split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(p.isdigit() for p in parts) else least
