"""What Gluon calls otherwise in another Triton: 3.6, which torch 2.11 brings, and 3.7 of 2.13."""

from __future__ import annotations

from triton.experimental.gluon import language as gl

barrier = getattr(gl, "barrier", None) or gl.thread_barrier
"""All warps that run the same function wait for each other."""
