"""Which operators a capturing stream refuses: every row of the tables, and its healthy twin."""

from __future__ import annotations

import pytest
import torch
from capture_kinds import kinds
from packaging.version import Version

from oom_suite.safety import capture_table as table

aten = torch.ops.aten


def symmetric(x):
    return x @ x.t()


ALWAYS = {
    "aten::_local_scalar_dense": lambda x, i: i[0].item(),
    "aten::equal": lambda x, i: torch.equal(x, x),
    "aten::_unique2": lambda x, i: torch.unique(i),
    "aten::unique_dim": lambda x, i: torch.unique(i.view(2, 2), dim=0),
    "aten::unique_consecutive": lambda x, i: torch.unique_consecutive(i),
    "aten::unique_dim_consecutive": lambda x, i: aten.unique_dim_consecutive(i.view(2, 2), 0),
    "aten::nonzero": lambda x, i: torch.nonzero(i),
    "aten::masked_select": lambda x, i: i.masked_select(i > 2),
    "aten::bincount": lambda x, i: torch.bincount(i),
    "aten::_linalg_check_errors": lambda x, i: aten._linalg_check_errors(
        i[:1].int(), "name", is_matrix=True
    ),
    "aten::_linalg_eigh": lambda x, i: torch.linalg.eigh(symmetric(x)),
    "aten::_linalg_svd": lambda x, i: torch.linalg.svd(x),
    "aten::linalg_eig": lambda x, i: torch.linalg.eig(x),
    "aten::linalg_lstsq": lambda x, i: torch.linalg.lstsq(x, x),
}
if Version(torch.__version__) >= Version("2.12"):  # before, it has no fake kernel
    ALWAYS["aten::_unique"] = lambda x, i: aten._unique(i)
NOT_SEEN_HERE = {"aten::_unique", "aten::is_nonzero", "aten::linalg_eigh", "aten::_coalesce"}
"""Rows of operators that are made of others before dispatch, or that no fake tensor can run."""


def test_every_row_of_what_is_always_refused_is_tried():
    assert table.ALWAYS.keys() - NOT_SEEN_HERE == ALWAYS.keys() - NOT_SEEN_HERE


@pytest.mark.parametrize("name", ALWAYS)
def test_what_is_always_refused_is_refused(name):
    """By the table's reason; code may be refused for what it does besides, too."""
    assert table.ALWAYS[name].kind in kinds(ALWAYS[name])


@pytest.mark.parametrize("name", table.ALWAYS)
def test_only_data_on_the_captured_device_is_a_concern(name):
    packet = getattr(aten, name.removeprefix("aten::"))
    overload = getattr(packet, packet.overloads()[0])
    args = (torch.ones(1),)
    assert table.ALWAYS[name] == table.refused(overload, args, {}, "cpu")
    assert table.refused(overload, args, {}, "cuda") is None


SOMETIMES = {
    "histc": (lambda x, i: x.histc(4), lambda x, i: x.histc(4, min=-1, max=1)),
    "histc by position": (lambda x, i: x.histc(4, 1, 1), lambda x, i: x.histc(4, -1, 1)),
    "histc with one end": (lambda x, i: x.histc(4, min=0), lambda x, i: x.histc(4, max=1)),
    "repeats": (
        lambda x, i: torch.repeat_interleave(i),
        lambda x, i: torch.repeat_interleave(i, output_size=6),
    ),
    "masked_fill": (
        lambda x, i: x.masked_fill(x > 0, x[0, 0]),
        lambda x, i: x.masked_fill(x > 0, 1.0),
    ),
    "masked_fill_": (
        lambda x, i: x.masked_fill_(x > 0, x[0, 0].clone()),
        lambda x, i: x.masked_fill_(x > 0, 1.0),
    ),
    "index_fill": (
        lambda x, i: x.index_fill(0, i, x[0, 0]),
        lambda x, i: x.index_fill(0, i, 1.0),
    ),
    "index_fill_": (
        lambda x, i: x.index_fill_(0, i, x[0, 0].clone()),
        lambda x, i: x.index_fill_(0, i, 1.0),
    ),
    "a value on the host": (
        lambda x, i: x.masked_fill_(x > 0, x[0, 0].clone()),
        lambda x, i: x.masked_fill_(x > 0, torch.tensor(1.0)),
    ),
    "a mask among indices": (lambda x, i: x[:, i > 1], lambda x, i: x[:, i]),
}


@pytest.mark.parametrize(("refused", "captured"), SOMETIMES.values(), ids=SOMETIMES)
def test_what_is_sometimes_refused_is_so_for_its_arguments(refused, captured):
    assert 1 == len(kinds(refused))
    assert [] == kinds(captured)


def test_every_row_of_what_is_sometimes_refused_is_tried():
    """The rows, as the calls above go through dispatch."""
    tried = {"histc", "repeat_interleave.Tensor", "index.Tensor"}
    tried |= {f"masked_fill{end}.Tensor" for end in ("", "_")}
    tried |= {f"index_fill{end}.int_Tensor" for end in ("", "_")}
    assert {f"aten::{name}" for name in tried} == table.SOMETIMES.keys()


def test_a_mask_of_bytes_is_a_mask():
    x, byte = torch.ones(2), torch.ones(2, dtype=torch.uint8)
    index = aten.index.Tensor
    assert table.MASK_PUT == table.refused(index, (x, [byte]), {}, "cpu")
    assert table.refused(index, (x, [None, byte.long()]), {}, "cpu") is None
