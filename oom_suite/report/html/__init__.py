"""Results as pages that open in a browser, offline. Needs the extra ``report``.

One module for each page (`check_page`, `law_page`, `scan_page`), the chart's numbers (`curves`),
the source lines (`excerpts`), and what pages share (`page`, ``templates/base.html``,
``page.css``).
"""

from oom_suite.report.html.check_page import render_check_page, write_check_page
from oom_suite.report.html.excerpts import Sources, read_sources
from oom_suite.report.html.law_page import render_law_page, write_law_page
from oom_suite.report.html.scan_page import render_scan_page, write_scan_page

__all__ = [
    "Sources",
    "read_sources",
    "render_check_page",
    "render_law_page",
    "render_scan_page",
    "write_check_page",
    "write_law_page",
    "write_scan_page",
]
