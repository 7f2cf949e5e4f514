"""The units of a scan: every workload and scenario, on devices that the code is made for."""

from __future__ import annotations

import pytest
from packaging.version import Version

from oom_suite import subjects
from oom_suite.doors import families, workload, workloads
from oom_suite.errors import UsageError
from oom_suite.pipeline.scan.units import releases_between, units_of
from oom_suite.records.scan import Unit
from oom_suite.subjects import every_workload_for, parse, workloads_for

VLLM = "vllm==0.33.0"


def test_every_workload_of_a_release_has_a_unit_at_each_scenario_that_is_scanned():
    """A check looks at the first two of them unasked."""
    able = every_workload_for(parse(VLLM))
    units = units_of([VLLM], ["rocm:gfx942"])
    assert [known.name for known in able] == list(dict.fromkeys(unit.workload for unit in units))
    assert ["decode", "decode-swa"] == [known.name for known in workloads_for(parse(VLLM))]
    assert ["speculative", "plain"] == [
        unit.scenario for unit in units if unit.workload == "indexer-logits"
    ]


def test_a_subject_with_code_for_such_workloads_alone_is_checked_on_them(monkeypatch):
    """What `scan` alone looks at unasked is left out only where there is something else."""
    few = tuple(known for known in workloads().values() if known.is_scanned_alone)
    monkeypatch.setattr(subjects, "every_workload_for", lambda spec: few)
    assert few
    assert few == workloads_for(parse(VLLM))


@pytest.mark.parametrize(
    ("targets", "taken"),
    [
        (["rocm:gfx942"], ["cuda:sm_90"]),
        (["generic"], ["generic"]),
        (["rocm:gfx950", "cuda:sm_100"], ["cuda:sm_100"]),
    ],
)
def test_code_for_nvidia_is_scanned_for_a_device_of_nvidia(targets, taken):
    units = units_of([VLLM], targets, ["prefill-workspace"])
    assert taken == [unit.target for unit in units]


def test_code_for_either_is_scanned_for_each_target_and_nothing_twice():
    units = units_of([VLLM, VLLM], ["rocm:gfx942", "cuda:sm_90"], ["decode-swa"])
    place = (VLLM, "decode-swa", "issue-41962")
    assert (Unit(*place, "rocm:gfx942"), Unit(*place, "cuda:sm_90")) == units


@pytest.mark.parametrize(
    ("subject", "names", "said"),
    [
        ("streaming", ["indexer-logits"], "streaming has code for decode, decode-swa, not for"),
        ("vllm==0.33", ["indexer-logit"], "did you mean 'indexer-logits'"),
        ("vlm==0.33.0", [], "unknown subject"),
    ],
)
def test_what_cannot_be_scanned_is_refused_before_anything_runs(subject, names, said):
    with pytest.raises(UsageError, match=said):
        units_of([subject], ["generic"], names)


def test_every_release_between_two_is_named_oldest_first(monkeypatch):
    known = tuple(map(Version, ("0.20.2", "0.21.0", "0.22.0", "0.23.0", "0.24.0")))
    monkeypatch.setattr(type(families()["vllm"]), "releases", lambda self: known)
    expected = ("vllm==0.21.0", "vllm==0.22.0", "vllm==0.23.0")
    assert expected == releases_between("vllm==0.21.0", "vllm==0.23.0")


@pytest.mark.parametrize(
    ("since", "subject", "said"),
    [
        ("vllm@.", VLLM, "--since vllm@. is no release"),
        ("vllm==0.21.0", "streaming", "streaming is no release"),
        ("sglang==0.5.22", VLLM, "are releases of two packages"),
        (VLLM, "vllm==0.33", "is no earlier release"),
    ],
)
def test_two_releases_of_one_package_in_order_can_be_compared(since, subject, said):
    with pytest.raises(UsageError, match=said):
        releases_between(since, subject)


@pytest.mark.parametrize("name", [one.name for one in workloads().values() if one.by_design])
def test_what_is_by_design_is_an_axis_with_a_reason_that_the_bound_holds(name):
    """No capacity is allowed without a limit, and none that the contract forbids."""
    known = workload(name)
    bound = known.contract.at_most
    assert bound is not None
    for axis, reason in known.by_design.items():
        assert axis in bound.axes
        assert axis in {one.name for one in known.axes}
        assert axis not in known.contract.independent_of
        assert reason[0].islower()
        assert not reason.endswith(".")
