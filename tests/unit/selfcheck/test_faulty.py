"""The planted faults are single ones: everything else about a mutant is right."""

from __future__ import annotations

import importlib
import sys
from collections import deque
from pathlib import Path

import pytest
import torch

from oom_suite.doors import workload
from oom_suite.records.safety import PROPERTIES
from oom_suite.safety.steps import Target, answer, errors
from oom_suite.safety.steps import oracle as find_oracle
from oom_suite.safety.steps import tolerance as find_tolerance
from oom_suite.selfcheck import LAW
from oom_suite.selfcheck.faults.catalog import MUTANTS, TWINS
from oom_suite.workloads.sparse_mla.caches import referenced_blocks, write_blocks
from oom_suite.workloads.sparse_mla.gather import step as gather
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.prefill import step as prefill
from oom_suite.workloads.sparse_mla.step import StepOptions, oracle, random_step, tolerance

FAULTS = "oom_suite.selfcheck.faults"
OPTIONS = StepOptions(layer_kind="c4a", lens="short", padding="tail", num_blocks=12)
WRONG_BY_NATURE = {"precision", "indices"}
"""Detectors whose faults are in the values, or show in some indices' values."""
WRONG_HERE = {
    "reach:last_row_unwritten",
    "reach:last_value_unwritten",
    "reach:unwritten_scratch",
    "kernels:last_program_missing",
    "kernels:last_token_of_windows_left",
    "indexer:logits_left_unwritten",
    "sparse_prefill:last_token_unwritten",
    "layer_caches:last_token_of_prompts_unwritten",
}


@pytest.fixture(autouse=True)
def _what_faults_keep():
    """Emptied of what the test left: others of this process call them on other devices."""
    faults = [vars(m) for name, m in sys.modules.items() if name.startswith(f"{FAULTS}.")]
    kept = [
        (held, list(held.items() if isinstance(held, dict) else held))
        for values in faults
        for name, held in values.items()
        if isinstance(held, dict | list | deque) and not name.startswith("__")
    ]
    yield
    for held, before in kept:
        held.clear()
        (held.update if isinstance(held, dict) else held.extend)(before)


def has_an_answer(subject):
    """Whether an oracle says what it must give: a workspace gives nothing."""
    return not subject.promised and bool(workload(subject.workload).oracle)


def whole_step(options):
    """A step whose every block holds keys, so that reading too much is harmless."""
    step = random_step(options)
    generator = torch.Generator().manual_seed(7)
    for cache, indices, lens in (
        ("swa_k_cache", "swa_indices", "swa_lens"),
        ("kv_cache", "topk_indices", "topk_lens"),
    ):
        pool = step[cache]
        if pool is None:
            continue
        block_size = pool.shape[1]
        named = referenced_blocks(step[indices].flatten(1), step[lens], block_size).tolist()
        rest = torch.tensor([block for block in range(pool.shape[0]) if block not in named])
        keys = torch.randn((len(rest), block_size, 512), generator=generator)
        write_blocks(pool, rest, keys, FP8_DS_MLA_V4)
    step["output"].zero_()
    return step


def function_of(subject):
    module, _, name = subject.spelling.partition(":")
    return getattr(importlib.import_module(module), name)


def gives_what_the_workload_s_steps_must(subject, known):
    target = Target(function_of(subject), Path(), known, torch.device("cpu"))
    for variant in target.variants.plain(known, target.device, target.arch):
        step = variant.make()
        expected = find_oracle(target, step, variant)
        allowed = find_tolerance(target, step, expected, variant)
        found = answer(target, step).outputs
        assert len(found) >= len(expected)
        each = zip(found, expected, allowed, strict=False)
        if not all((errors(*pair) <= most).all() for *pair, most in each):
            return False
    return True


def is_right(subject):
    if subject.workload == "gather":
        step = gather.small(gather.GatherOptions(slots=(*range(1, 62), -1)))
        function_of(subject)(**step)
        return torch.equal(step["out"].double(), gather.oracle(step))
    if subject.workload == "prefill-gather":
        step = prefill.small(prefill.ChunkOptions())
        function_of(subject)(**step)
        return torch.equal(step["output"].double(), prefill.oracle(step))
    if not subject.workload.startswith("decode"):
        return gives_what_the_workload_s_steps_must(subject, workload(subject.workload))
    kind = "swa_only" if subject.workload == "decode-swa" else "c4a"
    step = whole_step(StepOptions(layer_kind=kind, lens="short", padding="tail", num_blocks=12))
    expected = oracle(step)
    allowed = tolerance(step, expected)
    with torch.no_grad():
        function_of(subject)(**step)
    return bool(((step["output"].to(torch.float64) - expected).abs() <= allowed).all())


RIGHT = [
    mutant
    for mutant in MUTANTS
    if has_an_answer(mutant)
    and mutant.detector not in WRONG_BY_NATURE
    and mutant.name not in WRONG_HERE
]


@pytest.mark.parametrize("mutant", RIGHT, ids=lambda mutant: mutant.name)
def test_a_mutant_whose_fault_is_not_in_its_values_gives_the_oracle_s_answer(mutant):
    """Growth, reach, addresses, capture and creep faults leave the answer alone."""
    assert is_right(mutant)


@pytest.mark.parametrize(
    "twin", [twin for twin in TWINS if has_an_answer(twin)], ids=lambda twin: twin.name
)
def test_a_twin_gives_the_oracle_s_answer(twin):
    """However odd, a healthy step is right."""
    assert is_right(twin)


def test_there_are_as_many_faults_and_twins_as_the_docs_say():
    """Each once, and a fault for every detector there is."""
    names = [each.name for each in (*MUTANTS, *TWINS)]
    assert len(names) == len(set(names))
    assert (246, 85) == (len(MUTANTS), len(TWINS))
    assert {mutant.detector for mutant in MUTANTS} == {LAW, *PROPERTIES}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_says_what_it_must_be_called(mutant):
    """A fault without an expected name could be caught by accident."""
    assert mutant.expected
    assert callable(function_of(mutant))
