"""Marked terms and blamed lines, each with the sizes that its bytes belong to."""

from __future__ import annotations

from dataclasses import replace

from known_results import BUG

from oom_suite.records import Blame, Breach, HostMemory, Law, Polynomial, Verdict
from oom_suite.report.wording import failure_text

SIZES = {"tokens": 4, "pool": 64}
HERE = Polynomial.of({("tokens",): 256, ("tokens", "tokens"): 1, (): 8}, SIZES)
THERE = Polynomial.of({("pool",): 2, (): 8}, SIZES)
FAILED = replace(
    BUG,
    sizes=SIZES,
    law=Law((HERE, THERE), SIZES),
    peak_requested_bytes=1048,
    budget=None,
    unseen=(),
    notes=(),
    next_command="",
    blame=(),
)


def rows(result):
    return failure_text(result).splitlines()[3:-1]


def test_the_terms_of_the_breach_are_marked_and_no_others():
    """Not every term that a blamed axis is in: 256*tokens is as promised."""
    (square,) = (term for term in HERE.parts if str(term) == "tokens**2")
    blame = (Blame("a.py", 3, "f", 16, "tokens", 9.0, SIZES),)
    assert [
        "  law        256*tokens    1.00 KiB",
        "           > tokens**2         16 B",
        "             8                  8 B",
        "           the maximum of this and 1 more; this one wins at the scenario",
        "  blame    a.py:3 (f)",
        "             16 B at the scenario, 9 bytes per tokens",
    ] == rows(replace(FAILED, breach=Breach(SIZES, HERE, (square,)), blame=blame))


def test_bytes_of_other_sizes_are_said_to_be_of_those():
    """The axes that were moved are named, the others are as at the scenario."""
    far = {"tokens": 4, "pool": 1 << 20}
    blame = (Blame("a.py", 3, "f", 2 << 20, "pool", 2.0, far),)
    breach = Breach(far, THERE, THERE.parts[:1])
    assert [
        "  law        256*tokens    1.00 KiB",
        "             tokens**2         16 B",
        "             8                  8 B",
        "           the maximum of this and 1 more; this one wins at the scenario",
        "           what breaks the promise, at pool=1,048,576:",
        "           > 2*pool    2.00 MiB",
        "             8              8 B",
        "  blame    a.py:3 (f)",
        "             2.00 MiB at pool=1,048,576, 2 bytes per pool",
    ] == rows(replace(FAILED, breach=breach, blame=blame))


def test_what_follows_no_formula_is_marked_as_it_was_seen():
    seen = "1,048 bytes at pool=64, 4,096 at pool=512"
    assert f"           > {seen}" in rows(replace(FAILED, breach=Breach(SIZES, seen=seen)))


def test_a_term_of_the_hosts_law_is_marked_below_it():
    """And none of the device's, though the formulas are equal."""
    law = Law((HERE,), SIZES)
    host = HostMemory("pageable", law, 1048, Verdict.FAIL, "grows")
    breach = Breach(SIZES, HERE, HERE.parts[:1], memory="host memory")
    found = failure_text(replace(FAILED, host=(host,), breach=breach)).splitlines()
    assert "  law        256*tokens    1.00 KiB" in found
    at = found.index("  host     pageable 1.02 KiB (1,048 bytes): 256*tokens + tokens**2 + 8")
    assert [
        "           what breaks the promise, at the scenario:",
        "           > 256*tokens    1.00 KiB",
        "             tokens**2         16 B",
        "             8                  8 B",
    ] == found[at + 1 : at + 5]
