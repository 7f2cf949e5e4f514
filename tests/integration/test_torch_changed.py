"""A torch that lacks a private name: the commands say so in one line, and nothing is green."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Every process of the suite starts with a torch that has lost the name.
PLANTED = """
import importlib.abc, sys

class Planted(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "oom_suite.torch_compat.probes":
            import torch
            if hasattr(torch._C, "{name}"):
                delattr(torch._C, "{name}")

sys.meta_path.insert(0, Planted())
"""


def check(tmp_path, name):
    (tmp_path / "sitecustomize.py").write_text(PLANTED.format(name=name))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "oom_suite", "check", "token_gather", "--scenario", "small"],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("_only_lift_cpu_tensors", 3, "has no torch._C._only_lift_cpu_tensors, which the shadow"),
        ("_no_such_name", 0, "PASS"),
    ],
)
def test_a_missing_name_is_said_by_the_command(tmp_path, name, code, says):
    """Inconclusive, with the name and what to install; with all names there it passes."""
    done = check(tmp_path, name)
    assert (code, True) == (done.returncode, says in done.stdout), done.stdout + done.stderr
