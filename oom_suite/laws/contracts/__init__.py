"""What a workload promises about its peak: read from text, built by name, decided on a law."""

from oom_suite.laws.contracts.contract import (
    Decision,
    at_most,
    bounded_in,
    constant,
    constant_after,
    contract,
    decide,
    decide_constant,
    decide_linear_in,
    independent_of,
    linear_in,
)
from oom_suite.laws.contracts.covered import covered_by, read_box
from oom_suite.laws.contracts.expressions import parse_bound, parse_polynomial

__all__ = [
    "Decision",
    "at_most",
    "bounded_in",
    "constant",
    "constant_after",
    "contract",
    "covered_by",
    "decide",
    "decide_constant",
    "decide_linear_in",
    "independent_of",
    "linear_in",
    "parse_bound",
    "parse_polynomial",
    "read_box",
]
