"""A manifest taken apart, and put together again so that only the damage is wrong.

What is damaged above the signature is signed again, and what a statement says
of the entries is computed again.
"""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from second_reader import digests, envelope, layers, tree
from second_reader.contract import Contract
from second_reader.entry import Entry
from second_reader.layers import Layer
from second_reader.paths import Path
from second_reader.records import Record
from second_reader.tree import Mark


@dataclass
class Parts:
    """The parts, and what is done to each on the way together."""

    statement: dict[str, Any]
    contract: Contract
    entries: list[Record]
    key: Ed25519PrivateKey
    layers: list[Layer] = field(default_factory=list)
    layer_section: Callable[[int, bytes], bytes] = lambda at, section: section
    line: bytes = b"congruent-manifest 2\n"
    payload_type: str = envelope.PAYLOAD_TYPE
    section: Callable[[bytes], bytes] = lambda section: section
    compress: Callable[[bytes], bytes] = lambda section: zstandard.compress(section)
    payload: Callable[[bytes], bytes] = lambda payload: payload
    sealed: Callable[[dict[str, Any]], None] = lambda sealed: None
    envelope: Callable[[bytes], bytes] = lambda envelope: envelope
    said: Callable[[dict[str, Any]], None] = lambda statement: None
    file: Callable[[bytes], bytes] = lambda file: file

    @property
    def predicate(self) -> dict[str, Any]:
        """What the statement says."""
        predicate: dict[str, Any] = self.statement["predicate"]
        return predicate

    def put_together(self) -> bytes:
        """The file."""
        section = self.section(b"".join(map(encode, self.entries)))
        self.describe(section)
        beneath = [self.layer_section(at, encode_layer(layer)) for at, layer in enumerate(self.layers)]
        self.describe_layers(beneath)
        self.said(self.statement)
        payload = self.payload(json.dumps(self.statement).encode())
        kind = self.payload_type.encode()
        message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        signature = {"keyid": "", "sig": base64.b64encode(self.key.sign(message)).decode()}
        sealed = {
            "payloadType": self.payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [signature],
        }
        self.sealed(sealed)
        written = self.envelope(json.dumps(sealed).encode())
        compressed = [self.compress(section), *map(zstandard.compress, beneath)]
        sections = b"".join(len(one).to_bytes(8, "little") + one for one in compressed)
        return self.file(self.line + len(written).to_bytes(4, "little") + written + sections)

    def describe(self, section: bytes) -> None:
        """Makes the statement say of the entries what is so."""
        algorithm, _ = digests.parse(self.predicate["root"])
        whole = {record.path: record.entry for record in self.entries}
        try:
            root = tree.root(whole, self.contract, algorithm)
        except struct.error:
            # A number that has no place in the tree is refused before the root is looked at.
            root = bytes(32)
        self.predicate["root"] = algorithm.write(root)
        self.statement["subject"][0]["digest"] = {algorithm.name: root.hex()}
        self.predicate["entries"] = {
            "digest": algorithm.write(algorithm.digest(section)),
            "count": len(self.entries),
            "section_bytes": len(section),
            "content_bytes": sum(record.entry.size or 0 for record in self.entries),
        }

    def describe_layers(self, sections: list[bytes]) -> None:
        """Makes the statement say of layers what is so, and be that of an image."""
        if not self.layers:
            return
        algorithm, _ = digests.parse(self.predicate["root"])
        diff_ids = [f"sha256:{at:064x}" for at in range(len(sections))]
        self.predicate["origin"]["image"] = {"config_digest": "sha256:" + "0" * 64, "diff_ids": diff_ids}
        self.predicate["layers"] = [
            {
                "diff_id": diff_id,
                "root": algorithm.write(layers.root(layer, algorithm)),
                "entries": {
                    "digest": algorithm.write(algorithm.digest(section)),
                    "count": len(layer),
                    "section_bytes": len(section),
                    "content_bytes": sum(one.node.size or 0 for one in layer if isinstance(one.node, Entry)),
                },
            }
            for diff_id, layer, section in zip(diff_ids, self.layers, sections, strict=True)
        ]

    def at(self, *path: bytes) -> int:
        """Where a path's record stands."""
        return next(index for index, record in enumerate(self.entries) if record.path == path)

    def change(self, *path: bytes, **members: Any) -> None:
        """Changes members of an entry."""
        index = self.at(*path)
        record = self.entries[index]
        self.entries[index] = replace(record, entry=replace(record.entry, **members))


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def sized(data: bytes) -> bytes:
    """A length and the bytes."""
    return varint(len(data)) + data


def encode_layer(layer: Layer) -> bytes:
    """A layer's records."""
    return b"".join(
        head(one.path, one.node.kind)
        if isinstance(one.node, Mark)
        else encode(Record(one.path, one.node, one.link_group, one.package))
        for one in layer
    )


def head(path: Path, kind: str) -> bytes:
    """How a record begins."""
    return varint(len(path)) + sized(path[-1] if path else b"") + kind.encode("latin-1")


def encode(record: Record) -> bytes:
    """A record, whatever it says."""
    entry, path = record.entry, record.path
    seconds, nanoseconds = entry.mtime
    encoded = head(path, entry.kind)
    encoded += b"".join(map(varint, (entry.mode, entry.uid, entry.gid)))
    encoded += varint(seconds << 1 if seconds >= 0 else (-seconds << 1) - 1) + varint(nanoseconds)
    if entry.kind == "f":
        encoded += varint(entry.size or 0) + (entry.content or b"")
    if entry.link is not None:
        encoded += sized(entry.link)
    if entry.device is not None:
        encoded += varint(entry.device[0]) + varint(entry.device[1])
    if entry.kind != "d":
        encoded += varint(record.link_group)
    encoded += varint(len(entry.xattrs))
    encoded += b"".join(sized(name) + sized(value) for name, value in entry.xattrs)
    return encoded + varint(record.package)
