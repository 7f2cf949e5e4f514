"""What every page shares: templates, the bundled plotly.js, the policy."""

from __future__ import annotations

import base64
import hashlib
import importlib
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = "oom_suite.report.html"
_INSTALL = "pip install oom-suite[report]"


def render_page(template: str, context: Mapping[str, Any], scripts: tuple[str, ...] = ()) -> str:
    """The page as one string: styles and scripts inside it, every value of the context escaped.

    Args:
        template: a file of ``templates/`` that extends ``base.html``.
        context: what the template shows.
        scripts: names of JavaScript files of ``templates/``; plotly.js goes before them.

    Raises:
        UsageError: the extra ``report`` is not installed.
    """
    jinja2 = _extra("jinja2")
    markupsafe = _extra("markupsafe")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def own_text(name: str) -> str:
        # Through the loader and not the template engine: braces of CSS and JavaScript are no tags.
        return str(environment.loader.get_source(environment, name)[0])

    sources = [plotly_js(), *(own_text(name) for name in scripts)] if scripts else []
    # A browser reads a carriage return as a line feed, and hashes what it read.
    sources = [source.replace("\r\n", "\n").replace("\r", "\n") for source in sources]
    page = environment.get_template(template).render(
        **context,
        policy=_policy(sources),
        css=markupsafe.Markup(own_text("page.css")),
        scripts=[markupsafe.Markup(source) for source in sources],
    )
    return str(page)


def plotly_js() -> str:
    """The source of plotly.js, as the installed plotly brings it.

    Raises:
        UsageError: plotly is not installed.
    """
    return str(_extra("plotly.offline").get_plotlyjs())


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        msg = f"an HTML page needs {name}, which is not installed: {_INSTALL}"
        raise UsageError(msg) from None


def _policy(scripts: list[str]) -> str:
    """The content security policy: nothing from a network, and no script but these.

    A name that slipped through the escaping would still not run.
    """
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    # plotly writes its styles into the page; its camera button makes a blob.
    allowed = hashes or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
