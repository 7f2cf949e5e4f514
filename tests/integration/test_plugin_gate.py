"""The regression gate, run on planted subjects."""

from __future__ import annotations

import pytest

DECODE = """
import torch

def grows(swa_k_cache, output, **step):
    whole = swa_k_cache.to(torch.bfloat16)
    output.fill_(1)

def healthy(swa_k_cache, swa_indices, output, **step):
    read = swa_k_cache.view(-1, 584)[swa_indices.long().clamp_min(0)]
    output.fill_(1)
"""
TEST = "test_peak_keeps_its_contract"


@pytest.fixture
def decode_file(pytester):
    """The path of a file with a decode path that reads the whole pool, and its healthy twin."""
    return pytester.makepyfile(decode=DECODE).name


@pytest.mark.parametrize("xdist", [(), ("-n1",)], ids=["plain", "xdist"])
def test_it_fails_a_path_that_reads_the_whole_pool_and_passes_its_twin(
    oom_gate, decode_file, xdist
):
    """The failure names the law, the line and its bytes, and shows no Python traceback."""
    subjects = [f"{decode_file}:grows", f"{decode_file}:healthy"]
    done, results = oom_gate("-k", "decode-swa", "-v", *xdist, subjects=subjects)
    done.assert_outcomes(failed=1, passed=1, deselected=0 if xdist else 2)
    assert [("FAIL", 1168.0 * 64), ("PASS", None)] == [
        (r["verdict"], r["blame"][0]["bytes_per_unit"] if r["blame"] else None) for r in results
    ]
    done.stdout.fnmatch_lines(
        [
            f"_*_ {TEST}[[]decode.py:grows-decode-swa-shadow] _*_",
            "FAIL  decode.py:grows: workload decode-swa, lane shadow, scenario small",
            "  why      peak grows with swa_num_blocks (74,752 bytes per block)",
            "  blame    decode.py:4 (grows)",
            "             * at the scenario, 74,752 bytes per swa_num_blocks",
            "*= oom_suite =*",
            "workload decode-swa, lane shadow:",
            "decode.py:grows *FAIL*",
            "decode.py:healthy *PASS*",
            "1 passed, 1 failed",
        ]
    )
    done.stdout.no_fnmatch_line("*Traceback*")
    done.stdout.no_fnmatch_line(">*")
    done.stdout.no_fnmatch_line("*judging.py*")


def test_the_bug_among_the_built_ins_passes_because_it_is_found_again(oom_gate):
    """Verbose output and the table say which issue it reproduces."""
    done, (result,) = oom_gate("-v", "-k", "decode-swa", subjects=["full_dequant"])
    done.assert_outcomes(passed=1, deselected=1)
    assert ("FAIL", "FAIL") == (result["verdict"], result["expected"])
    done.stdout.fnmatch_lines(
        [f"*{TEST}[[]full_dequant-decode-swa-shadow] PASSED (reproduces #41962)*"]
    )


def test_a_device_adds_a_test_in_the_measure_lane(oom_gate, decode_file):
    """Real tensors ask for what the fake ones asked for."""
    arguments = ("--oom-device=cpu", "-k", "decode-swa", "-v")
    done, results = oom_gate(*arguments, subjects=[f"{decode_file}:healthy"])
    done.assert_outcomes(passed=2, deselected=2)
    assert ["shadow", "measure"] == [result["lane"] for result in results]
    assert results[1]["reason"].endswith("measured to the byte")


def test_junit_has_the_verdict_and_the_law(oom_gate, decode_file, pytester):
    """As properties of the test, and the reason as the failure's message."""
    arguments = ("--junit-xml=junit.xml", "-k", "decode-swa")
    oom_gate(*arguments, subjects=[f"{decode_file}:grows"])
    text = (pytester.path / "junit.xml").read_text()
    assert '<property name="oom_verdict" value="FAIL" />' in text
    assert '<property name="oom_law" value="74752*swa_num_blocks" />' in text
    assert '<failure message="FAIL: peak grows with swa_num_blocks (74,752 bytes' in text
