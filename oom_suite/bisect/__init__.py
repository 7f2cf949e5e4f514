"""Finds where along an ordered line of versions a property changes."""

from oom_suite.bisect.search import Boundary, search

__all__ = ["Boundary", "search"]
