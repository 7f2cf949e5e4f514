"""A run on the CPU, with a handful of operators: predicted, measured, and told apart."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.conformance import run
from oom_suite.pipeline.conformance.run import Options, conformance
from oom_suite.records.conformance import Status

pytestmark = pytest.mark.xdist_group("conformance")


@pytest.fixture(scope="module")
def found():
    only = ("sort", "add", "masked_select", "nn.Linear", "nn.MultiMarginLoss", "layer_norm")
    return conformance(Options(only=only))


def test_operators_of_every_kind_are_equal_to_the_byte_on_a_cpu(found):
    for name in ("sort", "add", "nn.Linear", "layer_norm"):
        rows = [row for row in found.rows if row.name == name]
        assert {Status.EXACT} == {row.status for row in rows}, name


def test_types_and_samples_each_have_a_row(found):
    cases = {row.case.partition(" ")[0] for row in found.rows if row.name == "sort"}
    assert {"float32", "bfloat16", "float16", "int64", "int32", "bool"} == cases


def test_the_run_says_where_and_for_whom(found):
    assert ("cpu", (), ("operators", "modules", "scaled")) == (
        found.target,
        found.left_out,
        found.suites,
    )
    assert found.device
    assert found.torch.startswith("2.")


def test_what_the_cpu_itself_cannot_run_is_no_failure(found):
    """torch has no bfloat16 kernel for that loss on a CPU."""
    rows = [r for r in found.rows if r.name == "nn.MultiMarginLoss" and "bfloat16" in r.case]
    assert {Status.NOT_RUN} == {row.status for row in rows}
    assert "not implemented for 'BFloat16'" in rows[0].reason


def test_an_unknown_name_is_one_line():
    with pytest.raises(UsageError) as error:
        conformance(Options(only=("sortt",), suites=("scaled",)))
    assert "--only sortt: no such unit in scaled" == str(error.value)


def test_time_that_is_over_leaves_everything_out():
    """The units are named, and nothing is claimed of them."""
    found = conformance(Options(only=("sort",), suites=("scaled",), limit_s=0.0))
    assert ((), True) == (found.rows, "sort" in found.left_out)


def test_what_is_known_is_given_away_while_it_runs(monkeypatch):
    """Each call that both sides have done, as it is at the end; units without one are left out."""
    monkeypatch.setattr(run, "_KEEP_EVERY_S", 0.0)
    kept = []
    found = conformance(Options(only=("sort", "softmax"), suites=("scaled",)), keep=kept.append)
    assert len(kept) > 1
    assert all(set(one.rows) <= set(found.rows) for one in kept)
    names = {row.name for row in found.rows}
    assert ((), names) == (kept[0].rows, set(kept[0].left_out))
    assert () == found.left_out
