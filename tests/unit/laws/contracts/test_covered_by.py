"""What `covered_by` and `box` take, and what each refusal says."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.laws.contracts import covered_by
from oom_suite.records import CoveredBy

AXES = ("num_tokens", "width")


def test_bytes_and_a_box():
    """An amount, a range for one axis and one size for another."""
    found = covered_by("512MiB", {"num_tokens": (1, 8192), "width": 64}, AXES)
    assert found == CoveredBy((("num_tokens", 1, 8192), ("width", 64, 64)), 512 << 20)


def test_the_sizes_of_the_profile_run():
    """Sizes in place of bytes: the same code is run there, and reports say so."""
    found = covered_by({"num_tokens": 8192}, {"num_tokens": (1, 8192)}, AXES)
    assert found is not None
    assert (found.num_bytes, found.sizes) == (None, (("num_tokens", 8192),))
    assert found.what == "the profile run at num_tokens=8,192"


def test_no_promise():
    """Neither is given."""
    assert covered_by(None, None, AXES) is None


@pytest.mark.parametrize(
    ("figure", "box", "says"),
    [
        (None, {"width": 1}, "box: say what covers it, as covered_by='512MiB' or the profile's"),
        ("1MiB", None, "covered_by: name the sizes that can come later, as box="),
        ("1MB", {"width": 1}, "covered_by: unknown unit 'MB' in '1MB'"),
        (-1, {"width": 1}, "covered_by: -1: give bytes, such as '512MiB'"),
        (True, {"width": 1}, "covered_by: True: give bytes"),
        ({"wide": 1}, {"width": 1}, "covered_by: unknown axis 'wide'"),
        ({"width": 0}, {"width": 1}, "covered_by: width=0 is not a size"),
        (1, {"wide": 1}, "box: unknown axis 'wide'"),
        (1, {"width": (1, 2, 3)}, "box: width=(1, 2, 3): give the least and the largest"),
        (1, {"width": (9, 1)}, "box: width=(9, 1): the least size, 9, comes first"),
        (1, {"width": (0, 1)}, "box: width=0 is not a size: give a whole number from 1"),
        (1, {"width": 1.5}, "box: width=1.5 is not a size"),
        (1, [("width", 1)], "box: [('width', 1)] is not a mapping"),
    ],
)
def test_what_is_refused(figure, box, says):
    """One line: the argument, the value seen, what is allowed."""
    with pytest.raises(UsageError) as error:
        covered_by(figure, box, AXES)
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)
