"""Digests: the two algorithms, how digests are written, keyed digests.

A content digest is kept as the bytes that it contributes to the tree: 32 bytes,
or `k` and 32 bytes where it is keyed.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import blake3

from .refusal import Refusal

WRITTEN = re.compile(r"(keyed-)?(blake3|sha256):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Algorithm:
    """What computes every digest of one manifest."""

    name: str
    hasher: Callable[[], Any]

    def digest(self, data: bytes) -> bytes:
        """The digest of these bytes."""
        hasher = self.hasher()
        hasher.update(data)
        digest: bytes = hasher.digest()
        return digest

    def keyed(self, content: bytes, key: bytes) -> bytes:
        """The keyed digest that is told instead of a content digest."""
        if self.name == "blake3":
            return b"k" + blake3.blake3(content, key=key).digest()
        return b"k" + hmac.digest(key, content, "sha256")

    def write(self, content: bytes) -> str:
        """A digest as it is written."""
        keyed = "keyed-" if len(content) == 33 else ""
        return f"{keyed}{self.name}:{content[-32:].hex()}"

    def read(self, text: object, keyed_too: bool = False) -> bytes:
        """A digest of this algorithm, read."""
        algorithm, content = parse(text)
        if algorithm is not self or (len(content) == 33 and not keyed_too):
            raise Refusal("digest-algorithm", f"{text} is not a digest by {self.name}")
        return content


ALGORITHMS = {
    "blake3": Algorithm("blake3", blake3.blake3),
    "sha256": Algorithm("sha256", hashlib.sha256),
}


def parse(text: object) -> tuple[Algorithm, bytes]:
    """The algorithm that a written digest names, and the digest."""
    match = WRITTEN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Refusal("digest", f"{text!r} is not a digest")
    digest = bytes.fromhex(match[3])
    return ALGORITHMS[match[2]], b"k" + digest if match[1] else digest
