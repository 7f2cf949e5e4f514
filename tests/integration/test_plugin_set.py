"""The option ``--oom-set``."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("xdist", [(), ("-n1",)], ids=["plain", "xdist"])
def test_it_resizes_the_scenario(oom_seen, xdist):
    """Repeatable, with commas, digits grouped; workers see the same."""
    arguments = ("--oom-set=num_blocks=1_024,num_tokens=2", "--oom-set=num_heads=16", *xdist)
    sizes = oom_seen(*arguments)["sizes"]
    seen = [sizes[a] for a in ("swa_num_blocks", "extra_num_blocks", "num_tokens", "num_heads")]
    assert [1024, 1024, 2, 16] == seen


def test_the_ini_file_resizes_too_and_the_command_line_wins(oom_seen):
    """The ini file's sizes are replaced, not merged."""
    ini = "oom_set =\n    num_blocks=128\n    num_tokens=2\n"
    assert oom_seen(ini=ini)["sizes"]["num_tokens"] == 2
    assert oom_seen("--oom-set=num_blocks=256", ini=ini)["sizes"]["num_tokens"] == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("num_block=8", "--oom-set: unknown axis 'num_block'"),
        ("num_blocks", "--oom-set: 'num_blocks' is not AXIS=VALUE"),
        ("num_blocks=8.5", "--oom-set: 'num_blocks=8.5' is not AXIS=VALUE"),
        ("num_tokens=0", "--oom-set: num_tokens is 0"),
        ("num_tokens=9" + 22 * "0", "--oom-set: num_tokens is 90000000000000000000000: choose at"),
        ("num_tokens=1,num_tokens=2", "--oom-set: gives num_tokens twice, as 1 and 2"),
        ("referenced_blocks=1000000", "--oom-set: referenced_blocks is 1000000"),
    ],
)
def test_a_size_that_cannot_be_stops_the_run_before_collection(oom_refusal, text, expected):
    """One line, with the option and the value."""
    assert oom_refusal("--oom-set", text).startswith(expected)
