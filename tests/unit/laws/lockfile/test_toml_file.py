"""The lockfile's text: what is written is read back, in a stable order; what is not, is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oom_suite.errors import UsageError
from oom_suite.laws.lockfile import dumps, loads, merged, read

HEAD = "format = 1\n"


def by_key(*entries):
    return {entry.key: entry for entry in entries}


def test_entries_read_back_as_they_were_written(entry, law):
    """Formulas, sizes, held axes, notes, laws elsewhere, bytes and versions all survive."""
    other = law("7*t", "3*k + 1", k=32, held=("block_size", "k"), notes=["held at k=32: jumps"])
    wanted = by_key(
        entry("0.125*pool + 8*t*k**2 - 3", "0", notes=["num_heads % 16 == 0"], elsewhere=[other]),
        entry("t", subject="dir/my file.py:decode"),
        entry("8*found + t", subject="m:decode"),
        entry("t", subject="vllm==0.21.0", scenario_bytes={"issue-41962": 1, "small": 2}),
    )
    assert wanted == loads(dumps(wanted), "f")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, NAMES)
@example('a."b"\\', "[laws]\n\x7f\t'#")
def test_any_name_and_note_survives(entry, subject, note):
    """Quotes, dots, control characters and other scripts come back as they went."""
    wanted = by_key(entry("t", subject=subject, notes=[note]))
    assert wanted == loads(dumps(wanted), "f")


def test_the_order_of_entries_does_not_depend_on_who_came_first(entry):
    """The same entries give the same text, and each formula stands on a line of its own."""
    first, second = entry("t + 1", "k", subject="b"), entry("t", subject="a")
    text = dumps(by_key(first, second))
    assert text == dumps(by_key(second, first))
    assert text.index("[laws.a.decode.generic]") < text.index("[laws.b.decode.generic]")
    assert '    "t + 1",\n    "k",\n' in text


def test_a_new_entry_leaves_the_lines_of_others_alone(entry):
    """Adding a subject adds lines and changes none, so that a pull request shows it alone."""
    one, two = by_key(entry("t", subject="a")), entry("k", subject="b")
    before, after = dumps(one).splitlines(), dumps(merged(one, [two])).splitlines()
    assert before == after[: len(before)]


def test_an_unchanged_law_keeps_its_entry(entry):
    """Locking again with another torch changes nothing while the law is the same."""
    old = entry("t")
    newer = replace(old, versions={"oom_suite": "9", "torch": "9"})
    assert old is merged(by_key(old), [newer])[old.key]
    grown = replace(newer, scenario_bytes={"small": 101})
    assert grown is merged(by_key(old), [grown])[old.key]


def test_no_entry_at_all_is_a_lockfile_too():
    """An empty lockfile can be written and read."""
    assert {} == loads(dumps({}), "f")


FIELDS = """
scenario = "small"
sizes = { t = 4 }
held = []
law = ["t"]
bytes = {}
made_with = {}
"""


def test_the_smallest_entry_is_read():
    """Notes and laws elsewhere may be absent."""
    (entry,) = loads(f"{HEAD}[laws.s.decode.generic]{FIELDS}", "f").values()
    assert "t" == str(entry.law)
    assert ((), ()) == (entry.law.notes, entry.elsewhere)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format = 2\n", "has format 2, this oom-suite reads format 1"),
        ("format = true\n", "has format True"),
        ("", "has no format version"),
        ("format = ", "is not TOML"),
        (HEAD + "laws = 3", "laws is no table"),
        (HEAD + "[laws]\ns = 3", "s is no table"),
        (HEAD + "[laws.s]\ndecode = 3", "s decode is no table"),
        (HEAD + "[laws.s.decode.generic]\n", "s decode generic: 'sizes' is missing"),
        (f"{HEAD}[laws.s.d.g]{FIELDS}".replace('"t"', "7"), "7 is no text"),
        (f"{HEAD}[laws.s.d.g]{FIELDS}".replace('["t"]', '"t"'), "'t' is no list"),
        (f"{HEAD}[laws.s.d.g]{FIELDS}".replace("t = 4", "t = 4.5"), "4.5 is no whole number"),
        (f"{HEAD}[laws.s.d.g]{FIELDS}".replace("{ t = 4 }", "4"), "another kind"),
        (f"{HEAD}[laws.s.d.g]{FIELDS}".replace("held = []", 'held = ["x"]'), "'x' is missing"),
        (f"{HEAD}[laws.s.d.g]{FIELDS}".replace('"t"', '"tt"'), "unknown axis 'tt'"),
        (f"{HEAD}[laws.s.d.g]{FIELDS}".replace('"t"', '"t +"'), "cannot be read"),
    ],
)
def test_what_is_no_lockfile_is_refused_in_one_line(text, said):
    """Another format version, other TOML and other text are refused, naming file and place."""
    with pytest.raises(UsageError) as error:
        loads(text, "laws.toml")
    assert said in str(error.value)
    assert "lockfile 'laws.toml'" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_says_how_to_write_one(tmp_path):
    """The message names the command; a folder or other bytes are refused in one line too."""
    with pytest.raises(UsageError, match="write one with oom-suite lock"):
        read(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot read lockfile"):
        read(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read(tmp_path / "bytes.toml")


def test_the_text_is_this_to_the_letter(entry, law):
    """A header, and no table without a line of its own."""
    other = law("7*t", k=32, held=("block_size", "k"), notes=["held at k=32: jumps"])
    both = by_key(
        entry("8*found + t", "3", subject="a", elsewhere=[other]),
        entry("k", subject="a==1", scenario_bytes={"small": 1, "large": 22}),
    )
    assert """\
