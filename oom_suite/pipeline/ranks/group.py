"""Which rank this process is, which GPU is its own, and how many heads it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oom_suite.errors import UsageError
from oom_suite.targets import visible_gpus
from oom_suite.workloads.sparse_mla.geometry.models import FLASH, model

if TYPE_CHECKING:
    from collections.abc import Mapping

LAUNCH = "torchrun --standalone --nproc-per-node N -m oom_suite ranks SUBJECT..."
"""How ranks are started; torchrun sets the variables that `Group.of` reads."""

_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Group:
    """This process's place in the group."""

    rank: int
    local_rank: int
    world_size: int
    local_world_size: int

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Group:
        """The place that torchrun's variables give.

        Source: torch 2.13 `distributed/run.py`, "Environment Variables".

        Raises:
            UsageError: one is missing or is no number: torchrun did not start this process.
        """
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        values = [environ.get(name, "") for name in names]
        for name, value in zip(names, values, strict=True):
            if not value.isdecimal():
                seen = f"is {value!r}" if value else "is not set"
                msg = f"ranks are started by torchrun, and {name} {seen}: run {LAUNCH}"
                raise UsageError(msg)
        return cls(*map(int, values))


def own_gpu(group: Group, device: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variable that leaves this rank its own GPU: entry `local_rank` of the caller's list.

    Args:
        group: which rank this is.
        device: ``"cpu"``, for which there is none, or ``"cuda"``.
        environ: the caller's variables.

    Raises:
        UsageError: another device, or fewer GPUs than ranks on this machine.
    """
    if device not in _DEVICES:
        hint = "; torch calls AMD's devices cuda too" if device in {"hip", "rocm"} else ""
        hint = "; each rank's own GPU is chosen for it" if device.startswith("cuda:") else hint
        raise UsageError(f"unknown device {device!r}: choose cpu or cuda{hint}")
    if device == "cpu":
        return {}
    gpus = visible_gpus(environ)
    num_gpus, num_ranks = len(gpus.entries), group.local_world_size
    if num_gpus < num_ranks:
        known = f"{gpus.told_by} tells of {num_gpus}" if gpus.told_by else "none can be found here"
        names = f"{gpus.variable} names the GPUs to use"
        msg = f"{num_ranks} ranks need as many GPUs, and {known}: start fewer ranks; {names}"
        raise UsageError(msg)
    return {gpus.variable: gpus.entries[group.local_rank]}


def heads_of_a_rank(heads_total: int | None, model_name: str | None, world_size: int) -> Heads:
    """The heads that each rank takes of the total; DeepSeek-V4-Flash's where neither is given.

    Raises:
        UsageError: both are given, no such model, or they do not divide evenly.
    """
    if heads_total is not None and model_name is not None:
        msg = f"--heads-total {heads_total} and --model {model_name} both set the heads: give one"
        raise UsageError(msg)
    if heads_total is not None:
        total, source = heads_total, "--heads-total"
    else:
        named = FLASH if model_name is None else model(model_name)
        total, source = named.num_heads, named.name
    if total < world_size or total % world_size:
        msg = (
            f"{total} heads ({source}) do not divide by {world_size} ranks: choose a number of "
            f"ranks that divides {total}, or another --heads-total"
        )
        raise UsageError(msg)
    return Heads(total, source, total // world_size)


@dataclass(frozen=True, slots=True)
class Heads:
    """How heads are split.

    Attributes:
        total: heads of the whole group.
        source: whose number that is: a model's name, or ``--heads-total``.
        each: heads of one rank.
    """

    total: int
    source: str
    each: int

    def __str__(self) -> str:
        """For the reader: ``64 heads (DeepSeek-V4-Flash), 8 on each rank``."""
        return f"{self.total} heads ({self.source}), {self.each} on each rank"
