"""Where `oom-suite` and ``python -m oom_suite`` begin."""

from __future__ import annotations

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
    run()


if __name__ == "__main__":
    main()
