"""Alters a manifest of an image in its layers, and signs it again where that is not the point."""

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from second_reader import envelope, layers
from second_reader.digests import Algorithm
from second_reader.entry import Entry
from second_reader.manifest import Manifest
from second_reader.refusal import Refusal


def altered(chance: random.Random, file: bytes, read: Manifest, secret: File) -> Iterator[bytes]:
    """Some ways in which it is another."""
    sealed, rest = envelope.split(file)
    sections = envelope.split_sections(rest, 1 + len(read.layers))
    before = file[: len(file) - len(rest)]
    swapped = chance.sample(sections, k=len(sections))
    yield before + joined(swapped)
    # Of a frame that holds nothing, libzstd looks at the size that it tells only when it has the whole.
    number = chance.choice([0, *(at for at, layer in enumerate(read.layers, 1) if layer)])
    at = chance.randrange(len(sections[number]))
    flipped = bytearray(sections[number])
    flipped[at] ^= 1 << chance.randrange(8)
    yield before + joined([*sections[:number], bytes(flipped), *sections[number + 1 :]])
    key = load_pem_private_key(secret.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    told = read.statement.predicate["layers"]
    for _ in range(4):
        statement = json.loads(envelope.open_envelope(sealed, [])[0])
        number = chance.randrange(len(told))
        records = envelope.decompress(sections[1 + number], told[number]["entries"]["section_bytes"])
        records = mutated(chance, records)
        describe(statement["predicate"]["layers"][number], records, read.statement.algorithm)
        if chance.random() < 0.2:
            one = statement["predicate"]["layers"][number]
            one["root"] = told[chance.randrange(len(told))]["root"]
        changed = [*sections[: 1 + number], zstandard.compress(records), *sections[2 + number :]]
        yield signed(key, statement) + joined(changed)


def mutated(chance: random.Random, records: bytes) -> bytes:
    """Records with a few bytes changed, left out or put in."""
    changed = bytearray(records)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(changed) + 1)
        how = chance.randrange(4)
        if how == 0 and at < len(changed):
            del changed[at]
        elif how == 1:
            changed.insert(at, chance.choice(b"\0\1iwodfl."))
        elif how == 2 and at < len(changed):
            changed[at] = chance.choice(b"\0\1iwodflpcbs.")
        elif at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def describe(told: dict[str, Any], records: bytes, algorithm: Algorithm) -> None:
    """Makes the statement say of a layer what is so, as far as there is such a layer."""
    told["entries"] |= {"digest": algorithm.write(algorithm.digest(records)), "section_bytes": len(records)}
    try:
        layer = layers.decode(records)
    except Refusal:
        return
    content = sum(listed.node.size or 0 for listed in layer if isinstance(listed.node, Entry))
    told["entries"] |= {"count": len(layer), "content_bytes": content}
    told["root"] = algorithm.write(layers.root(layer, algorithm))


def signed(key: Ed25519PrivateKey, statement: dict[str, Any]) -> bytes:
    """The file up to its sections."""
    payload, kind = json.dumps(statement).encode(), envelope.PAYLOAD_TYPE.encode()
    signature = key.sign(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    sealed = {
        "payloadType": envelope.PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    written = json.dumps(sealed).encode()
    return b"congruent-manifest 2\n" + len(written).to_bytes(4, "little") + written


def joined(sections: list[bytes]) -> bytes:
    """The sections as they stand in a file."""
    return b"".join(len(section).to_bytes(8, "little") + section for section in sections)
