"""What to do where runs and laws do not decide a contract, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oom_suite.laws.evidence import Dependence

OWN_WORK = (
    "let the call do that work itself and wait for it, or make what it needs in the function that "
    "makes the inputs"
)
OWN_STATE = "make what is kept between calls in the function that makes the inputs"
KNOWN_KERNELS = (
    "name a target whose kernels are known, such as --target cuda:sm_90 (--oom-target under "
    "pytest), or measure on a device: --device cuda"
)
TERM_BY_TERM = "write the bound so that each of its terms is at least the law's own"


def farther(shown: Dependence) -> str:
    """How to see whether what differs below the peak is ever the peak."""
    sizes = ", ".join(f"{axis!r}: ({4 * shown.after[axis]},)" for axis in shown.axes)
    return f"look further out, where it is the peak or stays: far={{{sizes}}}; or promise at_most"


def which_sizes(axis: str, size: int) -> str:
    """How to say which sizes code can be called with."""
    return (
        f"say which sizes the code takes: steps={{{axis!r}: ...}} where it needs multiples, "
        f"lower={{{axis!r}: {size}}} where it takes none below, "
        f"far={{{axis!r}: (...)}} where only some"
    )
