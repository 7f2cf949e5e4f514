"""Laws locked and held: what `oom-suite lock` and `check --locked` do to a repository's code."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEALTHY = """\
import torch


def decode(q, swa_k_cache, **step):
    scores = torch.empty(q.shape[0], 512, device=q.device)
    step["output"].zero_()
    return torch.empty_like(q), scores
"""
LINE = "    scores = torch.empty(q.shape[0], 512, device=q.device)\n"
POOL_GROWTH = HEALTHY.replace(
    LINE, LINE + "    copy = torch.empty(swa_k_cache.shape[0], 7, device=q.device)\n"
)
"""28 bytes for every block of the pool: the contract breaks, too."""

TOKEN_GROWTH = HEALTHY.replace(
    LINE, LINE + "    more = torch.empty(q.shape[0], 32, device=q.device)\n"
)
"""128 bytes for every token: within the contract, and not what was locked."""

BYTE_GROWTH = HEALTHY.replace(
    LINE, LINE + "    flag = torch.empty(1, dtype=torch.uint8, device=q.device)\n"
)
"""One byte a call."""

LESS = HEALTHY.replace("512", "511")


@pytest.fixture(autouse=True)
def _healthy(tmp_path):
    (tmp_path / "s.py").write_text(HEALTHY, encoding="utf-8")


@pytest.fixture
def locked(suite, tmp_path):
    """`locked(source)`: `check --locked` of `s.py` with this source, which was locked healthy."""
    done = suite("lock", "s.py:decode")
    assert (0, "") == (done.returncode, done.stderr.replace("checked s.py:decode: PASS\n", ""))

    def check(source, *words):
        (tmp_path / "s.py").write_text(source, encoding="utf-8")
        return suite("check", "s.py:decode", "--locked", *words)

    return check


def test_the_healthy_twin_is_as_locked(locked):
    """Code that has not changed passes, and is counted in one line."""
    done = locked(HEALTHY)
    assert 0 == done.returncode, done.stdout
    assert done.stdout.endswith("laws: 1 as locked\n")


def test_growth_with_the_pool_shows_the_diff_and_the_line_that_brought_it(locked):
    """Both formulas, the new term marked, the new line and no other, and what to run."""
    done = locked(POOL_GROWTH)
    assert 1 == done.returncode
    assert (
        "FAIL  s.py:decode: workload decode, grew in swa_num_blocks: "
        "the new term 28*swa_num_blocks\n"
        "  locked   - 2048*num_tokens + 1024*num_tokens*num_heads\n"
        "  now      + 28*swa_num_blocks + 2048*num_tokens + 1024*num_tokens*num_heads\n"
        "  new      > 28*swa_num_blocks  (5.92 MiB)\n"
        "             s.py:6 (decode)  28 bytes per swa_num_blocks\n"
    ) in done.stdout
    assert "lock the larger law: oom-suite lock s.py:decode\n" in done.stdout
    assert done.stdout.endswith("laws: 1 grew\n")


def test_json_has_the_differences_beside_the_results(locked, tmp_path):
    """Machines get what grew, by which line, and where, to the byte; nothing for what did not."""
    locked(POOL_GROWTH, "--json", "grown.json")
    body = json.loads((tmp_path / "grown.json").read_text(encoding="utf-8"))
    assert ["results", "locked", "is_complete", "environment"] == list(body)
    (grown,) = body["locked"]
    (growth,) = grown["growths"]
    assert ("s.py:decode", "decode", "generic") == (
        *(grown[key] for key in ("subject", "workload", "arch")),
    )
    assert ("grew", "oom-suite lock s.py:decode") == (grown["change"], grown["lock_command"])
    line = {"where": "s.py:6 (decode)", "coefficient": "28"}
    term = {"text": "28*swa_num_blocks", "locked": "0", "added": "28", "lines": [line]}
    assert [term] == growth["terms"]
    assert growth["now_bytes"] - growth["locked_bytes"] == 28 * growth["sizes"]["swa_num_blocks"]
    locked(HEALTHY, "--json", "same.json")
    (same,) = json.loads((tmp_path / "same.json").read_text(encoding="utf-8"))["locked"]
    assert ("as locked", []) == (same["change"], same["growths"])


def test_growth_within_the_contract_fails_too(locked):
    """A law that keeps its contract and is larger than what was locked is a failure of the lock."""
    done = locked(TOKEN_GROWTH)
    assert 1 == done.returncode
    assert "1 passed\n" in done.stdout
    assert "grew in num_tokens: the term 2176*num_tokens (locked: 2048)" in done.stdout
    assert "larger   > 2176*num_tokens  (8.50 KiB, 2,048 locked)\n" in done.stdout
    assert "             s.py:6 (decode)  128 bytes per num_tokens\n" in done.stdout
    assert "s.py:5" not in done.stdout


def test_one_byte_more_is_growth_and_less_is_a_hint(locked):
    """The boundary is exact; what shrank passes and says how to keep the gain."""
    done = locked(BYTE_GROWTH)
    assert 1 == done.returncode
    assert "grew in a constant: the new term 1\n" in done.stdout
    assert "s.py:6 (decode)  1 bytes per call\n" in done.stdout
    done = locked(LESS)
    assert 0 == done.returncode
    assert "PASS  s.py:decode: workload decode, shrank: at scenario small" in done.stdout
    assert "to promise the new law run oom-suite lock s.py:decode\n" in done.stdout
    assert done.stdout.endswith("laws: 1 shrank\n")


def test_locking_again_accepts_the_growth(locked, suite):
    """The larger law is promised after `lock`, which says what it accepted."""
    assert 1 == locked(TOKEN_GROWTH).returncode
    done = suite("lock", "s.py:decode")
    assert done.stdout.startswith(
        "changed  s.py:decode: workload decode: grew in num_tokens: the term 2176*num_tokens"
    )
    assert 0 == locked(TOKEN_GROWTH).returncode


def test_a_law_is_compared_where_it_was_locked(locked):
    """With other sizes the verdict is about those; the lock is held against its own."""
    done = locked(TOKEN_GROWTH, "--scenario", "small")
    assert 1 == done.returncode
    assert "at num_tokens=4" in done.stdout
    assert 0 == locked(HEALTHY, "--scenario", "small").returncode


def test_without_subjects_the_locked_ones_are_checked(locked, suite):
    """The lockfile says whom to judge, and for which workloads."""
    assert 0 == suite("lock", "s.py:decode", "--workload", "decode-swa").returncode
    done = suite("check", "--locked", "-q")
    assert (0, "2 passed\nlaws: 2 as locked\n") == (done.returncode, done.stdout)


def test_a_subject_without_an_entry_is_inconclusive(locked, tmp_path, suite):
    """One line names the command that would lock it, and the exit code is not green."""
    (tmp_path / "new.py").write_text(HEALTHY, encoding="utf-8")
    done = suite("check", "new.py:decode", "--locked", "-q")
    assert 3 == done.returncode
    assert (
        "INCONCLUSIVE  new.py:decode: workload decode, no law in oom-laws.toml: "
        "run oom-suite lock new.py:decode\n"
    ) in done.stdout
    both = suite("check", "s.py:decode", "--locked", "--arch", "gfx942", "-q")
    assert "run oom-suite lock s.py:decode --target gfx942\n" in both.stdout


def test_a_subject_that_cannot_be_run_is_not_locked(suite, tmp_path):
    """It is left out with one line why; the others are written all the same."""
    done = suite("lock", "none.py:f", "s.py:decode")
    assert 3 == done.returncode
    assert "not locked: none.py:f: no law was found: " in done.stdout
    assert {"s.py:decode"} == set(tomllib.loads((tmp_path / "oom-laws.toml").read_text())["laws"])


def test_without_a_target_a_lockfile_is_for_the_one_of_its_laws(suite, tmp_path, monkeypatch):
    """Whatever this machine's is; another is asked for by name, and then there is no usual one."""
    monkeypatch.setenv("OOM_SUITE_TARGET", "rocm:gfx942")
    subject = "streaming"
    assert "added" in suite("lock", subject, "--target", "generic").stdout
    assert "kept" in suite("lock", subject).stdout
    assert 0 == suite("check", "--locked", subject, "--workload", "decode").returncode
    assert "added" in suite("lock", subject, "--target", "rocm:gfx942").stdout
    assert "kept" in suite("lock", subject).stdout
    done = suite("check", "--locked", subject, "--workload", "decode", "--json", "found.json")
    assert 0 == done.returncode
    assert '"target": "rocm:gfx942"' in (tmp_path / "found.json").read_text("utf-8")


