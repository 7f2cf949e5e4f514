"""What the server of all children has imported, so that no child imports it again."""

from __future__ import annotations

import gc
import subprocess
import sys

from fixtures.processes import HandlingChild
from oom_suite import doors
from oom_suite.pipeline.session import PRELOAD


def modules():
    """A handler that gives the modules of its process, in the order in which they came."""
    order = list(sys.modules)
    return lambda _: order


def test_a_child_has_the_suites_own_plugins_from_its_server():
    """Before the last that the server imports, whose end keeps the collector from all of them."""
    with HandlingChild(f"{__name__}:modules", (), time_limit_s=60.0, preload=PRELOAD) as child:
        order = child.ask(None)
    assert PRELOAD[-1] == "oom_suite.tracing.warm"
    late = order[order.index(PRELOAD[-1]) :]
    assert [] == [name for name in (*doors.OWN, *PRELOAD[:-1]) if name in late]
    assert {*PRELOAD, *doors.OWN} <= {*order}


def collects():
    """A handler that says whether its process looks for garbage."""
    return lambda _: gc.isenabled()


def test_a_child_looks_for_garbage_though_its_server_did_not_while_it_loaded():
    with HandlingChild(f"{__name__}:collects", (), time_limit_s=60.0, preload=PRELOAD) as child:
        assert child.ask(None)


def test_a_server_looks_for_garbage_again_when_all_is_loaded():
    """It does not from its first module on."""
    first, last = PRELOAD[0], PRELOAD[-1]
    code = f"import gc, {first}; a = gc.isenabled(); import {last}; print(a, gc.isenabled())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "False True" == done.stdout.strip()
