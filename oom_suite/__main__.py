"""Where `oom-suite` and ``python -m oom_suite`` begin."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import NoReturn

_NO_VERDICT = 125


def main() -> NoReturn:
    """Run the command line.

    Where it cannot even be imported, as when a commit has a file that hides one of Python's, a
    probe ends without a verdict: git would take Python's own exit code for a bad commit.
    """
    try:
        from oom_suite.cli.main import main as run
    except Exception:
        if sys.argv[1:2] != ["probe"]:
            raise
        traceback.print_exc()
        sys.exit(_NO_VERDICT)
    try:
        run()
    finally:
        # All is judged and written. A signal that comes while Python ends has nothing to
        # interrupt: the exit code is the verdict's.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
