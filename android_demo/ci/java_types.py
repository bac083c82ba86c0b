"""Java types as text in; descriptors and generic signatures of class files out."""

from collections.abc import Mapping, Sequence

from signature_file import split_top

_PRIMITIVES = {
    "void": "V", "boolean": "Z", "byte": "B", "char": "C", "short": "S", "int": "I", "long": "J",
    "float": "F", "double": "D",
}  # fmt: skip
_OBJECT = "Ljava/lang/Object;"

Variables = Mapping[str, str]  # a type variable -> the descriptor of its first bound


def binary_name(name: str) -> str:
    """android.view.View.OnClickListener -> android/view/View$OnClickListener."""
    if "." not in name:
        return f"java/lang/{name}"
    parts = name.split(".")
    first = next((at for at, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
    return "$".join(["/".join(parts[: first + 1]), *parts[first + 1 :]])


def descriptor(type_name: str, variables: Variables) -> str:
    """The type with its arguments erased."""
    return _forms(type_name, variables)[0]


def signature(type_name: str, variables: Variables) -> str:
    """The type with its arguments."""
    return _forms(type_name, variables)[1]


def with_parameters(text: str, variables: Variables) -> Variables:
    """`variables` and those that the type parameters `text` bring."""
    bounds = _bounds(text)
    known = {**variables, **{name: _OBJECT for name, _ in bounds}}
    for _ in range(2):  # a bound may be a variable that comes later
        known.update({name: descriptor(of[0], known) for name, of in bounds if of})
    return known


def parameters_signature(text: str, variables: Variables, interfaces: frozenset[str]) -> str:
    """Type parameters with their bounds; empty if there are none."""
    if not text:
        return ""
    parts = []
    for name, bounds in _bounds(text):
        parts.append(name)
        for at, bound in enumerate(bounds or ["java.lang.Object"]):
            is_interface = at == 0 and binary_name(bound.split("<")[0]) in interfaces
            parts.append(("::" if is_interface else ":") + signature(bound, variables))
    return f"<{''.join(parts)}>"


def _bounds(text: str) -> Sequence[tuple[str, list[str]]]:
    found = []
    for parameter in split_top(text, ","):
        name, _, bounds = parameter.partition(" extends ")
        found.append((name.strip(), split_top(bounds, "&")))
    return found


def _forms(text: str, variables: Variables) -> tuple[str, str]:
    text = text.strip()
    for suffix in ("...", "[]"):
        if text.endswith(suffix):
            inner = _forms(text.removesuffix(suffix), variables)
            return f"[{inner[0]}", f"[{inner[1]}"
    if text in _PRIMITIVES:
        return _PRIMITIVES[text], _PRIMITIVES[text]
    if text in variables:
        return variables[text], f"T{text};"
    return _generic(text, variables) if "<" in text else (f"L{binary_name(text)};",) * 2


def _generic(text: str, variables: Variables) -> tuple[str, str]:
    """Outer<A>.Inner<B>: the erased name joins the parts, the signature keeps their arguments."""
    name, form = "", "L"
    while text:
        plain, _, rest = text.partition("<")
        form += binary_name(plain) if not name else plain
        name += plain
        if not rest:
            break
        arguments, text = _cut(rest)
        form += f"<{''.join(_argument(part, variables) for part in split_top(arguments, ','))}>"
    return f"L{binary_name(name)};", f"{form};"


def _cut(rest: str) -> tuple[str, str]:
    """What stands before the '>' that closes, and what comes after it."""
    depth = 1
    for at, char in enumerate(rest):
        depth += (char == "<") - (char == ">")
        if depth == 0:
            return rest[:at], rest[at + 1 :]
    raise ValueError(f"{rest!r} has no '>'")


def _argument(text: str, variables: Variables) -> str:
    if text == "?":
        return "*"
    for prefix, sign in (("? extends ", "+"), ("? super ", "-")):
        if text.startswith(prefix):
            return sign + signature(text.removeprefix(prefix), variables)
    return signature(text, variables)
