"""Importing this in the server that children are forked from has it end with its own parent.

By itself it would first import all that it was told to, and then unload torch, which takes seconds
on a busy machine.
"""

from __future__ import annotations

import sys

from oom_suite.processes.ending import live_by

_SERVER = "multiprocessing.forkserver"


def _end_with_parent() -> None:
    """Nothing; in the server, the pipe by which it sees its parent's end kills it at that."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") == _SERVER and "alive_r" in frame.f_locals:
            live_by(frame.f_locals["alive_r"], with_group=False)
            return


_end_with_parent()
