"""What a call takes inside on a target: exact steps, or a bound; None where neither is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.operators.cuda import (
    bags,
    convolutions,
    copied,
    distributions,
    fft,
    histograms,
    indexing,
    lu,
    margins,
    matrices,
    products,
    promotions,
    recurrent,
    reductions,
    rows,
    segments,
    sorting,
    temporaries,
)
from oom_suite.operators.cuda.unique import unique
from oom_suite.operators.steps import Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call
    from oom_suite.operators.steps import Step

    Formula = Callable[[Call], Iterable[Step] | None]

FORMULAS: dict[str, Formula] = {
    **copied.FORMULAS,
    **products.FORMULAS,
    **reductions.FORMULAS,
    **sorting.FORMULAS,
    **indexing.FORMULAS,
    **temporaries.FORMULAS,
    **distributions.FORMULAS,
    **promotions.FORMULAS,
    **rows.FORMULAS,
    **fft.FORMULAS,
    **bags.FORMULAS,
    **histograms.FORMULAS,
    **margins.FORMULAS,
    **segments.FORMULAS,
    **matrices.FORMULAS,
    **lu.FORMULAS,
    **convolutions.FORMULAS,
    **recurrent.FORMULAS,
    "aten::_unique": unique,
    "aten::_unique2": unique,
    "aten::unique_consecutive": unique,
}
"""By an operator's name without its overload; ``add_`` is looked up as ``add``."""


NEEDS_CUDA = frozenset(fft.FORMULAS)
"""Operators whose steps are those of CUDA's libraries alone."""

MADE_OF_NOTHING = frozenset({"aten::randperm"})
"""Operators without a tensor to look at: their device is their result's."""

BOUNDED = frozenset({"aten::embedding_renorm", "aten::nonzero", *fft.FORMULAS})
"""Operators whose steps have a bound among them at some sizes."""

SOMETIMES = frozenset(
    {
        *(
            "aten::_unique",
            "aten::_unique2",
            "aten::unique_consecutive",
            "aten::cumsum",
            "aten::cumprod",
            "aten::normal",
        ),
        *(
            "aten::linalg_vector_norm",
            "aten::norm",
            "aten::index_put",
            "aten::embedding_dense_backward",
            "aten::_embedding_bag_backward",
            "aten::_embedding_bag_dense_backward",
        ),
        *("aten::_index_put_impl", "aten::_unsafe_index_put", "aten::index", "aten::_unsafe_index"),
        *("aten::_grouped_mm", "aten::cholesky", "aten::linalg_cholesky_ex", "aten::mode"),
        *("aten::linalg_solve_triangular", "aten::triangular_solve"),
        *(*lu.FORMULAS, *convolutions.FORMULAS),
    }
)
"""Operators with a formula for some arguments, and a name for the others."""

_NEEDS_CUB = frozenset(
    {
        *("aten::sort", "aten::topk", "aten::multinomial", "aten::masked_scatter"),
        "aten::embedding_renorm",
        *("aten::nonzero", *SOMETIMES - {"aten::normal", "aten::norm", "aten::linalg_vector_norm"}),
    }
)


def needs_cub() -> frozenset[str]:
    """Operators whose formula has CUB's temporary storage in it, tuned for sm_90."""
    return _NEEDS_CUB


def formula(family: str) -> Formula | None:
    """What says the steps of an operator's calls."""
    return FORMULAS.get(family) or FORMULAS.get(family.removesuffix("_"))


def inside(call: Call) -> tuple[Step, ...] | None:
    """What a call requests and frees, its new results among it; None where that is not known."""
    found = formula(call.op)
    steps = None if found is None else found(call)
    return None if steps is None else tuple(steps)


def is_partial(call: Call) -> bool:
    """Whether a library may take more in a call than its formula has."""
    return call.op in convolutions.WITH_WORKSPACE and not convolutions.is_whole(call)


def is_exact(steps: Iterable[Step]) -> bool:
    """Whether none of the requests is a bound."""
    return not any(isinstance(step, Take) and step.is_bound for step in steps)