# The peak memory laws that this repository has promised: bytes requested, for all sizes.
# Written by `oom-suite lock`, held by `oom-suite check --locked`; see docs/lockfile.md.
format = 1

[laws.a.decode.generic]
scenario = "issue-41962"
sizes = {pool = 1000, t = 4, k = 8, block_size = 64}
held = ["block_size"]
quantities = ["found"]
law = [
    "t + 8*found",
    "3",
]
notes = []
bytes = {small = 100}
made_with = {oom_suite = "0.1.0", torch = "2.13.0"}

[[laws.a.decode.generic.elsewhere]]
at = {k = 32}
held = ["block_size", "k"]
law = [
    "7*t",
]
notes = [
    "held at k=32: jumps",
]

[laws."a==1".decode.generic]
scenario = "issue-41962"
sizes = {pool = 1000, t = 4, k = 8, block_size = 64}
held = ["block_size"]
law = [
    "k",
]
notes = []
bytes = {small = 1, large = 22}
made_with = {oom_suite = "0.1.0", torch = "2.13.0"}
""" == dumps(both)


def test_any_change_of_what_is_promised_takes_the_entrys_place(entry, law):
    """Whoever found it, and in how many runs, is no promise."""
    old = entry("t", "k", elsewhere=[law("9*t", k=32)])
    changes = {
        "law": replace(old.law, regimes=old.law.regimes[:1]),
        "elsewhere": (law("8*t", k=32),),
        "scenario": "small",
        "scenario_bytes": {"small": 99},
    }
    others = [
        *(replace(old, **{name: value}) for name, value in changes.items()),
        replace(old, law=replace(old.law, sizes={**old.law.sizes, "t": 5})),
        replace(old, law=replace(old.law, held={})),
        replace(old, law=replace(old.law, notes=("other",))),
        replace(old, elsewhere=()),
    ]
    for new in others:
        assert new is merged(by_key(old), [new])[old.key]
    for same in (
        replace(old, versions={"torch": "3"}),
        replace(old, law=replace(old.law, num_runs=99)),
    ):
        assert old is merged(by_key(old), [same])[old.key]
