"""What margin losses take on CUDA: copies, and a loss for each row."""

from __future__ import annotations

import pytest
from kernel_steps import HALF, floats, places, shared, steps

ROWS, TARGET, LABELS = floats(10, 5), places(10), places(10, 5)

IN_ORDER = {
    "a loss for each row, and their mean": (
        lambda: steps("multi_margin_loss", ROWS, TARGET, result=floats()),
        "+4:0 +40:losses -losses",
    ),
    "many losses are summed by several blocks": (
        lambda: steps("multi_margin_loss", floats(1 << 20, 2), places(1 << 20), result=floats()),
        f"+4:0 +4194304:losses {shared(512)} -losses",
    ),
    "losses that stay are the result": (
        lambda: steps("multi_margin_loss", ROWS, TARGET, 1, 1.0, None, 0, result=floats(10)),
        "+40:0",
    ),
    "one row has one loss": (
        lambda: steps("multi_margin_loss", floats(5), places(1), result=floats()),
        "+4:0",
    ),
    "what is not in rows is copied": (
        lambda: steps(
            "multi_margin_loss",
            floats(5, 10).t(),
            places(10, 2)[:, 0],
            1,
            1.0,
            floats(5, 2)[:, 0],
            result=floats(),
        ),
        "+4:0 +200:values +80:target +20:weight +40:losses -losses -weight -target -values",
    ),
    "no rows": (
        lambda: steps("multi_margin_loss", floats(0, 5), places(0), result=floats()),
        "+4:0",
    ),
    "labels are marked before there are losses": (
        lambda: steps("multilabel_margin_loss_forward", ROWS, LABELS, 1, result=(floats(), ROWS)),
        "+200:1 +40:losses +4:0 -losses",
    ),
    "losses of labels that stay": (
        lambda: steps("multilabel_margin_loss_forward", ROWS, LABELS, 0, result=(floats(10), ROWS)),
        "+200:1 +40:0",
    ),
    "labels of rows in another order are copied": (
        lambda: steps(
            "multilabel_margin_loss_forward",
            floats(5, 10, dtype=HALF).t(),
            LABELS,
            2,
            result=(floats(dtype=HALF), floats(10, 5, dtype=HALF)),
        ),
        "+100:values +100:1 +20:losses +2:0 -losses -values",
    ),
    "no labels": (
        lambda: steps(
            "multilabel_margin_loss_forward",
            floats(0, 5),
            places(0, 5),
            1,
            result=(floats(), floats(0, 5)),
        ),
        "+4:0 +0:1",
    ),
}


@pytest.mark.parametrize(("taken", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_losses_take_what_the_source_says_in_its_order(taken, expected):
    """Which of two temporaries goes first decides a peak."""
    assert expected == taken()
