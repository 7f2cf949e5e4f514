"""What `probe` can be asked beside the contract: a bound, the lockfile, a test."""

from __future__ import annotations

import subprocess
import sys

HEALTHY = """\
def decode(swa_k_cache, swa_indices, output, **step):
    rows = swa_k_cache.flatten(0, 1)[swa_indices.flatten().long()]
    output.copy_(rows.float().mean())
"""
GROWN = HEALTHY.replace("    output", "    seen = swa_k_cache[:, 0, 0].clone()\n    output")
SMALL = ("--scenario", "small", "--workload", "decode-swa")


def verdict(done):
    return done.returncode, done.stdout.partition(" ")[0]


def test_lockfile_decides_what_has_grown_since_it_was_written(suite, tmp_path):
    """Good as locked, bad where it grew, and neither where nothing was locked."""
    file = tmp_path / "s.py"
    file.write_text(HEALTHY, encoding="utf-8")
    probe = ("probe", "s.py:decode", "--locked", *SMALL)
    assert (125, "INCONCLUSIVE") == verdict(suite(*probe))
    assert 0 == suite("lock", "s.py:decode", *SMALL).returncode
    assert (0, "PASS") == verdict(suite(*probe))
    file.write_text(GROWN, encoding="utf-8")
    grown = suite(*probe)
    assert (1, "FAIL") == verdict(grown)
    assert "FAIL s.py:decode: grew in swa_num_blocks: the new term swa_num_blocks\n" in grown.stdout
    assert "             s.py:3 (decode) 1 bytes per swa_num_blocks\n" in grown.stdout
    elsewhere = suite(*probe, "--axis", "num_tokens")
    assert (0, "PASS s.py:decode: no growth in num_tokens") == (
        elsewhere.returncode,
        elsewhere.stdout.splitlines()[0],
    )


def test_bound_decides_alone(suite, tmp_path):
    """At the exact bytes it is kept, and one byte below it is broken; the pool does not matter."""
    (tmp_path / "s.py").write_text(GROWN, encoding="utf-8")
    law = "2920*num_tokens*swa_topk + swa_num_blocks + %s"
    assert (0, "PASS") == verdict(suite("probe", "s.py:decode", "--at-most", law % 4, *SMALL))
    assert (1, "FAIL") == verdict(suite("probe", "s.py:decode", "--at-most", law % 3, *SMALL))


def test_suite_that_cannot_be_imported_is_no_verdict(tmp_path):
    """A commit with a file that hides a module of others does not look bad."""
    (tmp_path / "typer.py").write_text("raise RuntimeError('half a commit')\n", encoding="utf-8")
    for command, code in (("probe", 125), ("check", 1)):
        done = subprocess.run(
            [sys.executable, "-m", "oom_suite", command, "s.py:decode"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (code, True) == (done.returncode, "half a commit" in done.stderr)
