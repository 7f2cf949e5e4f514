"""What torchrun shows of a group that ends with a code other than 0."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.pipeline.ranks.group import Group


def say_why(message: str, code: int, group: Group, environ: Mapping[str, str]) -> None:
    """Nothing; afterwards torchrun's report of the failure ends with this message.

    torchrun follows every code but 0 with a traceback of its own and a report; that cannot be
    turned off. The report has a place for the rank's own words, which it shows last for the rank
    that failed first. Without them it says there how to enable a traceback.

    Source: torch 2.13 `distributed/elastic/multiprocessing/errors/__init__.py`, `ProcessFailure`
    and `ChildFailedError`.
    """
    file = environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    # The first failure is shown last, and is to be rank 0's, which has the verdict.
    moment = str(int(time.time()) + (group.rank > 0))
    extra = {"timestamp": moment, "py_callstack": message}
    body = {"message": message, "errorCode": code, "extraInfo": extra}
    with contextlib.suppress(OSError):
        Path(file).write_text(json.dumps({"message": body}), encoding="utf-8")
