"""The hooks that other pytest plugins and conftest files can implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oom_suite.records import Result


def pytest_oom_result(result: Result) -> None:
    """Nothing; called once for each result that the run judged, as soon as it is known.

    Under pytest-xdist it is called where the run was started, not in the workers.

    Args:
        result: the verdict on one subject, workload, lane and scenario.

    An override, in a ``conftest.py``:

    ```python
    def pytest_oom_result(result):
        print(result.subject, result.verdict.value, result.peak_requested_bytes)
    ```
    """
