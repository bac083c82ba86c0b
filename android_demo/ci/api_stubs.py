"""Android's api/current.txt in, a jar of its classes out: to compile against, and for JVM tests.

Method bodies return zero, false or null. Usage: python android_demo/ci/api_stubs.py CURRENT.TXT JAR
"""

import ast
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import class_file as cf
from class_file import ClassFile, Part, Pool, constructor_code, default_code
from java_types import (
    Variables,
    binary_name,
    descriptor,
    parameters_signature,
    signature,
    with_parameters,
)
from signature_file import ApiClass, Member, read_signatures

_FLAGS = {
    "public": 1, "private": 2, "protected": 4, "static": 8, "final": 0x10, "synchronized": 0x20,
    "volatile": 0x40, "transient": 0x80, "native": 0x100, "abstract": 0x400, "strictfp": 0x800,
}  # fmt: skip
_CONSTANTS = (
    "int",
    "short",
    "byte",
    "char",
    "boolean",
    "long",
    "float",
    "double",
    "java.lang.String",
    "String",
)
_NESTED = re.compile(r"L([\w/$]+\$[\w$]+)[;<]")


class Stubs:
    """All classes of the API, which know each other."""

    def __init__(self, classes: list[ApiClass]) -> None:
        self._classes = {item.binary_name: item for item in classes}
        self._interfaces = frozenset(
            name for name, item in self._classes.items() if "interface" in item.kind
        )

    def write(self, jar: Path) -> None:
        """One class file a class."""
        with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, item in self._classes.items():
                archive.writestr(f"{name}.class", self._emit(item))

    def _emit(self, item: ApiClass) -> bytes:
        pool, variables = Pool(), self._variables(item)
        is_interface = item.binary_name in self._interfaces
        out = ClassFile(
            pool=pool,
            access=_class_access(item, is_interface=is_interface),
            name=item.binary_name,
            super_name=self._super_name(item),
            interfaces=self._super_interfaces(item, variables),
        )
        seen = set[str]()
        for member in item.members:
            if member.kind in ("field", "enum_constant"):
                out.fields.append(_field(pool, member, variables, is_interface=is_interface))
                seen.add(out.fields[-1].descriptor)
            else:
                out.methods.append(self._method(pool, item, member, variables))
                seen.add(out.methods[-1].descriptor)
        self._add_attributes(out, item, variables, seen)
        return out.to_bytes()

    def _variables(self, item: ApiClass) -> Variables:
        """Type variables of the class and, where it is an inner one, of those around it."""
        outer = self._outer(item)
        around = self._variables(outer) if outer and self._is_inner(item) else {}
        return with_parameters(item.type_parameters, around)

    def _outer(self, item: ApiClass) -> ApiClass | None:
        return self._classes.get(item.binary_name.rpartition("$")[0])

    def _is_inner(self, item: ApiClass) -> bool:
        return (
            "static" not in item.modifiers
            and item.kind == "class"
            and self._outer(item) is not None
        )

    def _super_name(self, item: ApiClass) -> str | None:
        if item.binary_name == "java/lang/Object":
            return None
        if item.kind == "enum":
            return "java/lang/Enum"
        is_extended = item.kind == "class" and item.extends
        return binary_name(item.extends[0].split("<")[0]) if is_extended else "java/lang/Object"

    def _super_interfaces(self, item: ApiClass, variables: Variables) -> list[str]:
        if item.kind == "@interface":
            return ["java/lang/annotation/Annotation"]
        names = (*item.extends, *item.implements) if item.kind == "interface" else item.implements
        return [descriptor(name, variables)[1:-1] for name in names]

    def _method(self, pool: Pool, item: ApiClass, member: Member, around: Variables) -> Part:
        variables = with_parameters(member.type_parameters, around)
        form = self._method_descriptor(item, member, around)
        access = self._method_access(item, member)
        attributes = []
        if not access & (cf.ABSTRACT | 0x100):
            attributes.append(self._code(pool, item, member, form))
        if member.throws:
            indexes = [pool.class_(descriptor(name, variables)[1:-1]) for name in member.throws]
            attributes.append(
                pool.attribute(
                    "Exceptions", struct.pack(f">H{len(indexes)}H", len(indexes), *indexes)
                )
            )
        generic = parameters_signature(member.type_parameters, variables, self._interfaces)
        generic += f"({''.join(signature(part, variables) for part in member.parameters)})"
        generic += signature(member.type, variables)
        generic += "".join(
            f"^{signature(name, variables)}" for name in member.throws if name in variables
        )
        if generic != form and not (self._is_inner(item) and member.kind == "ctor"):
            attributes.append(pool.attribute("Signature", struct.pack(">H", pool.utf8(generic))))
        if "deprecated" in member.modifiers:
            attributes.append(pool.attribute("Deprecated", b""))
        return Part(
            access=access,
            name=member.name,
            descriptor=form,
            attributes=attributes + _nullness(pool, member),
        )

    def _method_descriptor(self, item: ApiClass, member: Member, around: Variables) -> str:
        """An inner class's constructor takes the object around it first."""
        variables = with_parameters(member.type_parameters, around)
        outer = self._outer(item)
        first = (
            f"L{outer.binary_name};"
            if member.kind == "ctor" and outer and self._is_inner(item)
            else ""
        )
        arguments = "".join(descriptor(part, variables) for part in member.parameters)
        return f"({first}{arguments}){descriptor(member.type, variables)}"

    def _method_access(self, item: ApiClass, member: Member) -> int:
        access = _access(member)
        if item.binary_name in self._interfaces:
            access |= cf.PUBLIC
            if "default" not in member.modifiers and "static" not in member.modifiers:
                access |= cf.ABSTRACT
        return access | (
            cf.VARARGS if member.parameters and member.parameters[-1].endswith("...") else 0
        )

    def _code(self, pool: Pool, item: ApiClass, member: Member, form: str) -> bytes:
        parent = self._super_name(item)
        if member.kind != "ctor" or parent is None or item.kind == "enum":
            return default_code(pool, form, is_static="static" in member.modifiers)
        return constructor_code(pool, form, parent, self._shortest_constructor(parent))

    def _shortest_constructor(self, name: str) -> str:
        item = self._classes.get(name)
        if item is None:
            return "()V"
        variables = self._variables(item)
        forms = [
            self._method_descriptor(item, member, variables)
            for member in item.members
            if member.kind == "ctor"
        ]
        return min(forms, key=len, default="()V")

    def _add_attributes(
        self, out: ClassFile, item: ApiClass, variables: Variables, seen: set[str]
    ) -> None:
        supers = [*item.extends, *item.implements]
        if item.type_parameters or item.kind == "enum" or any("<" in name for name in supers):
            generic = parameters_signature(item.type_parameters, variables, self._interfaces)
            generic += self._super_signature(item, variables)
            out.attributes.append(
                out.pool.attribute("Signature", struct.pack(">H", out.pool.utf8(generic)))
            )
        if "deprecated" in item.modifiers:
            out.attributes.append(out.pool.attribute("Deprecated", b""))
        nested = {name for text in seen for name in _NESTED.findall(text)} | {
            out.super_name or "",
            *out.interfaces,
        }
        nested |= {item.binary_name} | {
            name for name in self._classes if name.startswith(f"{item.binary_name}$")
        }
        if rows := self._inner_classes(out.pool, nested):
            data = struct.pack(">H", len(rows)) + b"".join(rows)
            out.attributes.append(out.pool.attribute("InnerClasses", data))

    def _super_signature(self, item: ApiClass, variables: Variables) -> str:
        if item.kind == "enum":
            parent = f"Ljava/lang/Enum<L{item.binary_name};>;"
        elif item.kind == "class" and item.extends:
            parent = signature(item.extends[0], variables)
        else:
            parent = "Ljava/lang/Object;"
        names = (*item.extends, *item.implements) if item.kind == "interface" else item.implements
        return parent + "".join(signature(name, variables) for name in names)

    def _inner_classes(self, pool: Pool, names: set[str]) -> list[bytes]:
        """A row for each nested class that is named, and for those around it."""
        all_names = {
            "$".join(name.split("$")[:depth])
            for name in names
            for depth in range(2, name.count("$") + 2)
        }
        rows = []
        for name in sorted(all_names & self._classes.keys()):
            item, (outer, _, simple) = self._classes[name], name.rpartition("$")
            access = _class_access(item, is_interface=name in self._interfaces) & ~cf.SUPER
            access |= sum(
                _FLAGS[word] for word in item.modifiers if word in ("static", "protected")
            )
            access |= cf.STATIC if item.kind != "class" else 0
            access &= ~cf.PUBLIC if "protected" in item.modifiers else ~0
            rows.append(
                struct.pack(
                    ">HHHH", pool.class_(name), pool.class_(outer), pool.utf8(simple), access
                )
            )
        return rows


