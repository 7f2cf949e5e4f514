"""`oom-suite measure` and `oom-suite compare` as their users meet them."""

from __future__ import annotations

import json

import pytest

SUBJECTS = """
import torch

_runs = []


def good(q, **step):
    torch.empty_like(q)
    step["output"].zero_()


def hides(q, swa_k_cache, **step):
    step["output"].zero_()
    # More with real tensors than without memory: what no prediction can know.
    if type(q) is torch.Tensor:
        torch.empty(100, dtype=torch.uint8, device=q.device)


def changes(q, **step):
    _runs.append(torch.empty(len(_runs) + 1, device=q.device))
    step["output"].zero_()


def raises(q, **step):
    raise ValueError("no such thing")
"""


@pytest.fixture
def run(tmp_path, suite):
    (tmp_path / "s.py").write_text(SUBJECTS, encoding="utf-8")
    return suite


def test_a_row_holds_the_predicted_and_the_measured_figures(run, tmp_path):
    """Every row is explained: exit code 0, and the JSON says where, when and how."""
    done = run("measure", "token_gather", "s.py:good", "--repeat", "3", "--json", "m.json")
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "2 explained" in done.stdout
    body = json.loads((tmp_path / "m.json").read_text("utf-8"))
    assert "oom-suite measure token_gather s.py:good --repeat 3 --json m.json" == body["command"]
    assert ["cpu"] == [place["device_type"] for place in body["measured_on"]]
    assert (2, 2) == (body["num_rows"], body["num_explained"])
    first = body["rows"][0]
    assert ("token_gather", "decode", "small", 3) == (
        first["subject"],
        first["workload"],
        first["scenario"],
        first["num_runs"],
    )
    assert first["is_repeatable"] is True
    assert first["predicted"]["requested_bytes"] == first["measured"]["requested_bytes"] > 0


def test_unexplained_bytes_fail_the_row_at_the_exact_bound(run):
    """100 bytes that the prediction does not know: allowed with 100, not with 99."""
    done = run("measure", "s.py:hides")
    assert 1 == done.returncode
    assert "unexplained: s.py:hides decode small: +100 bytes requested measured" in done.stdout
    assert 1 == run("measure", "s.py:hides", "--unexplained", "99B").returncode
    assert 0 == run("measure", "s.py:hides", "--unexplained", "100B").returncode


def test_the_gate_is_not_green_over_the_bound(run):
    """`check --lane measure` is inconclusive over the bound, and passes within it."""
    words = ("check", "s.py:hides", "--lane", "measure", "--scenario", "small")
    done = run(*words)
    assert 3 == done.returncode
    assert "unexplained: +100 requested" in done.stdout
    assert 3 == run(*words, "--unexplained", "99").returncode
    assert 0 == run(*words, "--unexplained", "100").returncode


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("s.py:good", ": 1 of 1 to the byte, 2 times alike\n  s.py:good  "),
        ("s.py:changes", ": 0 of 1 to the byte; not alike in 2 runs: s.py:changes\n"),
    ],
    ids=["alike", "another"],
)
def test_under_the_table_stands_how_repeats_agreed(run, subject, said):
    """Where it was measured, how exactly, how often; and what did not repeat."""
    words = ("--lane", "measure", "--scenario", "small", "--workload", "decode", "--repeat", "2")
    done = run("check", subject, *words)
    (line,) = (part for part in done.stdout.split("\n\n") if part.startswith("measured on "))
    assert said in line + "\n"


def test_a_call_that_takes_other_bytes_each_time_is_not_repeatable(run, tmp_path):
    """What is not equal to the byte on every run is no explained row."""
    done = run("measure", "s.py:changes", "--repeat", "2", "--json", "m.json")
    assert 1 == done.returncode
    (row,) = json.loads((tmp_path / "m.json").read_text("utf-8"))["rows"]
    assert row["is_repeatable"] is False


def test_a_row_that_cannot_run_is_classified_and_the_others_go_on(run, tmp_path):
    """Exit code 3: nothing disagreed, and not everything was seen."""
    done = run("measure", "s.py:raises", "s.py:good", "--json", "m.json")
    assert 3 == done.returncode
    assert "raised: s.py:raises decode small: ValueError: no such thing" in done.stdout
    rows = json.loads((tmp_path / "m.json").read_text("utf-8"))["rows"]
    assert ["raised", "explained"] == [row["outcome"] for row in rows]


def test_what_does_not_fit_this_machine_is_not_started(run):
    """A pool that no machine holds is a row of its own, in one line."""
    done = run("measure", "full_dequant", "--set", "num_blocks=30000000")
    assert 3 == done.returncode
    assert "out of memory: full_dequant decode" in done.stdout
    assert "not measured: it would take" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--grid", "--set", "num_blocks=4"], "with --grid, which has its own sizes"),
        (["--unexplained", "some"], "not an amount of bytes: 'some'"),
        (["nothing"], "unknown subject 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_of_measure_is_one_line_and_exit_code_2(run, words, said):
    done = run("measure", *words)
    assert 2 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert said in done.stderr


def test_two_files_are_compared_call_by_call(run, tmp_path):
    """Equal files exit 0, a grown figure 1, another environment 2."""
    assert 0 == run("measure", "s.py:good", "--json", "old.json").returncode
    done = run("compare", "old.json", "old.json")
    assert (0, "1 of 1 calls equal\n") == (done.returncode, done.stdout)
    text = (tmp_path / "old.json").read_text("utf-8")
    body = json.loads(text)
    body["rows"][0]["measured"]["requested_bytes"] += 1
    (tmp_path / "new.json").write_text(json.dumps(body), encoding="utf-8")
    done = run("compare", "old.json", "new.json")
    assert 1 == done.returncode
    assert "requested +1 bytes" in done.stdout
    body["measured_on"][0]["torch"] = "1.0"
    (tmp_path / "new.json").write_text(json.dumps(body), encoding="utf-8")
    done = run("compare", "old.json", "new.json")
    assert 2 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert "different environments: torch" in done.stderr
    assert 1 == run("compare", "old.json", "new.json", "--across-environments").returncode
