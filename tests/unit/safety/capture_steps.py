"""Decode steps that a graph cannot hold, and twins that look alike and can be captured."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from oom_suite.workloads.sparse_mla.builtins import BUILTINS

KEPT = {}


def step_that(fault):
    """The token_gather step with something else before it."""

    def call(**step):
        fault(step)
        BUILTINS["token_gather"](**step)

    return call


def started(work):
    """Run on a thread, and waited for."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return True


def item(step):
    int(step["swa_lens"][0])


def any_of(step):
    if (step["swa_lens"] > 0).any():
        pass


def to_list(step):
    step["swa_lens"].tolist()


def to_cpu(step):
    step["swa_lens"].cpu()


def prints(step):
    str(step["swa_lens"])


def equal(step):
    torch.equal(step["swa_lens"], step["swa_lens"])


def unique(step):
    torch.unique(step["swa_indices"])


def nonzero(step):
    torch.nonzero(step["swa_lens"])


def where_alone(step):
    torch.where(step["swa_lens"] > 0)


def mask_read(step):
    step["swa_indices"].flatten(1)[step["swa_lens"] > 0]


def mask_select(step):
    torch.masked_select(step["swa_lens"], step["swa_lens"] > 0)


def repeats(step):
    torch.repeat_interleave(step["swa_lens"].clamp(0, 2).long())


def counts(step):
    torch.bincount(step["swa_lens"].flatten())


def literal(step):
    torch.tensor([1, 2], device=step["q"].device)


def number_at_index(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows[torch.zeros(1, dtype=torch.int64, device=step["q"].device)] = 1.0


def number_at_element(step):
    torch.zeros(4, device=step["q"].device)[1] = 1.0


def tensor_at_mask(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows[rows > 0] = torch.ones((), device=step["q"].device)


def device_value_fill(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows.masked_fill_(rows > 0, torch.ones((), device=step["q"].device))


def own_range(step):
    torch.histc(step["attn_sink"], 4)


def waits(step):
    if step["q"].device.type != "cpu":
        torch.cuda.synchronize()


def event(step):
    if step["q"].device.type != "cpu":
        torch.cuda.Event.query(None)


def only_for_one_token(step):
    if step["q"].shape[0] == 1:
        int(step["swa_lens"][0])


class Calls(TorchDispatchMode):
    """Notes the operators that pass."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func)
        return func(*args, **(kwargs or {}))


def makes_a_tensor_of_a_number():
    """Whether ``tensor[index] = number`` copies the number from the host, as before torch 2.15.

    2.15 fills with it, which is work on the device alone.
    """
    with Calls() as calls:
        torch.zeros(4)[1] = 1.0
    return torch.ops.aten.fill_.Scalar not in calls.names


def on_a_thread(step):
    thread = threading.Thread(target=step["swa_lens"].clone)
    thread.start()
    thread.join()


def in_an_executor(step):
    with ThreadPoolExecutor(1) as executor:
        executor.submit(torch.zeros, 2, device=step["q"].device).result()


NUMBERS = {number_at_index: "host-copy", number_at_element: "host-copy"}


FAULTS = {
    item: "host-sync",
    any_of: "host-sync",
    to_list: "host-sync",
    to_cpu: "host-copy",
    prints: "host-sync",
    equal: "host-sync",
    unique: "data-dependent-shape",
    nonzero: "data-dependent-shape",
    where_alone: "data-dependent-shape",
    mask_read: "data-dependent-shape",
    mask_select: "data-dependent-shape",
    repeats: "data-dependent-shape",
    counts: "data-dependent-shape",
    literal: "host-copy",
    **(NUMBERS if makes_a_tensor_of_a_number() else {}),
    tensor_at_mask: "data-dependent-shape",
    device_value_fill: "host-sync",
    own_range: "host-sync",
    waits: "synchronize",
    event: "synchronize",
    only_for_one_token: "host-sync",
    on_a_thread: "other-thread",
    in_an_executor: "other-thread",
}


def number_at_mask(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows[rows > 0] = 1.0


def number_fill(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows.masked_fill_(rows > 0, 1.0)


def number_over_a_row(step):
    torch.zeros(4, 4, device=step["q"].device)[1] = 1.0


def number_over_a_slice(step):
    torch.zeros(4, device=step["q"].device)[1:2] = 1.0


def tensor_at_element(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows[1] = rows[2]


def sized_repeats(step):
    lens = torch.ones(4, dtype=torch.int64, device=step["q"].device)
    torch.repeat_interleave(lens, output_size=4)


def given_range(step):
    torch.histc(step["attn_sink"], 4, min=-1.0, max=1.0)


def host_alone(step):
    host = torch.tensor([3, 0, 2])
    int(host[torch.nonzero(host)[0, 0]])


def sorts(step):
    step["swa_lens"].sort()
    step["attn_sink"].topk(2)
    step["swa_lens"].cumsum(0)


def added_in_place(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows.index_put_(
        (torch.zeros(2, dtype=torch.int64, device=rows.device),),
        torch.ones(2, device=rows.device),
        accumulate=True,
    )


def full_and_where(step):
    lens = step["swa_lens"]
    torch.where(lens > 0, torch.full_like(lens, 2), 0)


def seen_by_size(step):
    if step["q"].shape[0] > 1 and len(step["swa_lens"]) > 1:
        pass


def table_made_on_the_first_call(step):
    key = str(step["q"].device)
    if key not in KEPT:
        KEPT[key] = torch.tensor([1.0, 2.0], device=step["q"].device)
    KEPT[key] + 1


def host_work_on_a_thread(step):
    started(lambda: torch.arange(4).clone())


def views_on_a_thread(step):
    started(lambda: step["swa_lens"].view(-1)[:1])


def on_a_thread_in_the_warm_up(step):
    if "thread" not in KEPT:
        KEPT["thread"] = started(step["swa_lens"].clone)


TWINS = (
    *(() if makes_a_tensor_of_a_number() else NUMBERS),
    number_at_mask,
    number_fill,
    number_over_a_row,
    number_over_a_slice,
    tensor_at_element,
    sized_repeats,
    given_range,
    host_alone,
    sorts,
    added_in_place,
    full_and_where,
    seen_by_size,
    table_made_on_the_first_call,
    host_work_on_a_thread,
    views_on_a_thread,
    on_a_thread_in_the_warm_up,
)
