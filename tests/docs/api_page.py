"""The public names of `runtime` in, a page that describes them out.

python -m tests.docs.api_page > docs/api.md
"""

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

from tinyaya import runtime


def page() -> str:
    """Markdown: every public class and function with its signature and description."""
    head = [
        "# The Python API",
        "",
        "Generated from the code by `python -m tests.docs.api_page > docs/api.md`.",
    ]
    return "\n".join([*head, *_names()]) + "\n"


def _names() -> Iterator[str]:
    for name in sorted(runtime.__all__, key=str.lower):
        value = getattr(runtime, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        yield from _entry(name, value, "##")
        if inspect.isclass(value) and not issubclass(value, Exception):
            for inner, member in vars(value).items():
                if not inner.startswith("_"):
                    yield from _member(f"{name}.{inner}", member)


def _entry(name: str, value: Any, level: str) -> Iterator[str]:
    yield from ("", f"{level} {name}", "")
    if not (inspect.isclass(value) and issubclass(value, Exception)):
        yield from (f"    {name}{_signature(value)}", "")
    yield inspect.getdoc(value) or ""


def _member(name: str, member: Any) -> Iterator[str]:
    if isinstance(member, property) or hasattr(member, "attrname"):  # also a cached one
        yield from ("", f"### {name}", "", inspect.getdoc(member) or "")
    elif inspect.isfunction(member):
        yield from _entry(name, member, "###")


def _signature(value: Any) -> str:
    try:
        text = str(inspect.signature(value)).replace("collections.abc.", "")
        return re.sub(r"<function \S*<lambda> at 0x[0-9a-f]+>", "...", text)
    except (TypeError, ValueError):  # a protocol has none
        return ""


if __name__ == "__main__":
    sys.stdout.write(page())
