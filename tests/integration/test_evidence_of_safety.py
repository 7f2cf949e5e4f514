"""What the safety checks found on real devices, found again without one.

A test whose name ends in ``by_its_own_figures`` runs nothing: the whole of what its file is about
needs the device, or takes longer than a test may. Of long files fixed rows are found again, as
each test says.
"""

from __future__ import annotations

import importlib
import re

import pytest
import torch
from evidence_files import ROOT, read, source

from oom_suite.doors import workload
from oom_suite.pipeline.law_tests.sizes import Sizes
from oom_suite.processes.forked import in_fork
from oom_suite.records.safety import PROPERTIES
from oom_suite.records.selfcheck import REQUIRED_BLOCKS_PER_BYTE
from oom_suite.safety.capture import Capture, recorded
from oom_suite.safety.creep import Creep
from oom_suite.safety.creep_steps import CYCLE
from oom_suite.safety.steps import Target
from oom_suite.selfcheck.faults.catalog import MUTANTS, TWINS
from oom_suite.subjects import load, parse
from oom_suite.subjects.families.vllm.triton_placeholder import set_on_launch

# Its tests share what its fixtures make: one worker runs them all.
pytestmark = pytest.mark.xdist_group("evidence-of-safety")


CREEP = read("2026-11-22-h200-creep")
CAPTURES = read("2026-11-28-h200-capture-agreement")
SAFETY = read("2026-11-27-h200-safety-of-releases")
SELFCHECK = read("2026-11-28-h200-selfcheck")
CPU = torch.device("cpu")
_FORK_S = 60.0


def today(case):
    """The spelling that a planted fault of an older file has now."""
    spelled, _, rest = case.partition(" ")
    return spelled.replace("oom_suite.subjects.faulty.", "oom_suite.selfcheck.faults."), rest


def target_of(subject, name):
    known = workload(name)
    loaded = load(parse(subject), known, root=source(subject))
    return Target(loaded.call, loaded.root, known, CPU)


CREPT = CREEP["rows"][::3]


@pytest.fixture(scope="module")
def crept():
    """What fake tensors show of every third row, in one fork that keeps what the faults leave."""

    def judged():
        return {
            row["case"]: Creep().in_shadow(target_of(*today(row["case"])), CYCLE) for row in CREPT
        }

    return in_fork(judged, _FORK_S)


@pytest.mark.parametrize("row", CREPT, ids=lambda row: row["case"])
def test_what_a_gpu_saw_grow_is_what_fake_tensors_show(row, crept):
    """Every third row: the verdict, the words, and the bytes of each step."""
    judged = crept[row["case"]]
    assert row["verdict"] == ("FAIL" if judged.hits else "PASS")
    words = re.compile(r" at oom_suite\S+")
    assert words.sub("", row["facts"]["shadow"]) == words.sub("", judged.text)
    assert row["hits"] == [] or row["hits"][0].split(" at ")[0] == judged.hits[0].kind
    rate = re.compile(r"[\d,]+ bytes a step")
    assert rate.findall(row["facts"]["cuda"]) == rate.findall(judged.text)


BY_NAME = {one.name: one for one in (*MUTANTS, *TWINS)}


def is_sampled(number, row):
    """Whether a case's record is made again: of those refused every one, of others every tenth."""
    known = BY_NAME.get(row["case"])
    is_here = "==" not in row["case"] and not (known is not None and known.is_stateful)
    return is_here and (row["verdict"] == "FAIL" or number % 10 == 0)


SAMPLE = [row for number, row in enumerate(CAPTURES["rows"]) if is_sampled(number, row)]


