"""Where one law does not hold everywhere, the others are found and reported."""

from __future__ import annotations

from heap import SCENARIO, Code, attention, law_of, verdict_on

from oom_suite.errors import LaneError
from oom_suite.laws.derive import derive
from oom_suite.laws.evidence import Survey
from oom_suite.laws.fit import Fit
from oom_suite.laws.grid import Grid
from oom_suite.records import Verdict
from oom_suite.workloads.sparse_mla.workload import DECODE


def opens(rule, num_bytes):
    """A healthy step beside a temporary that only some sizes ask for."""

    def program(heap, s):
        handle = heap.alloc("branch", num_bytes(s)) if rule(s) else None
        attention(heap, s)
        if handle is not None:
            heap.free(handle)

    return program


def test_a_branch_that_one_step_opens_is_another_law():
    """At the scenario the branch is shut: the law has no term of it, and the note has."""
    program = opens(lambda s: s.num_tokens > 4, lambda s: s.num_tokens << 20)
    derivation = law_of(program)
    assert "branch" not in str(derivation.law)
    for change in derivation.elsewhere:
        peak = Code(program)(change.law.sizes).peak().num_bytes
        assert peak == change.actual_bytes == change.law(change.law.sizes)
    assert any(change.moved.get("num_tokens", 0) > 4 for change in derivation.elsewhere)
    assert verdict_on(program).verdict is Verdict.PASS


def test_a_branch_that_only_the_scenario_takes_is_in_its_law():
    """Sites that other sizes do not have are not lost at the scenario."""
    program = opens(lambda s: s.num_heads == 16, lambda s: 32 << 20)
    derivation = law_of(program)
    assert derivation.trace.peak().num_bytes == derivation.law(SCENARIO)
    assert (32 << 20) < derivation.law(SCENARIO)


def test_a_branch_in_a_corner_of_the_grid_is_reported():
    """A branch that only two axes together open leaves the lines' law, and is found."""
    program = opens(lambda s: s.num_tokens > 4 and s.num_heads > 16, lambda s: s.num_tokens << 16)
    derivation = law_of(program)
    assert not derivation.is_global
    assert derivation.trace.peak().num_bytes == derivation.law(SCENARIO)
    assert verdict_on(program).verdict is Verdict.PASS


def test_growth_in_a_corner_fails():
    """A branch of two other axes in which the pool grows is a FAIL that names it."""
    program = opens(lambda s: s.num_tokens > 4 and s.num_heads > 16, lambda s: s.swa_num_blocks)
    judgement = verdict_on(program)
    assert judgement.verdict is Verdict.FAIL
    assert [blame.function for blame in judgement.blame] == ["branch"]


def test_another_law_reads_with_its_sizes_and_bytes():
    """The note says where, what law, how many bytes, and what the first law says."""
    program = opens(lambda s: s.num_tokens > 100, lambda s: 1 << 20)
    notes = verdict_on(program).notes
    first, actual = law_of(attention).law, Code(program)({**SCENARIO, "num_tokens": 128})
    assert notes[0].startswith("another law holds at num_tokens=128: ")
    assert notes[0].endswith(
        f" ({actual.peak().num_bytes:,} bytes, where the first law says "
        f"{first({**SCENARIO, 'num_tokens': 128}):,})"
    )


def test_a_fraction_that_is_not_the_peak_does_not_matter():
    """A law's value is whole wherever its largest polynomial is."""

    def program(heap, s):
        heap.passing("words", (s.swa_topk + 31) // 32 * 4)
        heap.passing("cover", 1 << 20)

    derivation = law_of(program, at={"swa_topk": 100})
    assert 1 << 20 == derivation.law(SCENARIO)
    assert derivation.is_global


def test_a_law_that_says_no_whole_number_says_so():
    """Words of 32 entries, fitted where a step fills none, are eighths of a byte elsewhere."""

    def program(heap, s):
        heap.passing("words", (s.swa_topk + 31) // 32 * 4)

    derivation = law_of(program, at={"swa_topk": 100})
    assert "0.125*swa_topk + 3.5" == str(derivation.law)
    assert [-1] == [change.predicted_bytes for change in derivation.elsewhere]
    assert (
        "another law holds at swa_topk=32, referenced_blocks=128: 0.125*swa_topk "
        "(4 bytes, where the first law says no whole number)"
    ) == verdict_on(program, at={"swa_topk": 100}).notes[0]


def test_larger_steps_give_a_law_for_every_so_manieth_size():
    """Padding to 128 is a law of every 128th size; the note says which sizes those are."""

    def program(heap, s):
        heap.passing("padded", -(-s.extra_topk // 128) * 128 * 512)

    law = law_of(program, at={"extra_topk": 500}).law
    assert "holds for every 128th extra_topk from 500" in law.notes
    assert law({**SCENARIO, "extra_topk": 500 + 128}) == 640 * 512


def test_an_axis_that_is_regular_alone_and_not_beside_a_loop_is_left_out():
    """The tokens make a place a loop, and the largest of its turns bends along the top-k."""

    def program(heap, s):
        for turn in range(s.num_tokens):
            heap.passing("turn", 64 * s.swa_topk if turn % 2 else 11_000)

    derivation = law_of(program)
    assert ["swa_topk"] == list(derivation.irregular)
    assert (
        "no polynomial fits at swa_topk=128, 160, 192, 224: the peak is 11,000, 11,000, 12,288, "
        "14,336 bytes"
    ) == derivation.irregular["swa_topk"]
    assert 128 == derivation.law.held["swa_topk"]


def test_a_step_of_code_on_the_edge_of_a_pool_size_is_not_taken_for_its_law():
    """Flat on one side of the scenario and growing on the other is growth."""
    program = opens(lambda s: s.swa_num_blocks >= 32768, lambda s: s.swa_num_blocks)
    assert verdict_on(program).verdict is Verdict.FAIL


def test_a_grid_keeps_to_what_can_be_built():
    """Mixed grid points that no index tensor could name are left out, not run."""
    sizes = {**SCENARIO, "num_tokens": 1, "swa_topk": 8, "extra_topk": 8, "referenced_blocks": 8}
    seen = []

    def run(at):
        seen.append(at)
        return Code(attention)(at)

    grid = Grid(Survey(run, sizes), DECODE)
    found = Fit(grid)
    assert all(DECODE.is_valid(at) for at in seen)
    assert found.peak(sizes) == Code(attention)(sizes).peak().num_bytes


def test_every_run_is_made_once():
    """Laws found elsewhere share the runs already made."""
    program = opens(lambda s: s.num_tokens > 100, lambda s: 1 << 20)
    code = Code(program)
    derivation = derive(code, DECODE, SCENARIO)
    # One run is made twice on purpose: the scenario's, to see whether the code keeps state.
    assert derivation.law.num_runs + 1 == code.num_calls


def test_larger_steps_down_give_a_law_for_every_so_manieth_size_too():
    """Code that refuses more than the scenario's top-k, and pads to 128."""

    def program(heap, s):
        heap.passing("padded", -(-s.extra_topk // 128) * 128 * 512)

    law = law_of(
        program,
        at={"extra_topk": 500},
        refuses=lambda s: LaneError("too many") if s.extra_topk > 500 else None,
    ).law
    assert "holds for every 128th extra_topk from 500" in law.notes
    assert law({**SCENARIO, "extra_topk": 500 - 128}) == 384 * 512
