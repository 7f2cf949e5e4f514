"""Can the step be captured in a CUDA or HIP graph, and do replays follow new contents?

It is answered twice, by methods that share nothing. The *record* runs the step in the shadow lane
and names every operator and call that a capturing stream refuses. The *replay* captures it: on a
GPU with ``torch.cuda.graph``, on the CPU by running the operators of one run again without their
Python.
Each replay follows new indices, lengths, cache contents, queries or sinks written into the same
buffers, and must answer as an eager run on those contents does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from oom_suite.errors import LaneError, OomSuiteError
from oom_suite.records import Verdict
from oom_suite.records.safety import Finding, Hit
from oom_suite.safety.capture_record import CaptureWatch, waits_noted
from oom_suite.safety.capture_table import OTHER_THREAD
from oom_suite.safety.cpu_replay import cpu_replays
from oom_suite.safety.fake_isolation import in_fork
from oom_suite.safety.graph_replay import captured, graph_replays
from oom_suite.safety.hip_releases import reports_capture_errors
from oom_suite.safety.replay_cases import has_replays, replays
from oom_suite.safety.steps import builder_of
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.tracing.shadow_device import shadow_device
from oom_suite.tracing.source_lines import lines_under_test

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from oom_suite.safety.fake_isolation import Runs
    from oom_suite.safety.steps import Target

    LaunchHook = Callable[[str, list[object]], None]

DISAGREES = "capture-disagreement"
NOT_PROVED = (
    "That other batch sizes can be captured, that work on side streams is joined "
    "(only a GPU tells), nor what a library call does inside that the table does not list"
)
_WARM_UPS = 3
_TIME_LIMIT_S = 60.0


def _no_hook(hook: LaunchHook) -> None:
    """Launches of placeholder kernels stay errors."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of the two methods found.

    Attributes:
        how: which method, in words.
        hits: what it found; None where it could not tell.
        reason: why it could not tell.
    """

    how: str
    hits: tuple[Hit, ...] | None
    reason: str = ""

    @property
    def text(self) -> str:
        """The answer in a few words."""
        if self.hits is None:
            return f"{self.how} could not tell: {self.reason}"
        return f"{self.how}: {self.hits[0].text}" if self.hits else f"{self.how}: captures"


class Capture:
    """Finds steps that cannot be captured in a graph, or not replayed.

    On a GPU the process must not be used for the device after a FAIL: a capture that was refused
    can leave the allocator in the middle of a capture.

    Args:
        set_launch_hook: given what is to hear of launches of kernels that are placeholders,
            where Triton is not installed.
        runs: how the record, and a replay on the CPU, are run.

    Does not prove: what `NOT_PROVED` says.
    """

    name = "capture"
    needs: tuple[str, ...] = ()

    def __init__(
        self, set_launch_hook: Callable[[LaunchHook], object] = _no_hook, runs: Runs = in_fork
    ) -> None:
        self._set_launch_hook = set_launch_hook
        self._runs = runs

    def __call__(self, target: Target) -> Finding:
        """The verdict of both methods."""
        record = _answered(
            "the record", lambda: self._runs(lambda: self.record(target), _TIME_LIMIT_S)
        )
        if target.device.type == "cpu":
            replay = _answered(
                "replay on the CPU", lambda: self._runs(lambda: on_cpu(target), _TIME_LIMIT_S)
            )
            return _without_gpu(record, replay)
        if elsewhere := by_record_alone(record):
            return elsewhere
        replay = _answered("torch.cuda.graph", lambda: on_gpu(target))
        return agreed(record, replay, is_told=reports_capture_errors(torch.version.hip))

    def record(self, target: Target) -> tuple[Hit, ...]:
        """What the shadow lane saw that a capture refuses.

        Raises:
            OomSuiteError: the step could not be followed, and nothing was seen until then.
        """
        inputs = builder_of(target.workload)

        def built(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
            buffers = inputs(sizes, device)
            return lambda: target.call(**buffers)

        hits: dict[tuple[str, object], Hit] = {}
        for sizes in target.variants.captured_sizes(target.workload):
            for hit in recorded(built, sizes, target.root, self._set_launch_hook):
                hits.setdefault((hit.kind, hit.frame), hit)
        return tuple(hits.values())


def recorded(
    build: Callable[[Mapping[str, int], torch.device], Callable[[], object]],
    sizes: Mapping[str, int],
    root: Path,
    set_launch_hook: Callable[[LaunchHook], object] = _no_hook,
) -> tuple[Hit, ...]:
    """What a capture would refuse of a call after its warm-up, as the shadow lane sees it.

    Args:
        build: gives the call for sizes and a device, where its tensors are made.
        sizes: what it is built for.
        root: the folder of the code under test.
        set_launch_hook: see `Capture`.

    Raises:
        OomSuiteError: the call could not be followed, and nothing was seen until then.
    """
    watch = CaptureWatch(shadow_device().type, lines_under_test(root))
    lane = ShadowLane(root)
    set_launch_hook(lane.launched)

    def built(at: Mapping[str, int], device: torch.device) -> Callable[[], object]:
        under_test = build(at, device)

        def call() -> None:
            with waits_noted(watch):
                for _ in range(_WARM_UPS):
                    # What needs a value that nobody has here needs it under the watch, too.
                    with contextlib.suppress(LaneError):
                        under_test()
                with watch:
                    under_test()

        return torch.no_grad()(call)

    try:
        lane.run(built, sizes)
    except Exception:
        # What could not be followed further has been seen up to there.
        if not watch.hits:
            raise
    return watch.hits


def on_cpu(target: Target) -> tuple[Hit, ...]:
    """The hits of replays on the CPU, at each batch.

    Raises:
        LaneError: the step does not run on the CPU, or its sizes follow the values.
    """
    there = dataclasses.replace(target, device=torch.device("cpu"))
    with torch.no_grad():
        found = [hit for replay in replays(there) for hit in cpu_replays(there, replay)]
    return _distinct(found)


def on_gpu(target: Target) -> tuple[Hit, ...]:
    """The hits of real captures, at each batch until one is refused.

    A workload without steps to be replayed has those of its builder captured.

    Raises:
        LaneError: the step fails outside of a capture too.
    """
    if not has_replays(target):
        return _captured_alone(target)
    found: list[Hit] = []
    with torch.no_grad():
        for replay in replays(target):
            run = graph_replays(target, replay)
            found.extend(run.hits)
            if not run.was_captured:
                break
    return _distinct(found)


def _captured_alone(target: Target) -> tuple[Hit, ...]:
    """The first refusal of a capture at the workload's sizes."""
    for sizes in target.variants.captured_sizes(target.workload):
        buffers = builder_of(target.workload)(sizes, target.device)
        with torch.no_grad():
            graph = captured(functools.partial(target.call, **buffers), target.device, target.root)
        if isinstance(graph, Hit):
            return (graph,)
    return ()


