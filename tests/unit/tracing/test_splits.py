"""Which masks share one whole, learnt from one operator after another."""

from __future__ import annotations

import pytest
import torch

from oom_suite.torch_compat.dispatch import storage_key
from oom_suite.tracing.splits import Splits

aten = torch.ops.aten
NUM_TOKENS, NUM_EXPERTS = 6, 3


class Masks:
    """Runs operators on real tensors, and tells a `Splits` of each."""

    def __init__(self):
        self.splits = Splits(lambda tensor: tensor.flatten().tolist() if self.known else None)
        self.known = True
        self.chosen = torch.arange(NUM_TOKENS) % NUM_EXPERTS

    def __call__(self, func, *args, **kwargs):
        result = func(*args, **kwargs)
        self.splits.follow(func, args, kwargs, result)
        return result

    def part(self, mask):
        return self.splits.part(mask)

    def of(self, expert):
        """The mask of one expert's tokens."""
        return self(aten.eq.Scalar, self.chosen, expert)


@pytest.fixture
def masks():
    return Masks()


def test_masks_of_different_values_are_parts_of_one_whole(masks):
    one, other, again = (masks.part(masks.of(expert)) for expert in (0, 1, 0))
    assert one.whole is other.whole is again.whole
    assert NUM_TOKENS == one.whole.num_entries
    assert one == again != other


def test_a_value_may_be_a_tensor_of_one_entry_that_is_known(masks):
    number = torch.tensor(1)
    equal = masks(aten.eq.Tensor, masks.chosen, number)
    assert masks.part(masks.of(1)) == masks.part(equal)
    masks.known = False
    assert masks.part(masks(aten.eq.Tensor, masks.chosen, number)).name is True


def test_a_mask_of_nothing_known_is_a_whole_with_its_complement(masks):
    mask = torch.zeros(NUM_TOKENS, dtype=torch.bool)
    for opposite in (aten.logical_not.default, aten.bitwise_not.default):
        yes, no = masks.part(mask), masks.part(masks(opposite, mask))
        assert yes.whole is no.whole
        assert (True, False) == (yes.name, no.name)


def test_the_complement_of_a_part_is_no_part(masks):
    """All but one expert's tokens may be all tokens: a whole of its own."""
    mask = masks.of(0)
    others = masks(aten.logical_not.default, mask)
    assert masks.part(others).whole is not masks.part(mask).whole


def test_numbers_that_nothing_is_known_of_are_no_part(masks):
    assert masks.part(masks.chosen) is None
    assert masks.part(masks(aten.bitwise_not.default, masks.chosen)) is None


def test_an_expanded_mask_has_entries_of_its_own(masks):
    """Each true entry is there many times."""
    mask = masks.of(0)
    assert masks.part(mask[:, None].expand(-1, 2)) is None
    assert masks.part(mask[:, None].expand(-1, 1)) == masks.part(mask)


@pytest.mark.parametrize(
    "keep",
    [
        lambda masks, mask: masks(aten._to_copy.default, mask, dtype=torch.int32),
        lambda masks, mask: masks(aten.clone.default, mask),
        lambda masks, mask: masks(aten.ne.Scalar, mask, 0),
        lambda masks, mask: masks(aten.gt.Scalar, mask, 0),
        lambda masks, mask: masks(aten.logical_and.default, mask, torch.ones(NUM_TOKENS)),
        lambda masks, mask: masks(aten.mul.Tensor, torch.ones(NUM_TOKENS), mask),
        lambda masks, mask: masks(aten.any.dim, mask[:, None], 1),
        lambda masks, mask: masks(aten.amax.default, mask[:, None], [1]),
    ],
    ids=["to", "clone", "ne 0", "gt 0", "logical_and", "mul", "any", "amax"],
)
def test_what_keeps_no_more_entries_is_the_same_part(masks, keep):
    mask = masks.of(1)
    assert masks.part(mask) == masks.part(keep(masks, mask))


@pytest.mark.parametrize(
    "change",
    [
        lambda masks, mask: masks(aten.ne.Scalar, mask, 1),
        lambda masks, mask: masks(aten.gt.Scalar, mask, -1),
        lambda masks, mask: masks(aten.lt.Scalar, mask, 0),
        lambda masks, mask: masks(aten.logical_or.default, mask, masks.of(2)),
        lambda masks, mask: masks(aten.mul.Tensor, mask[:, None], torch.ones(2).bool()),
    ],
    ids=["ne 1", "gt -1", "lt 0", "or", "more entries"],
)
def test_what_may_have_other_entries_is_not(masks, change):
    mask = masks.of(1)
    assert masks.part(mask) != masks.part(change(masks, mask))


def test_a_one_hot_mask_is_asked_for_its_ones(masks):
    """Where it is zero, all other classes have entries."""
    mask = masks(aten._to_copy.default, masks.of(1), dtype=torch.int32)
    assert masks.part(mask) == masks.part(masks(aten.eq.Scalar, mask, 1))
    assert masks.part(mask) != masks.part(masks(aten.eq.Scalar, mask, 0))


def test_what_is_written_is_known_no_more(masks):
    mask = masks.of(1)
    part = masks.part(mask)
    masks(aten.logical_not_.default, mask)
    assert part.whole is not masks.part(mask).whole


