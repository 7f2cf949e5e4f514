"""What the decorators declare: names, the workload that shows a fault, the axes of its law."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from oom_suite.doors import workload as find_workload
from oom_suite.errors import UsageError
from oom_suite.selfcheck import LAW, Mutant, Promised, Twin, declared_in, mutant, twin
from oom_suite.selfcheck.faults import growth
from oom_suite.selfcheck.faults.catalog import MUTANTS, SUBJECTS, TWINS
from oom_suite.selfcheck.faults.declare import each_once
from oom_suite.selfcheck.faults.limit import growth_of
from oom_suite.selfcheck.tasks import tasks
from oom_suite.workloads.sparse_mla.workload import DECODE

_PACKAGE = "oom_suite.selfcheck.faults"
_POOLS = ["swa_num_blocks", "extra_num_blocks"]
_BY_NAME = {one.name: one for one in SUBJECTS}


def axes_of(subject):
    cheapest = subject.in_cheapest_form()
    return [axis.name for axis in cheapest.narrowed(find_workload(cheapest.workload)).axes]


@mutant("capture", "host-sync", along=())
def waits(**_):
    """MI300X waits for the host.

    A second paragraph.
    """


@mutant(LAW, "allocate", about_two_pools=True)
def grows(**_):
    """A byte for each block."""


@twin(LAW, workload="somebody's")
def healthy(**_):
    """Odd and right."""


HERE = {one.function: one for one in declared_in(sys.modules[__name__])}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "growth:byte_per_block",
            Mutant(
                spelling=f"{_PACKAGE}.growth:byte_per_block",
                group="growth",
                about="a byte of state for each block",
                quick_workload="decode-swa",
                along=(),
                detector="law",
                expected=("byte_per_block",),
            ),
        ),
        (
            "growth:only_with_many_heads",
            Mutant(
                spelling=f"{_PACKAGE}.growth:only_with_many_heads",
                group="growth",
                about="a byte for each block above 64 heads",
                along=("num_heads",),
                detector="law",
                expected=("only_with_many_heads",),
            ),
        ),
        (
            "creep:cached_by_tensor",
            Mutant(
                spelling=f"{_PACKAGE}.creep:cached_by_tensor",
                group="creep",
                about="a function of a tensor is cached, though no tensor comes twice",
                is_stateful=True,
                detector="creep",
                expected=("leaked-reference",),
                places=("_scaled",),
            ),
        ),
        (
            "twins:pools_in_other_order",
            Twin(
                spelling=f"{_PACKAGE}.twins:pools_in_other_order",
                group="twins",
                detector="precision",
                about="attends to the compressed pool before the window's",
                along=("num_tokens", "extra_topk"),
            ),
        ),
    ],
)
def test_a_decorator_and_a_function_say_all_that_is_known_of_a_fault(name, expected):
    """Nothing of it is written anywhere else."""
    assert expected == _BY_NAME[name]


def test_what_a_report_says_is_the_first_line_below_the_def():
    """Without its full stop, and as it stands within a sentence."""
    assert "a byte for each block" == HERE["grows"].about
    assert "MI300X waits for the host" == HERE["waits"].about


def test_a_detector_that_names_lines_must_name_the_function():
    """Unless another place is given; the law names a function by itself."""
    assert ("host-sync in waits",) == HERE["waits"].expected_names
    assert ("allocate",) == HERE["grows"].expected_names
    assert ("leaked-reference in _scaled",) == _BY_NAME["creep:cached_by_tensor"].expected_names


def test_a_module_declares_its_own_functions_in_their_order():
    """What it imports from another is that one's."""
    assert ["waits", "grows", "healthy"] == list(HERE)
    assert tuple(one for one in MUTANTS if one.group == "growth") == declared_in(growth)


def test_a_fault_in_one_pool_is_tried_on_a_layer_that_has_one():
    """Only by what searches for long: all else tries both pools in a moment."""
    assert "decode" == HERE["grows"].in_cheapest_form().workload
    one_pool = _BY_NAME["growth:whole_dequant_swa"].in_cheapest_form()
    two_pools = _BY_NAME["growth:whole_dequant_extra"].in_cheapest_form()
    assert ("decode-swa", "decode") == (one_pool.workload, two_pools.workload)
    brief = [one for one in MUTANTS if one.detector not in {"law", "reads"}]
    assert brief == [one.in_cheapest_form() for one in brief]


def test_a_workload_that_is_not_decode_is_never_exchanged():
    """The rule of one pool and two is about decode steps."""
    assert "somebody's" == HERE["healthy"].in_cheapest_form().workload


