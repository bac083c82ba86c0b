"""Android's api/current.txt (signature format 2.0) in, classes with their members out."""

import re
from dataclasses import dataclass, field
from pathlib import Path

MODIFIERS = (
    "public", "protected", "private", "static", "final", "abstract", "synchronized", "volatile",
    "transient", "native", "strictfp", "default", "deprecated",
)  # fmt: skip
_CLASS = re.compile(r"(.*?)\b(class|interface|enum|@interface) ([\w.$]+)(.*) \{$")
_NULLNESS = re.compile(r"@(?:android\.annotation\.)?(Nullable|NonNull)\b")
_ANNOTATION = re.compile(r"@(?!interface\b)[\w.$]+")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A field, enum constant, constructor or method; `type` is what it gives, `name` as in Java.

    nullness: Nullable, NonNull or nothing, of what it gives and of each parameter.
    """

    kind: str
    modifiers: tuple[str, ...]
    type_parameters: str
    type: str
    name: str
    parameters: tuple[str, ...] = ()
    throws: tuple[str, ...] = ()
    value: str | None = None
    nullness: str = ""
    parameter_nullness: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ApiClass:
    """A class as the file has it; `name` is its name after the package, with dots within."""

    package: str
    name: str
    kind: str
    modifiers: tuple[str, ...]
    type_parameters: str
    extends: tuple[str, ...]
    implements: tuple[str, ...]
    members: list[Member] = field(default_factory=list)

    @property
    def binary_name(self) -> str:
        """As in class files: a/b/Outer$Inner."""
        return f"{self.package.replace('.', '/')}/{self.name.replace('.', '$')}"


def read_signatures(path: Path) -> list[ApiClass]:
    """All classes of the file, in its order."""
    package, classes = "", []
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("package "):
            package = line.split()[1]
        elif found := _CLASS.match(line) if line.endswith("{") else None:
            classes.append(_class(package, found))
        elif line.startswith(("ctor ", "method ", "field ", "enum_constant ")):
            classes[-1].members.append(_member(line))
    return classes


def _class(package: str, found: re.Match[str]) -> ApiClass:
    before, kind, name, rest = found.groups()
    type_parameters, rest = _leading_type_parameters(rest.strip())
    extends, _, implements = f" {rest}".partition(" implements ")
    return ApiClass(
        package=package,
        name=name,
        kind=kind,
        modifiers=tuple(word for word in _without_annotations(before).split() if word in MODIFIERS)
        + _deprecation(before),
        type_parameters=type_parameters,
        extends=tuple(split_top(extends.replace(" extends ", "", 1).strip(), " ")),
        implements=tuple(split_top(implements, " ")),
    )


def _member(line: str) -> Member:
    kind, _, rest = line.partition(" ")
    value = None
    if kind in ("field", "enum_constant"):
        rest, _, value = _cut_value(rest).partition(" = ")
    modifiers, rest = _leading_modifiers(_without_annotations(rest.removesuffix(";")))
    modifiers += _deprecation(line.partition(" = ")[0])
    type_parameters, rest = _leading_type_parameters(rest)
    if kind in ("field", "enum_constant"):
        type_name, _, name = rest.rpartition(" ")
        return Member(
            kind=kind, modifiers=modifiers, type_parameters="", type=type_name, name=name,
            value=value or None,
            nullness=_nullness(line.partition(" = ")[0]),
        )  # fmt: skip
    start, end = _parentheses(rest)
    type_name, _, name = rest[:start].rpartition(" ")
    head, parameter_nullness = _method_nullness(line, name)
    throws = (
        rest[end + 1 :].removesuffix(";").strip().partition(" default ")[0].removeprefix("throws ")
    )
    return Member(
        kind=kind,
        modifiers=modifiers,
        type_parameters=type_parameters,
        type="void" if kind == "ctor" else type_name,
        name="<init>" if kind == "ctor" else name,
        parameters=tuple(split_top(rest[start + 1 : end], ",")),
        nullness=head,
        parameter_nullness=parameter_nullness,
        throws=tuple(
            word.strip()
            for word in throws.split(",")
            if word.strip() and not throws.startswith("default")
        ),
    )


def _method_nullness(line: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Of the result and of each parameter; `line` still has its annotations."""
    start = line.index(f" {name}(") + len(name) + 1
    parameters = line[start + 1 : _parentheses(line, start)[1]]
    return _nullness(line[:start]), tuple(_nullness(part) for part in split_top(parameters, ","))


def _deprecation(text: str) -> tuple[str, ...]:
    return ("deprecated",) if "@Deprecated" in text else ()


def _nullness(text: str) -> str:
    found = _NULLNESS.search(text)
    return found.group(1) if found else ""


def _cut_value(text: str) -> str:
    """Drop the comment after a constant; a string may hold what looks like one."""
    found = re.match(r'((?:[^"]|"(?:[^"\\]|\\.)*")*?);(\s*//.*)?$', text)
    return found.group(1) if found else text


def _leading_modifiers(text: str) -> tuple[tuple[str, ...], str]:
    words = []
    while (word := text.partition(" ")[0]) in MODIFIERS:
        words.append(word)
        text = text.partition(" ")[2].lstrip()
    return tuple(words), text


def _leading_type_parameters(text: str) -> tuple[str, str]:
    if not text.startswith("<"):
        return "", text
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "<") - (char == ">")
        if depth == 0:
            return text[1:at], text[at + 1 :].lstrip()
    raise ValueError(f"{text!r} has no end of its type parameters")


def _without_annotations(text: str) -> str:
    """Drop annotations with their arguments; constants, which may hold an @, come after ' = '."""
    text, equals, value = text.partition(" = ")
    while found := _ANNOTATION.search(text):
        end = found.end()
        if text[end : end + 1] == "(":
            end = _parentheses(text, end)[1] + 1
        text = text[: found.start()] + text[end:].lstrip()
    return text + equals + value


def _parentheses(text: str, start: int = 0) -> tuple[int, int]:
    """Where the first parenthesis from `start` on opens and closes."""
    start = text.index("(", start)
    depth, quoted = 0, False
    for at in range(start, len(text)):
        quoted ^= text[at] == '"' and text[at - 1] != "\\"
        depth += 0 if quoted else (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return start, at
    raise ValueError(f"{text!r} has no ')'")


def split_top(text: str, separator: str) -> list[str]:
    """Split where no bracket is open; empty parts are left out."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "<(") - (char in ">)")
        if char == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]
