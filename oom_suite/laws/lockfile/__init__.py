"""The laws that a repository has promised: read, written, compared."""

from oom_suite.laws.lockfile.compare import compare
from oom_suite.laws.lockfile.toml_file import FORMAT, dumps, loads, merged, read

DEFAULT_FILE = "oom-laws.toml"
"""Where a repository keeps its laws, unless it says otherwise."""

__all__ = ["DEFAULT_FILE", "FORMAT", "compare", "dumps", "loads", "merged", "read"]
