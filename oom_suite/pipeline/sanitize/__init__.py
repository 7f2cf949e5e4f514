"""Runs a step under a sanitizer of the device's maker, and reads what it says."""

from oom_suite.pipeline.sanitize.parse import Parsed, parse
from oom_suite.pipeline.sanitize.run import TOOLS, sanitize

__all__ = ["TOOLS", "Parsed", "parse", "sanitize"]
