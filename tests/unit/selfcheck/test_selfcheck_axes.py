"""Which axes the self-check varies for a subject's law."""

from __future__ import annotations

import pytest

from oom_suite.doors import workload
from oom_suite.selfcheck import varied as listed
from oom_suite.selfcheck.faults.catalog import MUTANTS, TWINS
from oom_suite.selfcheck.layer import on_its_layer
from oom_suite.selfcheck.tasks import growing
from oom_suite.selfcheck.varied import varied
from oom_suite.workloads.sparse_mla.workload import DECODE

_ALL = [axis.name for axis in DECODE.axes]


def _axes(subject):
    return [axis.name for axis in varied(workload(subject.workload), subject).axes]


def _mutant(function):
    return next(mutant for mutant in MUTANTS if mutant.function == function)


def _twin(function):
    return next(twin for twin in TWINS if twin.function == function)


@pytest.mark.parametrize(
    "subject",
    [one for one in (*TWINS, *MUTANTS) if one.workload == "decode" and not one.promised],
    ids=lambda one: one.name,
)
def test_every_law_is_sought_along_each_pool(subject):
    """What a step must not depend on is varied for every subject, on whichever layer."""
    tried = on_its_layer(subject)
    promised = workload(tried.workload).contract.independent_of
    assert promised == tuple(_axes(tried)[: len(promised)])


def test_every_twin_that_is_listed_is_there():
    """A name in the list that is no twin's would hold nothing."""
    assert set() == set(listed._ODD) - {twin.function for twin in TWINS}


def test_a_twin_that_is_not_listed_is_varied_along_all_axes(monkeypatch):
    """Only a twin whose oddity was looked at has axes that are held."""
    monkeypatch.setattr(listed, "_ODD", {})
    assert _ALL == _axes(_twin("in_chunks"))


def test_a_twin_is_varied_along_the_axes_of_its_oddity():
    """Halves of the heads ask for other numbers of heads, and for no other entries."""
    expected = ["swa_num_blocks", "extra_num_blocks", "num_tokens", "num_heads"]
    assert expected == _axes(_twin("heads_in_two_halves"))


def test_faults_of_the_wrong_axis_are_varied_along_all():
    """A fault that may be about any axis has none held."""
    assert {tuple(_ALL)} == {tuple(_axes(one)) for one in MUTANTS if one.group == "axes"}


def test_a_fault_of_growth_is_varied_along_the_pools_and_what_it_asks_for():
    """A mask over the blocks asks for no other batch; one at a single request does."""
    pools = ["swa_num_blocks", "extra_num_blocks"]
    assert pools == _axes(_mutant("mask_of_blocks"))
    assert [*pools, "num_tokens"] == _axes(_mutant("only_at_one_token"))


def test_every_fault_that_is_listed_is_there():
    """A name in the list that is no mutant's would vary nothing."""
    assert set() == set(listed._GROWING) - {one.function for one in MUTANTS}


def test_the_limit_is_sought_along_the_pool_alone():
    """Growth by a byte for so many blocks is about nothing else."""
    assert ["swa_num_blocks"] == _axes(growing(8).subject)


def test_entries_are_those_of_the_one_pool_there_is():
    """A twin with a row for each entry has them varied on a layer with one pool, too."""
    alone = on_its_layer(_twin("decoded_in_bf16"))
    assert ["swa_num_blocks", "num_tokens", "swa_topk"] == _axes(alone)
    assert "extra_topk" in _axes(_twin("decoded_in_bf16"))
