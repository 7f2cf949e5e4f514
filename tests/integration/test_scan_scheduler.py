"""`oom-suite scan --scheduler`: a cluster's workers judge as this process would.

The scheduler and its workers are threads of this process here, and rows are made up: nothing is
judged. tests/nightly/test_fleet.py has processes, releases, and workers that are killed.
"""

from __future__ import annotations

import json
import sys
import threading
from types import SimpleNamespace

import pytest

# tox installs every extra, so CI skips nothing here; a bare pytest may be without Dask.
pytest.importorskip("distributed", reason="needs the extra `fleet`: pip install .[fleet]")

from distributed import Client, KilledWorker, LocalCluster

from oom_suite.cli.progress import Progress
from oom_suite.pipeline.scan import cluster as clusters
from oom_suite.pipeline.scan import on_worker, run
from oom_suite.records.scan import Found, ScanRow, Unit

WORDS = ("vllm==0.22.0", "--since", "vllm==0.21.0", "--workload", "decode-swa", "--workload")
SCAN = (*WORDS, "decode", "--target", "generic,cpu")
"""Eight units."""


def started(num_workers):
    return LocalCluster(
        n_workers=num_workers,
        threads_per_worker=1,
        processes=False,
        host="127.0.0.1",
        protocol="tcp",
        dashboard_address=":0",
    )


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers of one thread each."""
    with started(2) as two:
        yield two


@pytest.fixture
def judged(monkeypatch):
    """Judge units by this: every unit of 0.21.0 fails, every other one passes."""

    def one(unit, on_progress, time_limit_s, usual_targets=()):
        on_progress(f"{unit.subject} ({unit.workload})", "running")
        return ScanRow(unit, Found.FAIL if "0.21" in unit.subject else Found.PASS, "so")

    def judge_by(function):
        for module in (run, on_worker):
            monkeypatch.setattr(module, "run_unit", function)

    judge_by(one)
    return SimpleNamespace(by=judge_by, one=one)


def names(cluster):
    return {str(worker.name) for worker in cluster.workers.values()}


def hang_up(scheduler):
    """Cut all connections to clients, as a scheduler does that is killed."""
    for connection in scheduler.client_comms.values():
        connection.abort()


def rows(path):
    body = json.loads(path.read_text("utf-8"))
    return body["is_complete"], body["scan"]


def test_the_scan_is_that_of_one_process(suite, tmp_path, cluster, judged):
    """In the table, in JSON and in the exit code; who judged what is said beside it."""
    address = cluster.scheduler_address
    here = suite("scan", *SCAN, "--json", "a.json")
    there = suite("scan", *SCAN, "--scheduler", address, "--json", "b.json")
    assert (here.returncode, here.stdout) == (there.returncode, there.stdout)
    assert rows(tmp_path / "a.json") == rows(tmp_path / "b.json")
    lines = there.stderr.splitlines()
    assert 8 == len(lines)
    assert lines[0].startswith("1 of 8: vllm==0.2")
    assert {line.rpartition(", by ")[2] for line in lines} <= names(cluster)


def test_a_share_is_judged_by_a_cluster_too(suite, tmp_path, cluster, judged):
    for number in (1, 2):
        share = ("--shard", f"{number}/2", "--json", f"{number}.json")
        suite("scan", *SCAN, "--scheduler", cluster.scheduler_address, *share)
    merged = suite("scan", "--merge", "1.json", "2.json")
    assert suite("scan", *SCAN).stdout == merged.stdout


def test_a_share_without_units_asks_nobody_for_anything(suite, tmp_path, cluster, judged):
    words = ("streaming", "--workload", "decode-swa", "--target", "generic", "--shard", "2/2")
    done = suite("scan", *words, "--scheduler", cluster.scheduler_address, "--json", "a.json")
    assert 0 == done.returncode
    is_complete, scan = rows(tmp_path / "a.json")
    assert (True, []) == (is_complete, scan["rows"])


def test_who_asks_the_same_at_once_is_given_the_same_row(cluster, judged):
    """A task's key says all that its row depends on, and so the scheduler runs it once."""
    unit = Unit("streaming", "decode", "small", "generic")
    told, tries, both_wait = [], [], threading.Event()

    def one(*asked):
        tries.append(asked)
        assert both_wait.wait(10)
        return judged.one(*asked)

    def scan():
        clusters.run_on_cluster(
            [unit], cluster.scheduler_address, lambda row, worker: told.append(row)
        )

    def num_waiting():
        tasks = list(cluster.scheduler.tasks.values())
        return max((len(task.who_wants) for task in tasks), default=0)

    judged.by(one)
    scans = [threading.Thread(target=scan) for _ in range(2)]
    for each in scans:
        each.start()
    while num_waiting() < 2 and all(each.is_alive() for each in scans):
        scans[0].join(0.01)
    both_wait.set()
    for each in scans:
        each.join()
    assert (1, 2) == (len(tries), len(told))
    assert told[0] == told[1]


def test_progress_says_what_runs_where(cluster, judged):
    told = []
    unit = Unit("streaming", "decode", "small", "generic")
    clusters.run_on_cluster(
        [unit], cluster.scheduler_address, lambda *_: None, lambda *one: told.append(one)
    )
    (said,) = {one for one in told if one[0] != cluster.scheduler_address}
    assert "streaming (decode)" == said[0]
    assert said[1] in {f"running on {name}" for name in names(cluster)}


def test_what_another_scan_of_the_cluster_says_is_not_shown(cluster, judged):
    told = []
    unit = Unit("streaming", "decode", "small", "generic")
    with Client(cluster.scheduler_address, set_as_default=False) as other:
        mine = clusters._Cluster(other, "", {unit: None}, None, lambda *one: told.append(one))
        event = {"unit": unit.to_json(), "subject": "s", "message": "m", "by": "w"}
        mine.told((0.0, event))
        mine.told((0.0, {**event, "unit": {**event["unit"], "target": "cpu"}}))
    assert [("s", "m on w")] == told


