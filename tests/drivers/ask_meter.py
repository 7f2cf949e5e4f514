"""Opens one meter in a process of its own and prints, as JSON, all that it says.

The bindings look for their library once in a process: each question needs a new one.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict

from oom_suite.targets.meters import Device, MeterError


def main(meter, device, pid):
    """Print the readings, the holders, or the error."""
    module, _, name = meter.partition(":")
    try:
        opened = getattr(importlib.import_module(module), name)(Device(**json.loads(device)), pid)
    except MeterError as error:
        return {"error": str(error)}
    try:
        said = {"readings": [asdict(one) for one in opened.read()]}
    except MeterError as error:
        said = {"error": str(error)}
    try:
        said["holders"] = [asdict(one) for one in opened.holders()]
    except MeterError as error:
        said["holders"] = str(error)
    opened.close()
    return said


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
