"""Source lines for the page: found where they are, and never outside the subject's folder."""

from __future__ import annotations

from oom_suite.records import Blame, Result, Verdict
from oom_suite.report.html import read_sources
from oom_suite.report.html.excerpts import excerpts

TEXT = "".join(f"line {n}\n" for n in range(1, 41))


def result(*places):
    blame = tuple(
        Blame(file, line, function, 2048, "num_blocks", 0.5) for file, line, function in places
    )
    return Result("s", "decode", "shadow", "small", {}, Verdict.FAIL, "grows", blame=blame)


def test_a_file_is_read_from_the_first_folder_that_has_it(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "ops").mkdir(parents=True)
    (tmp_path / "b" / "ops" / "x.py").write_text(TEXT)
    given = result(("ops/x.py", 3, "f"))
    found = read_sources([given], lambda subject: [tmp_path / "a", tmp_path / "b"])
    assert tuple(TEXT.splitlines()) == found["s", "ops/x.py"]


def test_a_name_that_leads_out_of_the_folder_is_not_read(tmp_path):
    (tmp_path / "secret.py").write_text(TEXT)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.py").symlink_to(tmp_path / "secret.py")
    names = ("../secret.py", str(tmp_path / "secret.py"), "link.py", "none.py", "a\x00b", "")
    given = result(*((name, 1, "f") for name in names))
    assert {} == read_sources([given], lambda subject: [tmp_path / "in"])


def test_a_result_without_blame_asks_for_no_folder():
    assert {} == read_sources([result()], lambda subject: 1 / 0)


def test_lines_close_together_are_one_excerpt_and_far_ones_are_two():
    given = result(("x.py", 10, "f"), ("x.py", 10, "f"), ("x.py", 14, "f"), ("x.py", 30, "f"))
    first, second = excerpts(given, {("s", "x.py"): TEXT.splitlines()})
    assert list(range(7, 18)) == [line.number for line in first.lines]
    assert [10, 14] == [line.number for line in first.lines if line.holds]
    held = "2.00 KiB at the scenario, 0.5 bytes per num_blocks"
    assert (held, held) == first.lines[3].holds
    assert "line 10" == first.lines[3].text
    assert "x.py:30 (f)" == second.where


def test_a_line_that_the_file_does_not_have_is_named_without_text():
    (excerpt,) = excerpts(result(("x.py", 99, "f")), {("s", "x.py"): ["one"]})
    assert not excerpt.is_source
    assert [99] == [line.number for line in excerpt.lines]