def record_of(case):
    """What the record notes of a case, as the file has it."""
    known = BY_NAME.get(case)
    if known is not None and known.promised:
        module, _, function = known.spelling.partition(":")
        build = getattr(importlib.import_module(module), function)
        hits = recorded(lambda at, on: build(Sizes(at), on), dict(known.promised.axes), ROOT)
    else:
        name, _, kind = case.partition("-")
        subject = (name, kind) if known is None else (known.spelling, known.workload)
        hits = Capture(set_on_launch).record(target_of(*subject))
    return f"the record: {hits[0].text if hits else 'captures'}"


@pytest.fixture(scope="module")
def records():
    """The records of the sampled cases, made in one fork."""
    return in_fork(lambda: {row["case"]: record_of(row["case"]) for row in SAMPLE}, _FORK_S)


@pytest.mark.parametrize("row", SAMPLE, ids=lambda row: row["case"])
def test_the_record_of_a_capture_is_made_again_word_for_word(row, records):
    """Every case that a real capture refused, and every tenth of the others, without releases."""
    assert row["record"] == records[row["case"]]


def test_no_real_capture_contradicted_the_record_by_its_own_figures():
    """Both ways gave every case the same verdict; the one built-in refused is the known one."""
    tried = {row["case"] for row in CAPTURES["rows"]}
    assert tried >= set(BY_NAME)
    built_in = {"block_compaction", "full_dequant", "streaming", "token_gather"}
    refused = {row["case"] for row in CAPTURES["rows"] if row["verdict"] == "FAIL"}
    undecided = {row["case"] for row in CAPTURES["rows"] if row["verdict"] == "INCONCLUSIVE"}
    assert {"PASS", "FAIL", "INCONCLUSIVE"} == {row["verdict"] for row in CAPTURES["rows"]}
    # It stores two rows in one place, so two runs of it differ.
    assert {"kernels:ranks_by_the_low_byte"} == undecided
    assert not [row for row in CAPTURES["rows"] if "capture-disagreement" in str(row["hits"])]
    assert {"block_compaction"} == {case.partition("-")[0] for case in refused} & built_in


@pytest.mark.parametrize("one", SAFETY["safety"], ids=lambda one: one["subject"])
@pytest.mark.oom_registry
def test_what_a_capture_of_a_release_refused_is_what_the_record_notes(one):
    """The kind and the line of each hit of the record; the GPU's own hits come after them."""
    finding = next(each for each in one["findings"] if each["name"] == "capture")
    target = target_of(one["subject"], "decode")
    hits = in_fork(lambda: Capture(set_on_launch).record(target), _FORK_S)
    noted = [(hit.kind, hit.frame.line, hit.frame.function) for hit in hits]
    kept = [
        (hit["kind"], hit["frame"]["line"], hit["frame"]["function"]) for hit in finding["hits"]
    ]
    assert noted == kept[: len(noted)]
    assert bool(kept) == bool(noted)


def test_the_releases_break_what_the_docs_say_they_break_by_its_own_figures():
    """Every property has a verdict on the GPU; the breaches are those of a CPU."""
    found = {
        one["subject"]: {
            finding["name"]: {hit["kind"] for hit in finding["hits"]}
            for finding in one["findings"]
            if finding["verdict"] != "PASS"
        }
        for one in SAFETY["safety"]
    }
    strides = {"indices": {"wrong-answer"}}
    assert found == {
        "vllm==0.21.0": {},
        "vllm==0.22.0": strides | {"capture": {"host-sync", "host-copy"}},
        "vllm==0.25.0": strides,
        "vllm==0.33.0": strides,
    }
    for one in SAFETY["safety"]:
        assert list(PROPERTIES) == [finding["name"] for finding in one["findings"]]


def test_the_self_check_saw_everything_on_the_gpu_by_its_own_figures():
    """Every mutant and twin was tried there, and none is wrong."""
    seen = SELFCHECK["selfcheck"]["seen"]
    assert {one["name"] for one in seen} == set(BY_NAME)
    assert all(one["is_right"] for one in seen)
    assert SELFCHECK["selfcheck"]["blocks_a_byte"] >= REQUIRED_BLOCKS_PER_BYTE