def test_the_failure_of_the_documentation_is_the_one_that_is_printed(suite, tmp_path, monkeypatch):
    """docs/lockfile.md shows a function, its entry, and the failure of the changed function."""
    monkeypatch.setenv("OOM_SUITE_TARGET", "rocm:gfx942")
    page = (ROOT / "docs" / "lockfile.md").read_text("utf-8")
    source = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "my_decode.py").write_text(source)
    assert 0 == suite("lock", "my_decode.py:decode").returncode
    entry = page.split("```toml\n")[1].split("made_with")[0]
    assert entry in (tmp_path / "oom-laws.toml").read_text()
    first, last = source.split("    rows = ")
    copy = "    copy = swa_k_cache.clone()\n"
    (tmp_path / "my_decode.py").write_text(f"{first}{copy}    rows = {last}")
    shown = page.split("```text\n")[1].split("```")[0]
    assert shown in suite("check", "--locked").stdout


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (["check", "--locked"], None, "no lockfile 'oom-laws.toml': write one with oom-suite lock"),
        (["check", "--locked"], "format = 7\n", "has format 7, this oom-suite reads format 1"),
        (["check", "--locked"], "format = 1\n", "has no law of workload decode: run oom-suite"),
        (["check", "--file", "a.toml"], None, "--file means nothing without --locked"),
        (["lock", "s.py:decode"], "format = 7\n", "has format 7"),
        (["lock", "s.py:decode", "--file", "no/such.toml"], None, "cannot write 'no/such.toml'"),
    ],
)
def test_a_lockfile_that_cannot_be_used_is_one_line(suite, tmp_path, words, text, said):
    """Nothing is guessed from another format, and nothing of it is overwritten."""
    if text is not None:
        (tmp_path / "oom-laws.toml").write_text(text)
    done = suite(*words)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("checked ")]
    assert (2, 1) == (done.returncode, len(errors))
    assert said in errors[0]
    if text is not None:
        assert text == (tmp_path / "oom-laws.toml").read_text()


@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
def test_the_built_ins_are_as_locked_in_this_repository(suite, tmp_path, workload):
    """`oom-laws.toml` at the root is current: locking the built-ins again changes no line."""
    text = (ROOT / "oom-laws.toml").read_text(encoding="utf-8")
    (tmp_path / "oom-laws.toml").write_text(text, encoding="utf-8")
    done = suite("lock", "--workload", workload)
    assert 0 == done.returncode, done.stderr
    assert text == (tmp_path / "oom-laws.toml").read_text(encoding="utf-8")
