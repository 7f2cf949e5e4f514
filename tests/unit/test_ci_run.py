"""What `.ci/run` does with the parts that it starts; programs on its path stand in for them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "cp", "dirname", "env", "grep", "mkdir", "mktemp", "rm", "tail", "tee")
MORE_TOOLS = ("touch", "xargs")
PYTHON = """#!/usr/bin/env bash
case "$*" in
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    *" -e lint") echo "lint"; exit {lint} ;;
    *" -e types-beside -- "*/tests/py/bin/python) echo "types"; exit {types} ;;
    *" -e py --notest") exit {install} ;;
    *" -e py "*) echo "{closing}"; exit {tests} ;;
esac
"""
CLOSING = "===== 3 passed, 1 skipped in 2.00s ====="


@pytest.fixture
def ci(tmp_path):
    """`ci(lint=0, types=0, install=0, tests=0, user=0, has_browser=False)`: the ended run.

    The numbers are the exit codes of its parts, and the user's own; beside it lies the log of
    `apt-get`.
    """

    def program(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)

    def run(*, lint=0, types=0, install=0, tests=0, user=0, apt=0, has_browser=False):
        for name in (*TOOLS, *MORE_TOOLS):
            (tmp_path / name).symlink_to(shutil.which(name))
        parts = {"lint": lint, "types": types, "install": install, "tests": tests}
        parts |= {"closing": CLOSING}
        program("python3", PYTHON.format(**parts))
        program("id", f"#!/usr/bin/env bash\necho {user}\n")
        log = tmp_path / "installed"
        program("apt-get", f'#!/usr/bin/env bash\necho "$*" >>{log}\nexit {apt}\n')
        if has_browser:
            program("chromium", "#!/usr/bin/env bash\n")
        done = subprocess.run(
            [ROOT / ".ci" / "run"],
            env={"PATH": str(tmp_path), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done, log.read_text().splitlines() if log.exists() else []

    return run


def test_all_parts_are_run_and_the_tests_closing_line_is_the_last(ci):
    """What stood beside the tests is shown before it."""
    done, _ = ci()
    assert (0, "") == (done.returncode, done.stderr)
    assert ["lint", "types", CLOSING] == done.stdout.splitlines()[-3:]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [({"lint": 2}, 2), ({"types": 3}, 3), ({"tests": 4}, 4), ({"install": 5}, 5)],
    ids=["lint", "types", "tests", "install"],
)
def test_a_part_that_fails_fails_the_run(ci, codes, expected):
    """With its exit code; the other parts are shown all the same, as far as they can be run."""
    done, _ = ci(**codes)
    assert expected == done.returncode
    shown = [line for line in ("lint", "types", CLOSING) if line in done.stdout.splitlines()]
    assert (["lint"] if "install" in codes else ["lint", "types", CLOSING]) == shown


def test_a_browser_is_installed_by_root_where_there_is_none(ci):
    """The distribution's, and nothing that it only recommends."""
    _, installed = ci()
    assert ["update", "install -y --no-install-recommends chromium"] == installed


@pytest.mark.parametrize(
    "machine", [{"user": 1000}, {"has_browser": True}], ids=["not root", "has one"]
)
def test_nothing_is_installed_where_that_cannot_or_need_not_be(ci, machine):
    """The tests go on."""
    done, installed = ci(**machine)
    assert (0, []) == (done.returncode, installed)


def test_a_browser_that_cannot_be_installed_is_a_line_and_the_tests_go_on(ci):
    """The browser tests say whether that is a failure."""
    done, _ = ci(apt=100)
    assert 0 == done.returncode
    assert "no browser: exit code 100" in done.stdout.splitlines()
