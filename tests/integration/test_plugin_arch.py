"""The option ``--oom-arch``."""

from __future__ import annotations

from oom_suite.pytest_plugin.options import ARCHS
from oom_suite.subjects.families.vllm.platform import ARCHITECTURES


def test_the_command_line_wins_over_the_ini_file_over_the_default(oom_seen):
    """`generic` where nobody says."""
    assert oom_seen()["arch"] == "generic"
    assert oom_seen(ini="oom_arch = gfx942")["arch"] == "gfx942"
    assert oom_seen("--oom-arch=gfx950", ini="oom_arch = gfx942")["arch"] == "gfx950"


def test_an_unknown_architecture_stops_the_run_before_collection(oom_refusal):
    """One line that lists the known ones."""
    line = oom_refusal("--oom-arch=gfx90a")
    assert line.startswith("--oom-arch: unknown architecture 'gfx90a': choose from generic, gfx942")


def test_the_plugin_knows_the_architectures_that_the_subjects_know():
    """Named a second time, because theirs cannot be read without torch."""
    assert ARCHITECTURES == ARCHS
