"""The count of what is known of torch's operators, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from packaging.version import Version

from oom_suite.operators.census import AT_MOST, EXACT, NAMED, PARTLY, census, counted
from oom_suite.operators.kernels import Kernels

PAGE = Path(__file__).parents[3] / "docs" / "operators.md"
TARGETS = {
    "cuda:sm_90": Kernels(),
    "rocm:gfx942": Kernels("rocm", "gfx942", num_multiprocessors=304, warp_size=64),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", EXACT),
        ("view", EXACT),
        ("sort", EXACT),
        ("topk", EXACT),
        ("index_put", PARTLY),
        ("native_layer_norm_backward", PARTLY),
        ("linalg_qr", NAMED),
        ("_to_sparse", NAMED),
    ],
)
def test_each_operator_is_of_one_kind(name, expected):
    assert expected == census(TARGETS["cuda:sm_90"])[name]


def test_what_has_cubs_storage_in_it_is_not_exact_on_another_library():
    assert AT_MOST == census(TARGETS["rocm:gfx942"])["sort"]
    assert EXACT == census(TARGETS["rocm:gfx942"])["sum"]


@pytest.mark.skipif(
    Version(torch.__version__).release[:2] != (2, 13), reason="the page counts torch 2.13's"
)
@pytest.mark.parametrize("target", TARGETS)
def test_the_page_shows_how_many_there_are_of_each_kind(target):
    found = counted(TARGETS[target])
    row = " | ".join(str(found[kind]) for kind in (EXACT, AT_MOST, PARTLY, NAMED))
    assert f"| `{target}` | {row} |" in PAGE.read_text(encoding="utf-8")
