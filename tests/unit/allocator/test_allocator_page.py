"""The page about the allocator model shows what is so."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "allocator.md"


def test_every_example_of_the_page_is_so():
    """Each example of the page gives, to the letter, what stands below it."""
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert (0, 21) == (result.failed, result.attempted)
