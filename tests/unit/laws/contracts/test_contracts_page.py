"""The page about contracts shows what is so."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[4] / "docs" / "contracts.md"


def test_every_example_of_the_page_is_so():
    """Each example of the page gives, to the letter, what stands below it."""
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert (0, 12) == (result.failed, result.attempted)