def _class_access(item: ApiClass, *, is_interface: bool) -> int:
    access = (
        sum(_FLAGS[word] for word in item.modifiers if word in ("final", "abstract")) | cf.PUBLIC
    )
    access |= cf.INTERFACE | cf.ABSTRACT if is_interface else cf.SUPER
    access |= cf.ANNOTATION if item.kind == "@interface" else 0
    return access | (cf.ENUM if item.kind == "enum" else 0)


def _access(member: Member) -> int:
    return sum(_FLAGS[word] for word in member.modifiers if word in _FLAGS)


def _field(pool: Pool, member: Member, variables: Variables, *, is_interface: bool) -> Part:
    form, generic = descriptor(member.type, variables), signature(member.type, variables)
    access = _access(member) | (cf.PUBLIC | cf.STATIC | cf.FINAL if is_interface else 0)
    access |= cf.ENUM if member.kind == "enum_constant" else 0
    attributes = []
    if member.value is not None and member.type in _CONSTANTS:
        index = pool.constant(form, _value(form, member.value))
        attributes.append(pool.attribute("ConstantValue", struct.pack(">H", index)))
    if generic != form:
        attributes.append(pool.attribute("Signature", struct.pack(">H", pool.utf8(generic))))
    if "deprecated" in member.modifiers:
        attributes.append(pool.attribute("Deprecated", b""))
    return Part(
        access=access,
        name=member.name,
        descriptor=form,
        attributes=attributes + _nullness(pool, member),
    )


