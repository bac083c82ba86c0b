"""Descriptors, constants and attributes in, the bytes of a JVM class file out."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

PUBLIC, STATIC, FINAL, SUPER, INTERFACE, ABSTRACT, ANNOTATION, ENUM, VARARGS = (
    0x1, 0x8, 0x10, 0x20, 0x200, 0x400, 0x2000, 0x4000, 0x80,
)  # fmt: skip
_VERSION = 52  # Java 8
_RETURNS = {"V": b"\xb1", "J": b"\x09\xad", "D": b"\x0e\xaf", "F": b"\x0b\xae"}
_PUSHES = {"J": b"\x09", "D": b"\x0e", "F": b"\x0b", **dict.fromkeys("IZBCS", b"\x03")}


class Pool:
    """The constant pool: every constant once."""

    def __init__(self) -> None:
        self._bytes, self._next, self._known = bytearray(), 1, dict[tuple[int, bytes], int]()

    def utf8(self, text: str) -> int:
        """A text, in Java's form of UTF-8."""
        data = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        encoded = data.encode("utf-8", "surrogatepass").replace(b"\0", b"\xc0\x80")
        return self._add(1, struct.pack(">H", len(encoded)) + encoded)

    def class_(self, name: str) -> int:
        """A class by its binary name."""
        return self._add(7, struct.pack(">H", self.utf8(name)))

    def constant(self, descriptor: str, value: str | float) -> int:
        """The value of a field of that type."""
        if isinstance(value, str):
            return self._add(8, struct.pack(">H", self.utf8(value)))
        if descriptor == "J":
            return self._add(5, struct.pack(">Q", int(value) & (1 << 64) - 1), 2)
        if descriptor == "D":
            return self._add(6, struct.pack(">d", value), 2)
        if descriptor == "F":
            return self._add(4, struct.pack(">f", value))
        return self._add(3, struct.pack(">I", int(value) & 0xFFFFFFFF))

    def method(self, owner: str, name: str, descriptor: str) -> int:
        """A method that code calls."""
        named = self._add(12, struct.pack(">HH", self.utf8(name), self.utf8(descriptor)))
        return self._add(10, struct.pack(">HH", self.class_(owner), named))

    def attribute(self, name: str, data: bytes) -> bytes:
        """An attribute by its name."""
        return struct.pack(">HI", self.utf8(name), len(data)) + data

    def nullness(self, name: str) -> bytes:
        """The annotation Nullable or NonNull, or none, with the count in front."""
        if not name:
            return struct.pack(">H", 0)
        return struct.pack(">HHH", 1, self.utf8(f"Landroid/annotation/{name};"), 0)

    def to_bytes(self) -> bytes:
        """The pool with its count in front."""
        return struct.pack(">H", self._next) + bytes(self._bytes)

    def _add(self, tag: int, data: bytes, width: int = 1) -> int:
        key = (tag, data)
        if key not in self._known:
            self._known[key] = self._next
            self._next += width
            self._bytes += bytes([tag]) + data
        return self._known[key]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A field or a method, with its attributes as bytes."""

    access: int
    name: str
    descriptor: str
    attributes: Sequence[bytes] = ()


@dataclass(kw_only=True)
class ClassFile:
    """What a class file says; `pool` already holds what the attributes refer to."""

    pool: Pool
    access: int
    name: str
    super_name: str | None
    interfaces: Sequence[str]
    fields: list[Part] = field(default_factory=list)
    methods: list[Part] = field(default_factory=list)
    attributes: list[bytes] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """The whole file."""
        this = self.pool.class_(self.name)
        parent = self.pool.class_(self.super_name) if self.super_name else 0
        interfaces = [self.pool.class_(name) for name in self.interfaces]
        body = struct.pack(">HHHH", self.access, this, parent, len(interfaces))
        body += b"".join(struct.pack(">H", index) for index in interfaces)
        body += self._parts(self.fields) + self._parts(self.methods) + _counted(self.attributes)
        return struct.pack(">IHH", 0xCAFEBABE, 0, _VERSION) + self.pool.to_bytes() + body

    def _parts(self, parts: Sequence[Part]) -> bytes:
        return struct.pack(">H", len(parts)) + b"".join(
            struct.pack(
                ">HHH", part.access, self.pool.utf8(part.name), self.pool.utf8(part.descriptor)
            )
            + _counted(part.attributes)
            for part in parts
        )


def default_code(pool: Pool, descriptor: str, *, is_static: bool) -> bytes:
    """Code that returns zero, false or null."""
    returned = descriptor[descriptor.index(")") + 1 :]
    code = _RETURNS.get(returned) or (b"\x03\xac" if returned in "IZBCS" else b"\x01\xb0")
    return _code(pool, code, stack=2, local=_slots(argument_types(descriptor)) + (not is_static))


def constructor_code(pool: Pool, descriptor: str, parent: str, parent_descriptor: str) -> bytes:
    """Code that calls a constructor of `parent` with zeros."""
    needed = argument_types(parent_descriptor)
    code = b"\x2a" + b"".join(_PUSHES.get(kind, b"\x01") for kind in needed)
    code += b"\xb7" + struct.pack(">H", pool.method(parent, "<init>", parent_descriptor)) + b"\xb1"
    return _code(pool, code, stack=1 + _slots(needed), local=1 + _slots(argument_types(descriptor)))


def argument_types(descriptor: str) -> list[str]:
    """The descriptors of the arguments of a method."""
    found, at = [], 1
    while descriptor[at] != ")":
        start = at
        while descriptor[at] == "[":
            at += 1
        at = descriptor.index(";", at) + 1 if descriptor[at] == "L" else at + 1
        found.append(descriptor[start:at])
    return found


def _slots(kinds: Sequence[str]) -> int:
    return sum(2 if kind in "JD" else 1 for kind in kinds)


def _code(pool: Pool, code: bytes, *, stack: int, local: int) -> bytes:
    data = struct.pack(">HHI", stack, local, len(code)) + code + struct.pack(">HH", 0, 0)
    return pool.attribute("Code", data)


def _counted(attributes: Sequence[bytes]) -> bytes:
    return struct.pack(">H", len(attributes)) + b"".join(attributes)