def killed(unit):
    return KilledWorker(unit.key, SimpleNamespace(address="tcp://w:1", name="w"), 3)


@pytest.mark.parametrize(
    ("times", "found"), [(1, Found.PASS), (2, Found.INCONCLUSIVE)], ids=["once", "also alone"]
)
def test_a_unit_that_the_scheduler_gave_up_on_is_judged_once_more(cluster, judged, times, found):
    """Alone, when all others are done: it may have been beside the one that killed the workers."""
    units = [Unit("streaming", "decode", "small", target) for target in ("cpu", "generic", "x")]
    tries, got = [], {}

    def one(unit, *others):
        tries.append(unit)
        if unit == units[1] and tries.count(unit) <= times:
            raise killed(unit)
        return judged.one(unit, *others)

    judged.by(one)
    clusters.run_on_cluster(
        units, cluster.scheduler_address, lambda row, worker: got.update({row.unit: (row, worker)})
    )
    assert set(units) == set(got)
    assert [units[1], 4] == [tries[-1], len(tries)]
    assert [Found.PASS, found, Found.PASS] == [got[unit][0].found for unit in units]
    if found is Found.INCONCLUSIVE:
        reason = "killed: 4 workers have died with it, the last of them tcp://w:1: its log may say"
        assert reason in got[units[1]][0].reason


def test_a_worker_that_may_not_judge_is_refused_by_name(suite, tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(on_worker.Asked, "refusal", lambda asked: "torch is '1' there and '2' here")
    done = suite("scan", *SCAN, "--scheduler", cluster.scheduler_address, "--json", "a.json")
    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    first = min(cluster.scheduler_info["workers"])
    said = f"its worker {first} cannot judge for this scan: torch is '1' there and '2' here"
    assert said in done.stderr
    is_complete, scan = rows(tmp_path / "a.json")
    assert (False, []) == (is_complete, scan["rows"])


def test_a_worker_that_came_later_is_refused_too(suite, cluster, monkeypatch):
    monkeypatch.setattr(on_worker.Asked, "refusal", lambda asked: "torch is '1' there and '2' here")
    monkeypatch.setattr(clusters, "refusals", lambda asked: "")
    done = suite("scan", *SCAN, "--scheduler", cluster.scheduler_address)
    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert "cannot judge for this scan: torch is '1' there and '2' here" in done.stderr


def test_no_scheduler_is_one_line(suite, monkeypatch):
    monkeypatch.setattr(clusters, "_CONNECT_S", 0.1)
    done = suite("scan", "streaming", "--scheduler", "tcp://127.0.0.1:1")
    assert (2, "") == (done.returncode, done.stdout)
    assert (
        "oom-suite: --scheduler tcp://127.0.0.1:1: no Dask scheduler answers there in 0.1 s: "
        "start one with `dask scheduler`, and give its address\n"
    ) == done.stderr


def test_no_workers_are_one_line(suite, monkeypatch):
    """One that comes before the time is over is waited for."""
    monkeypatch.setattr(clusters, "_LOOKS_EVERY_S", 0.01)
    monkeypatch.setattr(clusters, "_LONELY_S", 0.02)
    with started(0) as empty:
        address = empty.scheduler_address
        done = suite("scan", "streaming", "--scheduler", address)
    assert (2, "") == (done.returncode, done.stdout)
    assert (
        f"oom-suite: --scheduler {address}: it has had no worker for 0.02 s: start one with `dask "
        f"worker {address}`, and run the scan again\n"
    ) == done.stderr


def test_a_scheduler_that_goes_away_is_one_line_and_what_was_judged_is_kept(
    suite, tmp_path, monkeypatch, judged
):
    is_kept, done_once = threading.Event(), Progress.done

    def done(progress, *words):
        done_once(progress, *words)
        is_kept.set()

    def one(unit, *others):
        if unit.subject.endswith("0.22.0"):
            assert is_kept.wait(10)
            going.loop.add_callback(hang_up, going.scheduler)
        return judged.one(unit, *others)

    monkeypatch.setattr(Progress, "done", done)
    judged.by(one)
    with started(1) as going:
        address = going.scheduler_address
        words = (*WORDS[:5], "--target", "generic")
        ended = suite("scan", *words, "--scheduler", address, "--json", "a.json")
    assert 2 == ended.returncode
    _, line = ended.stderr.splitlines()
    assert (
        f"oom-suite: --scheduler {address}: it went away: start it and its workers, and run the "
        "scan again"
    ) == line
    is_complete, scan = rows(tmp_path / "a.json")
    assert (False, ["FAIL"]) == (is_complete, [row["found"] for row in scan["rows"]])


def test_nothing_is_left_at_the_scheduler_of_a_scan_that_is_interrupted(cluster, judged):
    units = [Unit("streaming", "decode", "small", str(number)) for number in range(20)]

    def interrupted(row, worker):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clusters.run_on_cluster(units, cluster.scheduler_address, interrupted)
    assert {} == cluster.scheduler.tasks


def test_a_missing_package_is_one_line_that_names_the_extra(suite, monkeypatch):
    monkeypatch.delitem(sys.modules, "oom_suite.pipeline.scan.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = suite("scan", "streaming", "--scheduler", "tcp://a:1")
    expected = (
        "oom-suite: --scheduler needs distributed, which is not installed: "
        "pip install oom-suite[fleet]\n"
    )
    assert (2, "", expected) == (done.returncode, done.stdout, done.stderr)
