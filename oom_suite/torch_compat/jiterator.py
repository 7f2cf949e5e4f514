"""Kernels over the elements that code writes as a string of C++, which torch compiles for a GPU."""

from __future__ import annotations

from oom_suite.torch_compat.probes import Name, needed

NAMES = (
    Name("torch.cuda.jiterator:_JittedFunction", positional=3),
    Name("torch.cuda.jiterator:_JittedFunction.num_outputs"),
    Name("torch.cuda.jiterator:_JittedFunction.kwargs_dict"),
)
"""The names of torch behind this module."""

with needed("the shadow and prove lanes need", NAMES):
    from torch.cuda.jiterator import _JittedFunction as JittedFunction

__all__ = ["JittedFunction"]