@pytest.mark.parametrize("group", ["growth", "axes", "twins", "reach"])
def test_both_layers_are_tried(group):
    """No group that is searched for long is tried on one layer alone."""
    subjects = [task.subject for task in tasks(SUBJECTS, "cpu", only=group)]
    steps = [one.workload for one in subjects if one.workload.startswith("decode")]
    assert {"decode", "decode-swa"} == set(steps)


@pytest.mark.parametrize(
    "subject", [one for one in SUBJECTS if not one.promised], ids=lambda one: one.name
)
def test_every_law_is_sought_along_each_pool_and_along_axes_that_there_are(subject):
    """What a step must not depend on is varied for every subject, on whichever layer."""
    cheapest = subject.in_cheapest_form()
    workload = find_workload(cheapest.workload)
    assert set(workload.contract.independent_of) | set(subject.along or ()) <= set(axes_of(subject))


def test_a_twin_that_names_no_axes_is_varied_along_all():
    """Only a twin whose oddity was looked at has axes that are held."""
    unknown = replace(_BY_NAME["twins:pools_in_other_order"], along=None)
    assert [axis.name for axis in DECODE.axes] == axes_of(unknown)


def test_a_twin_is_varied_along_the_axes_of_its_oddity():
    """Halves of the heads ask for other numbers of heads, and for no other entries."""
    expected = ["swa_num_blocks", "num_tokens", "num_heads"]
    assert expected == axes_of(_BY_NAME["twins:heads_in_two_halves"])


def test_faults_of_the_wrong_axis_are_varied_along_all():
    """A fault that may be about any axis has none held."""
    assert {None} == {one.along for one in MUTANTS if one.group == "axes"}


def test_a_fault_of_growth_is_varied_along_the_pools_and_what_it_asks_for():
    """A mask over the blocks asks for no other batch; one at a single request does."""
    assert _POOLS == axes_of(_BY_NAME["growth:mask_of_blocks"])
    assert [_POOLS[0], "num_tokens"] == axes_of(_BY_NAME["growth:only_at_one_token"])


def test_the_limit_is_sought_along_the_pool_alone():
    """Growth by a byte for so many blocks is about nothing else."""
    assert ["swa_num_blocks"] == axes_of(growth_of(8))


def test_an_alarm_about_a_twin_is_false_unless_it_breaks_that_property_by_its_nature():
    """A twin that waits for the host on purpose must be found out, and nothing else said."""
    waiting = replace(TWINS[0], breaks=("capture",))
    verdicts = [
        waiting.trial(detector, verdict, (), "", 0).is_right
        for detector in ("capture", "creep")
        for verdict in ("FAIL", "PASS")
    ]
    assert [True, False, False, True] == verdicts


def test_a_fault_is_caught_when_the_plainest_name_is_right():
    """A name that comes later, or a verdict without one, is not enough."""
    fault = HERE["waits"]
    named = [("host-sync in waits", "other"), ("other", "host-sync in waits"), ()]
    assert [True, False, False] == [
        fault.trial("capture", "FAIL", n, "", 0).is_right for n in named
    ]
    assert not fault.trial("capture", "INCONCLUSIVE", named[0], "", 0).is_right


def test_a_detector_that_there_is_not_is_refused():
    """The message names the nearest."""
    with pytest.raises(UsageError, match="did you mean 'capture'"):
        mutant("captures", "host-sync")(healthy)


def test_a_module_that_cannot_be_imported_is_named():
    """In one line, with what went wrong."""
    with pytest.raises(
        UsageError, match=r"the faults of no\.such\.module cannot be imported: Module"
    ):
        each_once(["no.such.module"])


def test_a_safety_detector_is_refused_for_a_builder_of_its_own():
    """It would not know how to call it."""
    with pytest.raises(UsageError, match="for which there is only law, not creep"):
        mutant("creep", "leaked-reference", promised=Promised({"n": 4}))(healthy)


def test_others_faults_come_after_the_suite_s_own():
    """As plugins register them."""
    assert (*SUBJECTS, *HERE.values()) == each_once([*SUBJECTS, *HERE.values()])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"group": "growth", "spelling": "theirs:byte_per_block"}, "theirs:byte_per_block"),
        ({"group": "limit"}, "rename its file"),
        ({"group": "twins"}, "rename its file"),
    ],
    ids=["name", "limit", "twins"],
)
def test_a_fault_whose_name_has_a_meaning_already_is_refused(changed, words):
    """Two of one name could not be told apart in a report."""
    with pytest.raises(UsageError, match=words):
        each_once([*SUBJECTS, replace(HERE["waits"], **changed)])
