"""Importing this in the server that children are forked from has it end with its own parent.

By itself it would first import all that it was told to, serve who waits, and unload torch, which
takes seconds on a busy machine.
"""

from __future__ import annotations

import gc

from oom_suite.processes.ending import live_with_parent

live_with_parent()
# What is loaded from here on stays: to look through it again and again for garbage is a fifth of
# the time that loading it takes. `oom_suite.tracing.warm`, which comes last, ends this.
gc.disable()
