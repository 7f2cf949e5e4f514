"""Importing this in the server that children are forked from has it end with its own parent.

By itself it would first import all that it was told to, serve who waits, and unload torch, which
takes seconds on a busy machine.
"""

from __future__ import annotations

from oom_suite.processes.ending import live_with_parent

live_with_parent()
