"""Paths are tuples of components, so that Python's order of tuples is tree order.

The root is the empty tuple.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from .refusal import Refusal, require

Path = tuple[bytes, ...]

LONGEST_NAME = 4_095


def is_name(name: bytes) -> bool:
    """Whether these bytes can be a component."""
    odd = b"/" in name or b"\0" in name or name in (b"", b".", b"..")
    return not odd and len(name) <= LONGEST_NAME


def parse(written: bytes) -> Path:
    """The path that is written so."""
    if written == b"/":
        return ()
    first, *names = written.split(b"/")
    require(first == b"" and bool(names) and all(map(is_name, names)), "path", f"{written!r} is not a path")
    return tuple(names)


def write(path: Path) -> bytes:
    """The path as bytes."""
    return b"/" + b"/".join(path)


def is_beneath(path: Path, top: Path) -> bool:
    """Whether a path is `top` or lies beneath it."""
    return path[: len(top)] == top


def shown(value: bytes) -> str:
    """Bytes as people read them: what is not plain is escaped."""
    text = value.decode(errors="surrogateescape")
    if text.isprintable():
        return text
    return "".join(escape(character) for character in text)


def escape(character: str) -> str:
    """A character as it is shown where something beside it is not plain."""
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def to_members(name: str, value: bytes) -> dict[str, str]:
    """The members of JSON that bytes are written as."""
    text = shown(value)
    if text.encode() == value:
        return {name: text}
    return {name: text, f"{name}_bytes": base64.b64encode(value).decode()}


def from_members(name: str, members: Mapping[str, Any]) -> bytes:
    """The bytes that members of JSON say."""
    exact, plain = members.get(f"{name}_bytes"), members.get(name)
    require(isinstance(plain, str), "member", f"{name} is not a text")
    return str(plain).encode() if exact is None else from_base64(exact)


def from_base64(text: object) -> bytes:
    """Bytes written in standard base64 with padding."""
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal("base64", f"{text!r} is not base64") from error
