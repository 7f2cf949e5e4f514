"""The host's memory has laws of its own, judged by the contract that the device's is judged by."""

from __future__ import annotations

import pytest
import torch
from studied import studied

from oom_suite.pipeline.host_law import CONSTANT_BYTES
from oom_suite.records import Verdict

AXES = {"pool": 512, "n": 4}
PASS, FAIL = Verdict.PASS, Verdict.FAIL


def inputs(sizes, device):
    return torch.zeros(sizes.pool, 64, device=device), torch.zeros(
        sizes.n, dtype=torch.int64, device=device
    )


def copies_the_pool(sizes, device):
    cache, rows = inputs(sizes, device)
    return lambda: cache.cpu()[rows.cpu()]


def copies_the_rows(sizes, device):
    cache, rows = inputs(sizes, device)
    return lambda: cache[rows].cpu()


def pins_the_pool(sizes, device):
    cache, _ = inputs(sizes, device)
    return lambda: torch.empty(cache.shape[0], pin_memory=True)


def pins_the_rows(sizes, device):
    _, rows = inputs(sizes, device)
    return lambda: torch.empty(rows.shape[0], pin_memory=True)


def squares_on_the_host(sizes, device):
    _, rows = inputs(sizes, device)
    return lambda: rows.cpu()[:, None] * rows.cpu()


def a_table(num_bytes):
    def build(sizes, device):
        x = torch.zeros(sizes.n, dtype=torch.uint8, device=device)

        def call():
            table = torch.zeros(num_bytes, dtype=torch.uint8)
            return x + 1, table

        return call

    return build


def literals(sizes, device):
    x = torch.zeros(sizes.n, device=device)

    def call():
        x[x > 0] = 0.0
        return x * torch.tensor([2.0], device=x.device) + torch.tensor(1.0)

    return call


def test_a_copy_of_the_pool_on_the_host_fails():
    """The reason names the host and its bytes per unit, the blame the line."""
    result = studied(copies_the_pool, axes=AXES, independent_of="pool")
    assert (FAIL, "host memory: peak grows with pool (256 bytes per pool)") == (
        result.verdict,
        result.reason,
    )
    (blame,) = result.blame
    assert (256.0, "<lambda>") == (blame.bytes_per_unit, blame.function)
    (host,) = result.host
    assert ("pageable", "256*pool + 264*n", 512 * 256 + 4 * 264) == (
        host.kind,
        str(host.law),
        host.peak_requested_bytes,
    )


def test_a_copy_of_the_rows_on_the_host_passes():
    result = studied(copies_the_rows, axes=AXES, independent_of="pool")
    assert (PASS, ["256*n"]) == (result.verdict, [str(host.law) for host in result.host])


def test_pinned_memory_is_judged_apart():
    """Growth in pinned memory fails by its own name, and pageable memory has no law then."""
    result = studied(pins_the_pool, axes=AXES, independent_of="pool")
    assert (FAIL, "pinned host memory: peak grows with pool (4 bytes per pool)") == (
        result.verdict,
        result.reason,
    )
    assert ["pinned"] == [host.kind for host in result.host]


def test_pinned_memory_that_follows_the_rows_passes():
    result = studied(pins_the_rows, axes=AXES, independent_of="pool")
    assert (PASS, "4*n") == (result.verdict, str(result.host[0].law))


@pytest.mark.parametrize(
    ("build", "promises"),
    [
        (copies_the_pool, {"independent_of": "pool"}),
        (pins_the_pool, {"independent_of": "pool"}),
        (squares_on_the_host, {"linear_in": "n"}),
    ],
)
def test_a_test_may_leave_the_host_out(build, promises):
    """With host=False the device's law alone is judged, and no other is shown."""
    result = studied(build, axes=AXES, host=False, **promises)
    assert (PASS, ()) == (result.verdict, result.host)


def test_the_host_has_to_be_linear_too():
    result = studied(squares_on_the_host, axes=AXES, linear_in="n")
    assert FAIL is result.verdict
    assert "host memory: not at most linear in n: 8*n**2 in 16*n + 8*n**2" == result.reason


@pytest.mark.parametrize(
    ("at_most", "verdict"), [("256*n", PASS), ("255*n", FAIL)], ids=["at the bound", "below it"]
)
def test_the_bound_holds_for_the_host(at_most, verdict):
    """The device takes as much: it is the host's memory that one byte a row decides on."""

    def build(sizes, device):
        rows = torch.zeros(sizes.n, 64, device=device)
        return lambda: rows.cpu()

    result = studied(build, axes={"n": 4096}, at_most=at_most)
    assert verdict is result.verdict


@pytest.mark.parametrize(
    ("num_bytes", "verdict"), [(CONSTANT_BYTES + 1, PASS), (CONSTANT_BYTES + 2, FAIL)]
)
def test_a_constant_table_is_not_counted_up_to_a_mebibyte(num_bytes, verdict):
    """A bound of one byte a row allows one byte more at a single row, and not two."""
    result = studied(a_table(num_bytes), axes={"n": 4}, at_most="n")
    assert verdict is result.verdict


@pytest.mark.parametrize("promises", [{"at_most": "9*n"}, {"constant": False, "linear_in": "n"}])
def test_literals_and_scalars_leave_a_test_green(promises):
    result = studied(literals, axes={"n": 64}, **promises)
    assert PASS is result.verdict, result.reason


def test_the_devices_own_failure_comes_first():
    """Both memories grow: one reason says both, the lines of both are blamed."""

    def build(sizes, device):
        cache, rows = inputs(sizes, device)
        return lambda: cache.double().cpu()[rows.cpu()]

    result = studied(build, axes=AXES, independent_of="pool")
    first, _, second = result.reason.partition("; ")
    assert first.startswith("peak grows with pool (512 bytes per pool)")
    assert "host memory: peak grows with pool (512 bytes per pool)" == second


def test_the_json_has_the_hosts_law():
    result = studied(copies_the_rows, axes=AXES, independent_of="pool")
    (host,) = result.to_json()["host"]
    expected = ("pageable", "256*n", 1024, "PASS")
    assert expected == (
        host["kind"],
        host["law"]["text"],
        host["peak_requested_bytes"],
        host["verdict"],
    )
