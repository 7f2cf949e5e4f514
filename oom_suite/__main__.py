"""Lets ``python -m oom_suite`` do what ``oom-suite`` does."""

from oom_suite.cli.main import main

if __name__ == "__main__":
    main()
