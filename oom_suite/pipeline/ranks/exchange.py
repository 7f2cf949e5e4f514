"""What ranks tell each other, through the store of `torch.distributed`."""

from __future__ import annotations

import base64
import os
import pickle
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oom_suite.errors import LaneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.pipeline.ranks.group import Group
    from oom_suite.records import Result

_CONNECT_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rank has to say at its end.

    Attributes:
        device: where it measured.
        results: one for each subject; empty where there are none.
        problem: why there are none; empty otherwise.
    """

    device: str
    results: tuple[Result, ...]
    problem: str = ""


class Exchange:
    """The answers of a group's ranks, kept where a rank that dies takes none of them along.

    A gathering by a collective operation is all or nothing: with one rank gone the others wait
    for it, and then have no result either. In the store each answer stands alone. Under torchrun
    the store is the launcher's; under another launcher it is rank 0's.

    Raises:
        LaneError: there is no store to be reached.

    Source: torch 2.13 `distributed/rendezvous.py`, `_create_c10d_store`.
    """

    def __init__(self, group: Group) -> None:
        """Connect to the store; wait for no other rank."""
        import torch.distributed as torchs

        host, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
        is_torchruns = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        try:
            store = torchs.TCPStore(  # type: ignore[attr-defined]  # its stubs do not export it
                host,
                int(port),
                is_master=group.rank == 0 and not is_torchruns,
                timeout=timedelta(seconds=_CONNECT_S),
                wait_for_workers=False,
                multi_tenant=True,
            )
        except (RuntimeError, ValueError) as error:
            first = str(error).partition("\n")[0]
            msg = f"rank {group.rank} cannot reach the group's store at {host}:{port}: {first}"
            raise LaneError(msg) from error
        # torchrun can start a group again: its words must not be the former one's.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._store = torchs.PrefixStore(  # type: ignore[attr-defined]  # nor this
            f"oom_suite/{attempt}", store
        )

    def put(self, key: str, value: object) -> None:
        """Nothing; afterwards every rank can read the value.

        Raises:
            LaneError: the store is gone.
        """
        try:
            self._store.set(key, base64.b64encode(pickle.dumps(value)).decode("ascii"))
        except RuntimeError as error:
            raise _gone(error) from error

    def has(self, key: str) -> bool:
        """Whether some rank has put a value there.

        Raises:
            LaneError: the store is gone.
        """
        try:
            return bool(self._store.check([key]))
        except RuntimeError as error:
            raise _gone(error) from error

    def get(self, key: str) -> Any:
        """The value, which is there.

        Raises:
            LaneError: the store is gone.
        """
        try:
            return pickle.loads(base64.b64decode(self._store.get(key)))
        except RuntimeError as error:
            raise _gone(error) from error


def wait_until(is_done: Callable[[], bool], deadline: Callable[[], float]) -> bool:
    """Whether it was done before the deadline, which may move meanwhile.

    Args:
        is_done: asked again and again; between two askings signals are heard.
        deadline: gives the moment of `time.monotonic`, in seconds.
    """
    while not is_done():
        if time.monotonic() >= deadline():
            return False
        time.sleep(_POLL_S)
    return True


def _gone(error: RuntimeError) -> LaneError:
    first = str(error).partition("\n")[0]
    return LaneError(f"the group's store is gone, with the process that kept it: {first}")
