"""Fills a package's page with what was measured; all pages share one style sheet."""

from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment


def render(package: str, **values: Any) -> str:
    """The file page.html of `package`, a jinja2 template that may include `style.css`."""
    sources = {
        "page.html": (files(package) / "page.html").read_text("utf-8"),
        "style.css": (files("tinyaya.export.pages") / "style.css").read_text("utf-8"),
    }
    environment = Environment(autoescape=True, loader=DictLoader(sources))
    return environment.get_template("page.html").render(**values)
