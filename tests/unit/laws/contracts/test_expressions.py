"""Bounds and laws as text: what is read, what is refused and in which words."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oom_suite.errors import UsageError
from oom_suite.laws.contracts import parse_bound, parse_polynomial
from oom_suite.records import Polynomial

AXES = ("num_tokens", "topk", "num_blocks")
MONOMIALS = st.lists(st.sampled_from(AXES), max_size=4).map(lambda axes: tuple(sorted(axes)))
COUNTS = st.integers(1, 2**70)
BOUNDS = st.dictionaries(MONOMIALS, COUNTS, max_size=6)
DECIMALS = st.fractions(max_denominator=10**6) | st.integers(-(2**70), 2**70).map(Fraction)
LAWS = st.dictionaries(MONOMIALS, DECIMALS, max_size=6)


def polynomial(terms):
    return Polynomial.of(terms, AXES)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("4*num_tokens*topk*1KiB + 64MiB", {("num_tokens", "topk"): 4096, (): 64 << 20}),
        ("64 MiB", {(): 64 << 20}),
        ("1.5KiB*topk", {("topk",): 1536}),
        ("0", {}),
        ("7", {(): 7}),
        ("1_000*topk", {("topk",): 1000}),
        ("topk**2 * 3", {("topk", "topk"): 3}),
        ("(num_tokens + topk)**2", {("num_tokens",) * 2: 1, ("topk",) * 2: 1, AXES[:2]: 2}),
        ("2*(topk + 1B)*(3 + topk)", {("topk",) * 2: 2, ("topk",): 8, (): 6}),
        ("\n  topk\n+ 1\t", {("topk",): 1, (): 1}),
    ],
)
def test_a_bound_is_what_its_text_says(text, terms):
    """Sums, products, amounts, powers and parentheses give the polynomial they spell."""
    assert polynomial(terms) == parse_bound(text, AXES)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("min(num_tokens, 1024)", "min(num_tokens, 1024)"),
        ("max(64MiB, 8*topk)", "max(67108864, 8*topk)"),
        ("max(topk, num_tokens, 1)", "max(topk, num_tokens, 1)"),
        ("4*min(num_tokens, 8)*topk + 1", "min(4*num_tokens*topk + 1, 32*topk + 1)"),
        ("(2 + max(topk, 3))**2", "max(4*topk + topk**2 + 4, 5*topk + 10, 5*topk + 10, 25)"),
        ("max(min(topk, 4), 2)", "min(max(topk, 2), max(4, 2))"),
        (
            "min(topk, 2) * max(num_tokens, 3)",
            "min(max(num_tokens*topk, 3*topk), max(2*num_tokens, 6))",
        ),
        ("min(topk, topk)", "min(topk, topk)"),
    ],
)  # fmt: skip
def test_min_and_max_are_multiplied_out(text, rows):
    """The least of several, each the largest of its own; at any sizes it is what Python says."""
    found = parse_bound(text, AXES)
    assert rows == str(found)
    code = text.replace("MiB", " * (1 << 20)")
    for tokens in (1, 3, 7, 8, 9, 1024, 1025):
        for topk in (1, 2, 3, 4, 5, 1 << 23, (1 << 23) + 1):
            sizes = {"num_tokens": tokens, "topk": topk, "num_blocks": 1}
            assert eval(code, {}, dict(sizes)) == found(sizes)


def test_minima_and_maxima_that_multiply_out_to_thousands_are_refused():
    """64 formulas are read, one more is not; nothing takes long."""
    eight = "max(" + ", ".join(["topk"] * 8) + ")"
    assert 64 == len(parse_bound(f"{eight} + {eight}", AXES).polynomials)
    nine = eight.replace(")", ", 1)")
    for text in (f"{eight} + {nine}", "*".join(["max(min(topk, 1), min(topk, 2))"] * 12)):
        with pytest.raises(UsageError, match="has more than 64 formulas once min and max"):
            parse_bound(text, AXES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4*num_token", "unknown axis 'num_token'"),
        ("4*num_token", "did you mean 'num_tokens'?"),
        ("64GB", "did you mean GiB?"),
        ("64 GB + topk", "did you mean GiB?"),
        ("64 gib", "did you mean GiB?"),
        ("3parsecs", "unknown unit 'parsecs'"),
        ("-64MiB", "a bound is not negative"),
        ("topk - 1", "a bound is not negative"),
        ("topk / 2", "divides: write sums and products"),
        ("topk // 2", "cannot be read"),
        ("max(topk)", "min and max take two amounts or more"),
        ("max(topk, 2, key=3)", "has '='"),
        ("median(topk, 2)", "calls something: write the sum"),
        ("max(topk, 2)**0", "min and max take two amounts or more"),
        ("f(topk)", "calls something"),
        ("1.5*topk", "has 1.5: write a whole number, or an amount such as 1.5KiB"),
        ("'topk'", "has text in quotes"),
        ("topk ** num_tokens", "has the power num_tokens"),
        ("topk ** 0", "has the power 0: a power is a whole number, 1 to 12"),
        ("topk ** 13", "has the power 13"),
        ("(topk**12)**12", "multiplies 24 sizes"),
        ("9**9**9", "has the power 9 ** 9"),
        ("", "the bound is empty"),
        ("  \n", "the bound is empty"),
        ("4*", "cannot be read"),
        ("4 topk", "cannot be read"),
        ("(topk", "cannot be read"),
        ("topk # twice", "has '#'"),
        ("topk; topk", "has ';'"),
        ("+topk", "has something else than + and *"),
        ("1__0", "cannot be read"),
        ("9" * 5000, "cannot be read"),
        ("(" * 500 + "1" + ")" * 500, "("),
        ("1" * 30_000, "the bound has 30,000 characters"),
        ("(1+topk)*" * 400 + "1", "multiplies 13 sizes"),
        ("lambda", "cannot be read"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_a_bad_bound_is_refused_in_one_line(text, said):
    """What is no bound is refused, saying what was seen and what to write instead."""
    with pytest.raises(UsageError) as error:
        parse_bound(text, AXES)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_axis_named_like_a_unit_is_an_axis_where_it_can_be_one():
    """`B` after a `*` is the axis; directly after a number of bytes it is read as the axis too."""
    assert Polynomial.of({("B",): 4}) == parse_bound("4*B", ("B", "T"))


@given(BOUNDS)
@example({("topk",): 1})
def test_the_text_of_a_bound_reads_back_as_the_bound(terms):
    """Whole, positive coefficients survive being written and read."""
    wanted = polynomial(terms)
    assert wanted == parse_bound(str(wanted), AXES)


@given(LAWS)
@example({("topk",): Fraction(1, 8), (): Fraction(-1, 3)})
@example({("topk",): Fraction(1, 10**6)})
def test_the_text_of_a_law_reads_back_as_the_law(terms):
    """Negative, decimal and broken coefficients survive being written and read."""
    wanted = polynomial(terms)
    assert wanted == parse_polynomial(str(wanted), AXES)


def test_a_law_of_a_thousand_terms_is_read():
    """Length alone is no reason to refuse: a sum is read from its left in a loop."""
    assert polynomial({("topk",): 1500}) == parse_polynomial(" + ".join(["topk"] * 1500), AXES)


@given(st.text(max_size=60))
@example("0**")
@example("topk.real")
@example("[topk]")
def test_any_text_is_read_or_refused(text):
    """Whatever is given, the answer is a polynomial or the one error of bad usage."""
    refusal = ""
    try:
        assert isinstance(parse_bound(text, AXES), Polynomial)
    except UsageError as error:
        refusal = str(error)
    assert refusal == " ".join(refusal.splitlines())


@pytest.mark.parametrize("text", ["topk / 0", "1 / topk", "1 / (topk - topk)"])
def test_a_law_divides_by_numbers_alone(text):
    """A fraction is a number over a number; nothing else below the line."""
    with pytest.raises(UsageError, match="divides by"):
        parse_polynomial(text, AXES)


def test_the_longest_text_and_the_most_terms_are_read_and_no_more():
    """Each limit is the last that is within it."""
    text = "1".ljust(20_000)
    assert polynomial({(): 1}) == parse_bound(text, AXES)
    with pytest.raises(UsageError, match="has 20,001 characters: at most 20,000"):
        parse_bound(text + " ", AXES)
    assert polynomial({("topk",) * 12: 1}) == parse_bound("topk**12", AXES)
    assert polynomial({("topk",) * 12: 1}) == parse_bound("topk**6 * topk**6", AXES)
    with pytest.raises(UsageError, match="multiplies 13 sizes: at most 12"):
        parse_bound("topk**6 * topk**7", AXES)


@pytest.mark.parametrize(("num_terms", "is_read"), [(2000, True), (2001, False)])
def test_parentheses_are_multiplied_out_to_two_thousand_terms(num_terms, is_read):
    names = [f"a{number}" for number in range(num_terms)]
    text = f"2*({' + '.join(names)})"
    if is_read:
        assert num_terms == len(parse_bound(text, names).terms)
    else:
        with pytest.raises(UsageError, match="has 2,001 terms: at most 2,000"):
            parse_bound(text, names)


def test_a_long_text_is_cut_where_it_is_shown():
    """Eighty characters are shown whole, and of more the first eighty."""
    for length in (80, 81):
        text = "x".ljust(length, "y")
        with pytest.raises(UsageError) as error:
            parse_bound(f"{text[:-1]}?", AXES)
        shown = repr(f"{text[:-1]}?" if length == 80 else f"{text[:80]}...")
        assert f"bound {shown} has '?'" in str(error.value)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("64MiB*B", {("B",): 64 << 20}),
        ("4 B", {(): 4}),
        ("4B", {(): 4}),
        ("2 KiB + 3", {(): 2051}),
        ("T*1.5KiB", {("T",): 1536}),
    ],
)
def test_an_amount_is_a_number_with_its_unit(text, terms):
    """With a space between them or none; a unit's name that is no axis is a unit."""
    axes = ("T",) if "*B" not in text else ("B", "T")
    assert Polynomial.of(terms) == parse_bound(text, axes)