def _nullness(pool: Pool, member: Member) -> list[bytes]:
    """Annotations that Kotlin reads: what may be null, and what must not."""
    attributes = []
    if member.nullness:
        attributes.append(
            pool.attribute("RuntimeInvisibleAnnotations", pool.nullness(member.nullness))
        )
    if any(member.parameter_nullness):
        data = bytes([len(member.parameter_nullness)]) + b"".join(
            map(pool.nullness, member.parameter_nullness)
        )
        attributes.append(pool.attribute("RuntimeInvisibleParameterAnnotations", data))
    return attributes


def _value(form: str, text: str) -> str | float:
    """A constant as Java writes it; what is no number is a fraction of zero."""
    special: Mapping[str, float] = {"0.0": float("nan"), "1.0": float("inf"), "-1.0": float("-inf")}
    if form in "FD":
        plain = text.strip("()").replace("f", "")
        return special[plain.split("/")[0]] if "/" in plain else float(plain)
    if form == "Z":
        return text == "true"
    if text.startswith("'"):
        return ord(ast.literal_eval(text))
    return str(ast.literal_eval(text)) if text.startswith('"') else int(text.removesuffix("L"), 0)


if __name__ == "__main__":
    Stubs(read_signatures(Path(sys.argv[1]))).write(Path(sys.argv[2]))
