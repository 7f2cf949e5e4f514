"""The allocator model against random histories of the real allocator, counter by counter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from allocator_histories import Plan, to_argument

import oom_suite
from oom_suite.safety.hip_releases import has_expandable_segments

pytestmark = pytest.mark.oom_device

SCRIPT = Path(__file__).with_name("allocator_histories.py")
TIME_LIMIT_S = 240
ROUNDUP_LIST = "roundup_power2_divisions:[256:1,512:2,1024:4,>:8]"
EVERY_PLAN = (
    Plan("default", first_seed=1000),
    Plan("default, limit", first_seed=2000, limit_mib=1500),
    Plan("two streams", first_seed=3000, two_streams=True),
    Plan("max_split", "max_split_size_mb:64", first_seed=4000),
    Plan("max_split, limit", "max_split_size_mb:64", first_seed=5000, limit_mib=1500),
    Plan("roundup", "roundup_power2_divisions:4", first_seed=6000),
    Plan("roundup list", ROUNDUP_LIST, first_seed=7000),
    Plan("expandable", "expandable_segments:True", first_seed=8000),
    Plan("expandable, limit", "expandable_segments:True", first_seed=9000, limit_mib=1500),
    Plan(
        "expandable, two streams", "expandable_segments:True", first_seed=10_000, two_streams=True
    ),
    Plan("gc", "garbage_collection_threshold:0.6", first_seed=11_000, limit_mib=2000),
    Plan(
        "max_split and roundup",
        "max_split_size_mb:128,roundup_power2_divisions:8",
        first_seed=12_000,
    ),
    Plan("own pool", first_seed=13_000, own_pool=True),
    Plan("own pool, limit", first_seed=14_000, own_pool=True, limit_mib=1500),
)


def plans_for(hip):
    """Those that the runtime can run: ROCm has expandable segments from 7.0 on."""
    is_able = has_expandable_segments(hip)
    return tuple(plan for plan in EVERY_PLAN if is_able or "expandable" not in plan.name)


def environment(settings_text):
    """This process's environment with the allocator's settings, and no other of its names."""
    names = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"}
    kept = {key: value for key, value in os.environ.items() if key not in names}
    root = str(Path(oom_suite.__file__).parents[1])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    if settings_text:
        kept["PYTORCH_CUDA_ALLOC_CONF"] = settings_text
    return kept


def run(plans):
    """What each plan's process said of its histories, all processes at once."""
    children = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), to_argument(plan)],
            env=environment(plan.settings_text),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for plan in plans
    ]
    try:
        judged = []
        for plan, child in zip(plans, children, strict=True):
            out, err = child.communicate(timeout=TIME_LIMIT_S)
            assert child.returncode == 0, f"{plan.name}: {err[-2000:]}"
            judged += [json.loads(line) for line in out.splitlines()]
        return judged
    finally:
        for child in children:
            child.kill()


def write_evidence(judged, mismatches, plans):
    """One JSON file where the environment asks for it."""
    folder = os.environ.get("OOM_SUITE_EVIDENCE")
    if not folder:
        return
    import torch

    actions = Counter()
    for one in judged:
        actions.update(one["actions"])
    body = {
        "what": "allocator model against recorded random histories, every counter at every event",
        "date": datetime.now(UTC).date().isoformat(),
        "command": "pytest tests/device/test_allocator_model.py",
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "num_histories": len(judged),
        "num_events": sum(one["num_calls"] for one in judged),
        "num_events_least": min(one["num_calls"] for one in judged),
        "num_counters_each_event": sorted({one["num_counters"] for one in judged}),
        "num_allocator_steps": sum(one["num_steps"] for one in judged),
        "actions": dict(sorted(actions.items())),
        "num_alloc_retries": sum(one["num_alloc_retries"] for one in judged),
        "mismatches": mismatches,
        "plans": [json.loads(to_argument(plan)) for plan in plans],
        "histories": [
            {key: value for key, value in one.items() if key != "actions"} for one in judged
        ],
    }
    path = Path(folder) / "allocator-histories.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


def test_every_counter_equals_at_every_event_of_two_hundred_random_histories(capsys):
    """Each counter, each block's place and each segment are what the model says."""
    import torch

    plans = plans_for(torch.version.hip)
    judged = run(plans)
    mismatches = [
        f"{one['plan']}, seed {one['seed']}: {one[kind]}"
        for one in judged
        for kind in ("mismatch", "difference")
        if one[kind] is not None
    ]
    write_evidence(judged, mismatches, plans)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(judged)} histories, {sum(one['num_calls'] for one in judged):,} events, "
            f"{judged[0]['num_counters']} counters after each, "
            f"{sum(one['num_steps'] for one in judged):,} allocator steps, "
            f"{len(mismatches)} mismatches\n"
        )
    assert [] == mismatches
    assert {plan.name: plan.num_histories for plan in plans} == Counter(
        one["plan"] for one in judged
    )
    assert len(judged) >= sum(plan.num_histories for plan in plans) >= 160
    assert min(one["num_calls_equal"] for one in judged) >= 500
    assert min(one["num_counters"] for one in judged) >= 121


def test_a_model_with_other_settings_is_noticed():
    """The comparison fails when the model splits blocks that the allocator does not."""
    plan = Plan(
        "wrong settings", "max_split_size_mb:64", first_seed=1, num_histories=2, judged_as=""
    )
    judged = run((plan,))
    assert 2 == len(judged)
    assert all(one["mismatch"] is not None for one in judged)
    assert all(one["difference"] is not None for one in judged)