def by_record_alone(record: Answer) -> Finding | None:
    """The verdict where no real capture is tried; None where one is.

    Torch refuses another thread's request for memory during a capture. The thread ends of that
    error, and code that waits for its result would wait for ever.
    """
    hits = record.hits or ()
    if OTHER_THREAD not in {hit.kind for hit in hits}:
        return None
    replay = "torch.cuda.graph: not tried, since work on another thread can leave it hanging"
    return _judged(hits, (("record", record.text), ("replay", replay)), "")


def agreed(record: Answer, replay: Answer, *, is_told: bool = True) -> Finding:
    """The verdict where both methods were tried: they must not contradict each other.

    Args:
        record: what the shadow lane saw.
        replay: what real captures and their replays showed.
        is_told: whether the runtime reports what a capture cannot hold. Without, a capture that
            went through contradicts nobody, and the record decides.
    """
    facts = (("record", record.text), ("replay", replay.text))
    if record.hits is None or replay.hits is None:
        hits = (record.hits or ()) + (replay.hits or ())
        reason = record.text if record.hits is None else replay.text
        verdict = Verdict.FAIL if hits else Verdict.INCONCLUSIVE
        return Finding("capture", verdict, reason, hits, facts, NOT_PROVED)
    hits = record.hits + replay.hits
    if not is_told and not replay.hits:
        return _judged(hits, facts, "nothing in the step is refused by a capture; replays follow")
    if bool(record.hits) != bool(replay.hits):
        reason = f"{record.text}; {replay.text}"
        split = Hit(DISAGREES, reason, hits[0].frame)
        return Finding("capture", Verdict.INCONCLUSIVE, reason, (split, *hits), facts, NOT_PROVED)
    return _judged(hits, facts, "captured and replayed on new contents; the record agrees")


def _without_gpu(record: Answer, replay: Answer) -> Finding:
    """The verdict without a GPU: the record decides, and a replay can only add what it misses."""
    facts = (("record", record.text), ("replay", replay.text))
    hits = (record.hits or ()) + (replay.hits or ())
    if record.hits is None and not hits:
        return Finding("capture", Verdict.INCONCLUSIVE, record.text, (), facts, NOT_PROVED)
    beside = "" if replay.hits is None else "; replays on the CPU follow new contents"
    return _judged(hits, facts, f"nothing in the step is refused by a capture{beside}")


def _judged(hits: tuple[Hit, ...], facts: tuple[tuple[str, str], ...], good: str) -> Finding:
    if not hits:
        return Finding("capture", Verdict.PASS, good, (), facts, NOT_PROVED)
    at = f" at {hits[0].frame}" if hits[0].frame else ""
    return Finding("capture", Verdict.FAIL, f"{hits[0].text}{at}", hits, facts, NOT_PROVED)


def _answered(how: str, find: Callable[[], tuple[Hit, ...]]) -> Answer:
    try:
        return Answer(how, find())
    except OomSuiteError as error:
        return Answer(how, None, str(error))


def _distinct(hits: list[Hit]) -> tuple[Hit, ...]:
    return tuple({(hit.kind, hit.text, hit.frame): hit for hit in hits}.values())


__all__ = [
    "NOT_PROVED",
    "Answer",
    "Capture",
    "agreed",
    "by_record_alone",
    "on_cpu",
    "on_gpu",
    "recorded",
]
