"""The option ``--oom-target``, and ``--oom-arch``, its older name."""

from __future__ import annotations

import pytest


def test_the_command_line_wins_over_the_ini_file_over_the_default(oom_seen):
    """`generic` where nobody says."""
    assert oom_seen()["target"] == ["generic"]
    assert oom_seen(ini="oom_target = gfx942")["target"] == ["gfx942"]
    ini = "oom_target = gfx942"
    assert oom_seen("--oom-target=gfx950", ini=ini)["target"] == ["gfx950"]


def test_the_older_name_asks_for_the_same(oom_seen):
    """On the command line it wins over the ini file's target."""
    assert oom_seen("--oom-arch=gfx950", ini="oom_target = gfx942")["target"] == ["gfx950"]
    assert oom_seen(ini="oom_arch = gfx942")["target"] == ["gfx942"]


def test_several_targets_are_each_taken_once(oom_seen):
    """Repeated, or with commas; a device that is a target by another name is not a second one."""
    several = oom_seen("--oom-target=cuda:sm_90,rocm:gfx942", "--oom-target=MI325X")
    assert several["target"] == ["cuda:sm_90", "rocm:gfx942"]


def test_an_unknown_target_stops_the_run_before_collection(oom_refusal):
    """One line that says what was meant."""
    line = oom_refusal("--oom-target=gfx94")
    assert line.startswith("--oom-target: unknown target 'gfx94': choose from B200, H100")
    assert line.endswith("did you mean 'gfx942'?")


LAWS = """
import torch
from oom_suite import memory_law

AXES = {"pool": 512, "n": 4}


@memory_law(axes=AXES, independent_of="pool", measure=False)
def test_hip_alone_copies(sizes, device):
    cache = torch.zeros(sizes.pool, 64, device=device)
    rows = torch.zeros(sizes.n, dtype=torch.int64, device=device)
    return lambda: (cache.double() if torch.version.hip else cache)[rows]
"""


@pytest.mark.parametrize(
    ("target", "outcome"), [("cuda:sm_90", "passed"), ("rocm:gfx942", "failed")]
)
def test_a_law_is_judged_for_the_target(pytester, target, outcome):
    """The same test keeps its promise on one and breaks it on the other."""
    pytester.makepyfile(test_laws=LAWS)
    done = pytester.runpytest("-p", "no:cacheprovider", f"--oom-target={target}")
    done.assert_outcomes(**{outcome: 1})


def test_several_targets_are_judged_and_compared(pytester):
    """One line says which law holds where; the failing one's headline names its target."""
    pytester.makepyfile(test_laws=LAWS)
    done = pytester.runpytest("-p", "no:cacheprovider", "--oom-target=cuda:sm_90,rocm:gfx942")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "FAIL  *scenario default, for rocm:gfx942",
            "*differs by target: cuda:sm_90: PASS, 256*n, *; rocm:gfx942: FAIL, 512*pool*",
        ]
    )


def test_a_law_may_name_its_own_target(pytester):
    """It wins over the option."""
    own = LAWS.replace("measure=False", 'measure=False, target="H200"')
    pytester.makepyfile(test_laws=own)
    done = pytester.runpytest("-p", "no:cacheprovider", "--oom-target=gfx942")
    done.assert_outcomes(passed=1)
