"""The models' sizes and their layer schedules."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.geometry import MODELS, model


@pytest.mark.parametrize(
    ("name", "layers", "swa_only", "c4a", "c128a", "full"),
    [
        ("DeepSeek-V4-Flash", 43, 2, 21, 20, 0),
        ("DeepSeek-V4-Pro", 61, 0, 30, 31, 0),
        ("DeepSeek-V3.2", 61, 0, 0, 0, 61),
    ],
)
def test_layer_kinds_add_up(
    name: str, layers: int, swa_only: int, c4a: int, c128a: int, full: int
) -> None:
    """Each model has the layers of each kind that its published ratios give."""
    known = model(name)
    counts = [known.layer_kinds.count(kind) for kind in ("swa_only", "c4a", "c128a", "full")]
    assert [layers, swa_only, c4a, c128a, full] == [known.num_layers, *counts]


@pytest.mark.parametrize("name", MODELS)
def test_head_dim_is_nope_and_rope(name: str) -> None:
    """A head's values are its nope and rope values."""
    known = model(name)
    assert known.head_dim == known.nope_head_dim + known.rope_head_dim


def test_flash_leaves_eight_heads_on_each_of_eight_ranks() -> None:
    """Tensor parallel 8 gives a rank 8 of Flash's 64 heads; 7 ranks are refused."""
    flash = model("DeepSeek-V4-Flash")
    assert flash.heads_per_rank(8) == 8
    with pytest.raises(UsageError, match=r"tensor_parallel is 7.*64 heads"):
        flash.heads_per_rank(7)


def test_an_unknown_model_names_the_nearest() -> None:
    """A misspelled model is answered with the one that was meant."""
    with pytest.raises(UsageError, match="did you mean 'DeepSeek-V4-Flash'"):
        model("DeepSeek-V4-Flahs")
