"""Results for people and for machines. Reads records only; never imports torch."""

from oom_suite.report.files import write as write_json
from oom_suite.report.terminal import render
from oom_suite.report.wording import closing_line, failure_text

__all__ = ["closing_line", "failure_text", "render", "write_json"]
