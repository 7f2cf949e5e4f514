"""Reads the text that compute-sanitizer writes: blocks of lines behind ``=========``.

A block begins with what went wrong; indented lines say where and by whom:

    ========= Invalid __global__ read of size 4 bytes
    =========     at load_rows+0x1b0 in /src/kernels.py:12
    =========     by thread (33,0,0) in block (0,0,0)
    =========     Address 0x7f14c2000204 is out of bounds
    =========     and is 5 bytes after the nearest allocation at 0x7f14c2000000 of size 512 bytes

Source: NVIDIA Compute Sanitizer 2025.3 user manual, chapters Memcheck, Racecheck, Initcheck and
Synccheck, and the tools' ``--help``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from oom_suite.records.frame import Frame
from oom_suite.records.safety import Hit, Region

_PREFIX = re.compile(r"^=========(?P<body>.*)$")
_BEGINNINGS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("sanitizer-out-of-bounds", re.compile(r"Invalid __(?:global|shared|local)__ \w+ of size \d+")),
    ("sanitizer-misaligned", re.compile(r"Misaligned \w+|.*misaligned address")),
    ("sanitizer-uninitialized", re.compile(r"Uninitialized __\w+__ memory read of size \d+")),
    ("sanitizer-race", re.compile(r"(?:Error|Warning): .*(?:[Rr]ace|[Hh]azard)")),
    ("sanitizer-race", re.compile(r"(?:ERROR|WARN|INFO)?:?\s*.*Potential \w+ hazard detected")),
    (
        "sanitizer-barrier",
        re.compile(r"(?:Barrier error detected|Invalid barrier|Divergent thread)"),
    ),
    ("sanitizer-leak", re.compile(r"Leaked [\d,]+ bytes")),
    ("sanitizer-free", re.compile(r"(?:Malloc/Free|Double free|Use after free)")),
    ("sanitizer-launch", re.compile(r"Program hit \S+ \(error \d+\).* due to")),
    ("sanitizer-launch", re.compile(r"Program hit \S+ \(error \d+\)")),
)
_AT = re.compile(
    r"\bat (?:0x[0-9a-f]+ in )?(?P<kernel>\S.*?)\+0x[0-9a-f]+"
    r"(?: in (?P<file>.+):(?P<line>\d+))?$"
)
_OLD_AT = re.compile(r"\bat 0x[0-9a-f]+ in (?P<file>.+):(?P<line>\d+):(?P<kernel>\S.*)$")
_DISTANCE = re.compile(
    r"is (?P<distance>[\d,]+) bytes (?P<side>after|before|inside) the nearest allocation"
    r"(?: at (?P<base>0x[0-9a-f]+) of size (?P<size>[\d,]+) bytes)?"
)
_SIZE = re.compile(r"of size (?P<size>\d+)")
_SUMMARY = re.compile(r"ERROR SUMMARY: (?P<errors>\d+) error")
_RACES = re.compile(r"RACECHECK SUMMARY: (?P<hazards>\d+) hazards? displayed")
_UNSUPPORTED = re.compile(
    r"(?:Device not supported|No CUDA-capable device|no CUDA-capable device|"
    r"Unable to find a supported device|Target application terminated before first instrumented)"
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a report says.

    Attributes:
        hits: each error once, in the order of their first time.
        num_errors: the tool's own count; None where it wrote no summary.
        refusal: the line that says that the device is not supported; empty otherwise.
    """

    hits: tuple[Hit, ...]
    num_errors: int | None
    refusal: str = ""


def parse(text: str) -> Parsed:
    """The errors in a report, as hits.

    Repeats of one error (the same kind, kernel and line, from other threads) are one hit.
    """
    bodies = [match["body"] for line in text.splitlines() if (match := _PREFIX.match(line))]
    found: dict[tuple[str, object, str], Hit] = {}
    num_errors, refusal = None, ""
    for position, body in enumerate(bodies):
        line = body.strip()
        if match := _SUMMARY.match(line):
            num_errors = int(match["errors"])
        elif match := _RACES.match(line):
            num_errors = int(match["hazards"])
        elif _UNSUPPORTED.search(line):
            refusal = line
        elif kind := _kind(body):
            hit = _hit(kind, line, _details(bodies, position + 1))
            found.setdefault((hit.kind, hit.frame, _without_numbers(hit.text)), hit)
    return Parsed(tuple(found.values()), num_errors, refusal)


def _kind(body: str) -> str:
    """The kind of error that this line begins; empty where it is none's beginning."""
    line = body.strip()
    if body.startswith("    ") or not line:
        return ""
    return next((kind for kind, begins in _BEGINNINGS if begins.match(line)), "")


def _details(bodies: list[str], first: int) -> list[str]:
    """The indented lines below the beginning of an error."""
    found = []
    for body in bodies[first:]:
        if not body.startswith("    "):
            break
        found.append(body.strip())
    return found


def _hit(kind: str, what: str, details: list[str]) -> Hit:
    frame: Frame | None = None
    kernel, where = "", ""
    for line in (what, *details):
        if match := _AT.search(line) or _OLD_AT.search(line):
            if not kernel:
                kernel = match["kernel"]
                if match["file"]:
                    frame = Frame(match["file"], int(match["line"]), kernel)
        elif match := _DISTANCE.search(line):
            where = match[0]
    text = f"{what} in {kernel}" if kernel and kernel not in what else what
    return Hit(kind, f"{text}: {where}" if where else text, frame, _region(what, where))


def _region(what: str, where: str) -> Region | None:
    """The bytes that were touched, counted from the nearest allocation's first."""
    match = _DISTANCE.search(where)
    if match is None or match["size"] is None:
        return None
    distance, size = _number(match["distance"]), _number(match["size"])
    touched = _SIZE.search(what)
    num_bytes = int(touched["size"]) if touched else 1
    if match["side"] == "before":
        first = -distance
    else:
        # The tool counts from the last byte: one byte after it is the first that is outside.
        first = size + distance - 1 if match["side"] == "after" else distance
    return Region("allocation", "outside of it", None, None, first, num_bytes, distance)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _without_numbers(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+|[\d,]+ bytes (?:after|before|inside)", "#", text)