def test_what_is_compared_and_written_is_another_whole(masks):
    before = masks.part(masks.of(1))
    masks(aten.add_.Scalar, masks.chosen, 1)
    assert before.whole is not masks.part(masks.of(1)).whole


def test_a_view_of_all_entries_shares_the_whole_and_one_of_some_has_its_own(masks):
    rows = torch.zeros(4, 2, dtype=torch.int64)

    def whole(view):
        return masks.part(masks(aten.eq.Scalar, view, 1)).whole

    assert whole(rows) is whole(rows.t()) is whole(rows[:, None])
    assert 4 == whole(rows[:2]).num_entries
    assert whole(rows[:2]) is not whole(rows[2:])


def test_another_tensor_at_the_same_place_is_another(masks):
    """A storage's key is its address, and the next one often has it again."""
    num_again = 0
    for _ in range(50):
        mask = masks.of(1)
        before, key = masks.part(mask), storage_key(mask.untyped_storage())
        whole = masks.part(masks(aten.eq.Scalar, mask, 0)).whole
        del mask
        other = torch.zeros(NUM_TOKENS, dtype=torch.bool)
        if storage_key(other.untyped_storage()) == key:
            num_again += 1
            assert masks.part(other).whole not in {before.whole, whole}
    assert num_again


ZEROS = {
    "zeros": lambda masks: masks(aten.zeros.default, [NUM_TOKENS, NUM_EXPERTS]),
    "zeros_like": lambda masks: masks(aten.zeros_like.default, torch.ones(NUM_TOKENS, NUM_EXPERTS)),
    "new_zeros": lambda masks: masks(
        aten.new_zeros.default, masks.chosen, [NUM_TOKENS, NUM_EXPERTS], dtype=torch.float32
    ),
}


@pytest.mark.parametrize("zeros", ZEROS.values(), ids=ZEROS)
@pytest.mark.parametrize("in_place", [True, False])
def test_zeros_that_got_an_entry_for_each_index_are_one_hot(masks, zeros, in_place):
    """Its classes are parts of as many entries as there are indices."""
    func = aten.scatter_.value if in_place else aten.scatter.value
    mask = masks(func, zeros(masks), 1, masks.chosen[:, None], 1)
    parts = [masks.part(mask[:, expert]) for expert in range(NUM_EXPERTS)]
    assert [0, 1, 2] == [part.name for part in parts]
    assert {NUM_TOKENS} == {part.whole.num_entries for part in parts}
    assert [0, 1, 2] == [masks.part(row).name for row in mask.t()]
    assert masks.part(mask) is None


def test_zeros_are_parts_of_nothing(masks):
    assert 0 == masks.part(ZEROS["zeros"](masks)).whole.num_entries


def test_what_is_scattered_into_other_values_is_not_one_hot(masks):
    mask = masks(
        aten.scatter.value, torch.ones(NUM_TOKENS, NUM_EXPERTS), 1, masks.chosen[:, None], 1
    )
    assert masks.part(mask[:, 0]) is None


def test_classes_are_known_through_a_copy_in_another_order(masks):
    mask = masks(aten.scatter.value, ZEROS["zeros"](masks), 1, masks.chosen[:, None], 1)
    copy = masks(aten.clone.default, mask.t(), memory_format=torch.contiguous_format)
    assert [masks.part(row) for row in mask.t()] == [masks.part(row) for row in copy]


def test_one_class_that_is_copied_is_a_part(masks):
    mask = masks(aten.scatter.value, ZEROS["zeros"](masks), 1, masks.chosen[:, None], 1)
    copy = masks(aten.clone.default, mask[:, 2])
    assert masks.part(mask[:, 2]) == masks.part(copy)


def test_any_class_of_a_row_is_no_class(masks):
    mask = masks(aten.scatter.value, ZEROS["zeros"](masks), 1, masks.chosen[:, None], 1)
    rows = masks(aten.any.dim, mask, 1)
    assert masks.part(rows).name is True


@pytest.mark.parametrize("along", [0, 1])
def test_a_comparison_with_several_values_has_a_class_for_each(masks, along):
    experts = torch.arange(NUM_EXPERTS)
    views = (masks.chosen[:, None], experts) if along else (masks.chosen, experts[:, None])
    mask = masks(aten.eq.Tensor, *views)
    parts = [masks.part(mask.select(along, expert)) for expert in range(NUM_EXPERTS)]
    assert [0, 1, 2] == [part.name for part in parts]
    assert {parts[0].whole} == {part.whole for part in parts}


OVERLAPPING = {
    "two are alike": torch.tensor([0, 1, 1]),
    "two dimensions": torch.arange(4).view(2, 1, 2),
    "one by one": torch.arange(NUM_TOKENS)[:, None],
}


@pytest.mark.parametrize("values", OVERLAPPING.values(), ids=OVERLAPPING)
def test_values_that_are_not_all_different_along_one_dimension_give_no_classes(masks, values):
    mask = masks(aten.eq.Tensor, masks.chosen[:, None], values)
    assert masks.part(mask).name is True


def test_values_that_are_not_known_give_no_classes(masks):
    masks.known = False
    mask = masks(aten.eq.Tensor, masks.chosen[:, None], torch.arange(NUM_EXPERTS))
    assert masks.part(mask).name is True
