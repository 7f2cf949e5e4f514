"""Detectors on a workload of somebody else's, with the facets that it has and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import paged_sums
import pytest
import torch
from paged_sums import BARE, FACETS, healthy

from oom_suite.records import Verdict
from oom_suite.safety.addresses import Addresses
from oom_suite.safety.capture import Capture
from oom_suite.safety.creep import Creep
from oom_suite.safety.indices import BadIndices
from oom_suite.safety.precision import Precision
from oom_suite.safety.reads import Reads
from oom_suite.safety.steps import Target, find
from oom_suite.safety.writes import Writes

DETECTORS = {one.name: one for one in (Reads, Writes, BadIndices, Addresses, Precision)}
DETECTORS |= {one.name: one for one in (Capture, Creep)}
WHOLE = replace(BARE, **FACETS)
_KEPT = []


def found(name, call, workload=WHOLE):
    """The finding of one detector."""
    target = Target(call, Path(__file__).parent, workload, torch.device("cpu"))
    detector = Creep(num_steady=12) if name == "creep" else DETECTORS[name]()
    return find(detector, target)


@pytest.mark.parametrize("name", DETECTORS)
def test_healthy_code_passes_every_detector(name):
    """The twin of all faults below."""
    finding = found(name, healthy)
    assert (Verdict.PASS, ()) == (finding.verdict, finding.hits), finding.reason


def reads_past_lens(pool, table, lens):
    return healthy(pool, table, lens + 1)


def reads_another_block(pool, table, lens):
    return healthy(pool, table, lens) + pool[0].sum()


def reads_unwritten(pool, table, lens):
    return healthy(pool, table, lens) + torch.empty_like(pool)[0, 0]


def writes_the_pool(pool, table, lens):
    result = healthy(pool, table, lens)
    pool[4, 1] += 1
    return result


def takes_any_index(pool, table, lens):
    num_tokens = (pool.untyped_storage().nbytes() // 4 - pool.storage_offset()) // WIDTH
    flat = pool.as_strided((num_tokens, WIDTH), (WIDTH, 1))
    first = table.long() * paged_sums.BLOCK_SIZE
    slots = (first[..., None] + torch.arange(paged_sums.BLOCK_SIZE)).flatten(1)
    counts = (torch.arange(slots.shape[1]) < lens[:, None]) & (slots >= 0)
    return flat[slots.where(counts, 0)].where(counts[..., None], 0).sum(dim=1)


WIDTH = paged_sums.WIDTH


def assumes_dense_pages(pool, table, lens):
    dense = pool.as_strided(pool.shape, (paged_sums.BLOCK_SIZE * WIDTH, WIDTH, 1))
    return healthy(dense, table, lens)


def rounds(pool, table, lens):
    return healthy(pool.half().float(), table, lens)


def waits_for_the_host(pool, table, lens):
    return healthy(pool, table[:, : int(table.max()) + 1], lens)


def leaks(pool, table, lens):
    _KEPT.append(healthy(pool, table, lens))
    return _KEPT[-1]


@pytest.mark.parametrize(
    ("name", "call", "kind", "said"),
    [
        ("reads", reads_past_lens, "reads-unreferenced-token", "pool block 1 slot 3"),
        ("reads", reads_another_block, "reads-unreferenced-block", "pool block 0"),
        ("reads", reads_unwritten, "reads-uninitialised-memory", "(reads_unwritten)"),
        ("writes", writes_the_pool, "writes-cache", "(block 4, slot 1)"),
        ("indices", takes_any_index, "reads-outside", "slot one beyond the pool"),
        ("addresses", assumes_dense_pages, "wrong-address", "a block stride of several pages"),
        ("precision", rounds, "wrong-answer", "three rows"),
        ("capture", waits_for_the_host, "host-sync", "waits_for_the_host"),
        ("creep", leaks, "leaked-reference", "tensors stay alive after their step"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_each_planted_fault_is_found(name, call, kind, said):
    """With the same words as for our own workloads: what, where, how far."""
    finding = found(name, call)
    assert (Verdict.FAIL, kind) == (finding.verdict, finding.hits[0].kind), finding.reason
    assert said in f"{finding.hits[0].text} {finding.hits[0].frame}"


@pytest.mark.parametrize(
    ("without", "missing"),
    [
        ("variants", {"reads", "writes", "indices", "addresses", "precision"}),
        ("pools", {"indices", "addresses"}),
        ("oracle", {"indices", "precision"}),
        ("tolerance", {"indices", "precision"}),
    ],
)
@pytest.mark.parametrize("name", DETECTORS)
def test_what_a_detector_lacks_is_said_and_not_green(name, without, missing):
    """A detector that can do without the facet runs; the others name it."""
    finding = found(name, healthy, replace(WHOLE, **{without: type(FACETS[without])()}))
    expected = (
        (Verdict.INCONCLUSIVE, f"not applicable: the workload sums has no {without}")
        if name in missing
        else (Verdict.PASS, finding.reason)
    )
    assert expected == (finding.verdict, finding.reason)


@pytest.mark.parametrize("call", [reads_past_lens, reads_unwritten])
def test_reads_without_pools_finds_what_no_pool_is_needed_for(call):
    """Memory that nobody wrote is poisoned all the same; a pool's tokens cannot be told."""
    finding = found("reads", call, replace(WHOLE, pools=()))
    expected = Verdict.FAIL if call is reads_unwritten else Verdict.PASS
    assert expected is finding.verdict


def test_code_that_refuses_every_step_does_not_pass_for_refusing_bad_ones():
    """The step that is spoiled must be answered rightly as it is."""

    def refuses(pool, table, lens):
        raise ValueError("no")

    finding = found("indices", refuses)
    assert (Verdict.FAIL, "refuses-valid") == (finding.verdict, finding.hits[0].kind)
    assert finding.hits[0].text.startswith("as they are: ")


def test_code_that_returns_nothing_is_not_judged():
    """There is no result to compare; its workload may name the tensor that it writes."""
    finding = found("reads", lambda pool, table, lens: None)
    assert Verdict.INCONCLUSIVE is finding.verdict
    assert "it returned no tensor, and its workload names no output" in finding.reason
