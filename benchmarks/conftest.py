"""How benchmarks are run: timed, or each part once to see that it runs.

``pytest benchmarks`` times them; ``--benchmark-disable``, as in CI, and workers of pytest-xdist
call each part once, at sizes that are done in a moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture
def is_timed(benchmark: BenchmarkFixture) -> bool:
    """Whether figures are wanted, so that many rounds at full size are worth their time."""
    return not benchmark.disabled
