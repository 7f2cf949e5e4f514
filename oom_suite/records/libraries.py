"""Bounds of a kind: of closed libraries, which choose what they take, and of what data decides."""

from __future__ import annotations

CUDNN = "cuDNN's workspace"
CUFFT = "cuFFT's work area"

LIBRARIES = {
    CUDNN: (
        "is chosen by cuDNN, which states no limit: it is bounded by what its documented "
        "algorithms keep; where memory is short, torch takes an engine that needs less"
    ),
    CUFFT: "is chosen by cuFFT, and bounded by what its documented algorithms keep",
}
"""Requests that a closed library makes, and what bounds them. It may make none at all."""

BY_DATA = {
    "aten::cumprod": "zeros choose the formula of its gradient",
    "aten::prod": "zeros choose the formula of its gradient",
    "aten::mode": "how many entries differ",
    "aten::nonzero": "how many entries are not zero",
}
"""Operators whose bound is what the worst data takes, and what of the data decides."""
