"""What a cluster costs for each unit of a scan: units that take no time, in threads and by Dask.

Run it with ``pytest benchmarks/bench_fleet.py``: a scheduler and two workers of one thread each, as
processes on loopback, beside two threads of one process. Divide by the number of units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# tox installs every extra, so CI skips nothing here; a bare pytest may be without Dask.
pytest.importorskip("distributed", reason="needs the extra `fleet`: pip install .[fleet]")

from distributed import LocalCluster

from oom_suite.pipeline.scan import on_worker, run
from oom_suite.pipeline.scan.cluster import run_on_cluster
from oom_suite.pipeline.scan.run import run_units
from oom_suite.records.scan import Found, ScanRow, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

NUM_WORKERS = 2


def _made_up() -> Callable[..., ScanRow]:
    """A function that a worker need not be able to import."""

    def row(unit: Unit, *_: object) -> ScanRow:
        return ScanRow(unit, Found.PASS, "so")

    return row


@pytest.fixture
def units(is_timed: bool) -> list[Unit]:
    """Two hundred, or a few."""
    num_units = 200 if is_timed else 4
    return [Unit("streaming", "decode", "small", str(number)) for number in range(num_units)]


@pytest.fixture
def address(
    is_timed: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A scheduler whose workers make rows up: processes, or threads where nothing is timed."""
    if is_timed:
        client = request.getfixturevalue("fleet")(NUM_WORKERS)
        client.run(setattr, on_worker, "run_unit", _made_up())
        yield client.scheduler.address
        return
    monkeypatch.setattr(on_worker, "run_unit", _made_up())
    with LocalCluster(
        n_workers=1, processes=False, host="127.0.0.1", protocol="tcp", dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


def test_units_in_threads(
    benchmark: BenchmarkFixture, units: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without `--scheduler`."""
    monkeypatch.setattr(run, "run_unit", _made_up())
    rows: list[ScanRow] = []
    benchmark.extra_info["num_units"] = len(units)
    benchmark.pedantic(run_units, (units, NUM_WORKERS, lambda row, _: rows.append(row)), rounds=5)
    assert {*units} == {row.unit for row in rows}


def test_units_on_a_cluster(benchmark: BenchmarkFixture, units: list[Unit], address: str) -> None:
    """As with it, from the connection to the last row."""
    rows: list[ScanRow] = []
    benchmark.extra_info["num_units"] = len(units)
    benchmark.pedantic(run_on_cluster, (units, address, lambda row, _: rows.append(row)), rounds=5)
    assert {*units} == {row.unit for row in rows}
