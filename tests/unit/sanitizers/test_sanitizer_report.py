"""A sanitizer's report is read into hits: each error once, with its place and its bytes."""

from __future__ import annotations

import pytest

from oom_suite.records.trace import Frame
from oom_suite.sanitizers.parse import parse
from oom_suite.sanitizers.record import STEP_DONE, SanitizerOutcome, SanitizerRun
from oom_suite.sanitizers.run import judged

READ = """========= COMPUTE-SANITIZER
========= Invalid __global__ read of size 4 bytes
=========     at load_rows+0x1b0 in /src/kernels.py:12
=========     by thread (33,0,0) in block (0,0,0)
=========     Access at 0x7f14c2000204 is out of bounds
=========     and is 5 bytes after the nearest allocation at 0x7f14c2000000 of size 512 bytes
=========
========= Invalid __global__ read of size 4 bytes
=========     at load_rows+0x1b0 in /src/kernels.py:12
=========     by thread (34,0,0) in block (0,0,0)
=========     Access at 0x7f14c2000208 is out of bounds
=========     and is 9 bytes after the nearest allocation at 0x7f14c2000000 of size 512 bytes
=========
========= ERROR SUMMARY: 2 errors
"""

OLDER = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 1 bytes
=========     at 0x160 in /src/old.cu:40:store_rows(unsigned char *, int)
=========     by thread (0,0,0) in block (1,0,0)
=========     Address 0x7fb6c2000000 is out of bounds
=========     and is 512 bytes before the nearest allocation at 0x7fb6c2000200 of size 1,024 bytes
========= ERROR SUMMARY: 1 error
"""

NO_LINE = """========= COMPUTE-SANITIZER
========= Invalid __global__ read of size 16 bytes
=========     at void at::native::gather<float>(int)+0x40
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0x1 is out of bounds
========= ERROR SUMMARY: 1 error
"""

UNINITIALIZED = """========= COMPUTE-SANITIZER
========= Uninitialized __global__ memory read of size 2 bytes
=========     at sum_rows+0x90 in /src/kernels.py:30
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0x7f0e42000000
========= ERROR SUMMARY: 1 error
"""

RACE = """========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at reduce+0x2f0 in /src/kernels.py:51
=========     and Read access at reduce+0x350 in /src/kernels.py:53 [1016 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""

BARRIER = """========= COMPUTE-SANITIZER
========= Barrier error detected. Divergent thread(s) in block.
=========     at reduce+0x20 in /src/kernels.py:60
=========     by thread (1,0,0) in block (0,0,0)
========= ERROR SUMMARY: 1 error
"""

CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
UNSUPPORTED = "========= COMPUTE-SANITIZER\n========= Error: Device not supported. Please refer\n"


def test_an_over_read_has_its_line_and_its_bytes():
    """Two threads at one line are one hit; the region begins where the access did."""
    found = parse(READ)
    (hit,) = found.hits
    assert 2 == found.num_errors
    assert "sanitizer-out-of-bounds" == hit.kind
    assert Frame("/src/kernels.py", 12, "load_rows") == hit.frame
    assert (516, 4, 5) == (
        hit.region.first_byte,
        hit.region.num_bytes,
        hit.region.distance_bytes,
    )


def test_an_older_report_is_read_too():
    """File, line and kernel stand in another order; a byte before the allocation is negative."""
    (hit,) = parse(OLDER).hits
    assert Frame("/src/old.cu", 40, "store_rows(unsigned char *, int)") == hit.frame
    assert (-512, 1) == (hit.region.first_byte, hit.region.num_bytes)


def test_a_kernel_without_line_information_has_no_frame():
    """The kernel's name is in the text, and nothing is made up."""
    (hit,) = parse(NO_LINE).hits
    assert (None, None) == (hit.frame, hit.region)
    assert "in void at::native::gather<float>(int)" in hit.text


@pytest.mark.parametrize(
    ("report", "kind", "num_errors"),
    [
        (UNINITIALIZED, "sanitizer-uninitialized", 1),
        (RACE, "sanitizer-race", 1),
        (BARRIER, "sanitizer-barrier", 1),
    ],
    ids=["initcheck", "racecheck", "synccheck"],
)
def test_every_tools_words_are_known(report, kind, num_errors):
    """Each tool's error has a kind of its own."""
    found = parse(report)
    assert ([kind], num_errors) == ([hit.kind for hit in found.hits], found.num_errors)


def test_a_race_is_placed_at_its_first_access():
    """The line of a race stands in the same line as its name."""
    (hit,) = parse(RACE).hits
    assert Frame("/src/kernels.py", 51, "reduce") == hit.frame


@pytest.mark.parametrize("text", ["", "nothing of the kind", "========= COMPUTE-SANITIZER\n"])
def test_text_without_a_summary_has_no_count(text):
    """Nothing is not the same as no errors."""
    found = parse(text)
    assert ((), None) == (found.hits, found.num_errors)


@pytest.mark.parametrize(
    ("report", "code", "said", "outcome", "words"),
    [
        (CLEAN, 0, STEP_DONE, SanitizerOutcome.CLEAN, "no errors in one step"),
        (READ, 86, STEP_DONE, SanitizerOutcome.FOUND, "2 errors"),
        (READ, 1, "CUDA error: unspecified launch failure", SanitizerOutcome.FOUND, "2 errors"),
        (UNSUPPORTED, 1, "", SanitizerOutcome.NO_DEVICE, "Device not supported"),
        (CLEAN, 1, "ValueError: no\n", SanitizerOutcome.FAILED, "exit code 1: ValueError: no"),
        (CLEAN, 2, "Found no NVIDIA driver", SanitizerOutcome.NO_DEVICE, "no NVIDIA driver"),
        ("", 0, STEP_DONE, SanitizerOutcome.FAILED, "no summary"),
        (CLEAN.replace("0", "3"), 86, STEP_DONE, SanitizerOutcome.FAILED, "3 errors"),
    ],
    ids=["clean", "found", "crashed", "device", "raised", "driver", "empty", "unread"],
)
def test_every_end_is_classified(report, code, said, outcome, words):
    """Only a whole step and a summary without errors is clean."""
    run = SanitizerRun("s", "memcheck", "small", SanitizerOutcome.CLEAN, "")
    found = judged(run, report, code, said)
    assert outcome is found.outcome
    assert words in found.reason
