"""The file's frame, and the DSSE envelope with its signatures."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from .digests import Algorithm
from .refusal import Refusal, require

FIRST_LINE = b"congruent-manifest "
VERSION = b"2"
LONGEST_ENVELOPE = 16 << 20
WIDEST_WINDOW = 8 << 20
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def split(file: bytes) -> tuple[bytes, bytes]:
    """The envelope of a manifest, and the sections that follow it."""
    line, newline, rest = file.partition(b"\n")
    require(line.startswith(FIRST_LINE) and newline == b"\n", "first-line", "this is not a manifest")
    version = line.removeprefix(FIRST_LINE)
    require(version == VERSION, "format-version", f"version {version!r} is not {VERSION!r}")
    require(len(rest) >= 4, "frame-short", "no envelope")
    envelope_length = int.from_bytes(rest[:4], "little")
    require(envelope_length <= LONGEST_ENVELOPE, "envelope-length", f"{envelope_length} bytes")
    envelope, rest = rest[4 : 4 + envelope_length], rest[4 + envelope_length :]
    require(len(envelope) == envelope_length, "frame-short", "the envelope ends too soon")
    return envelope, rest


def split_sections(rest: bytes, count: int) -> list[bytes]:
    """So many compressed sections, after which nothing follows."""
    sections = []
    for _ in range(count):
        require(len(rest) >= 8, "frame-short", "no section")
        length, rest = int.from_bytes(rest[:8], "little"), rest[8:]
        require(len(rest) >= length, "frame-short", "a section ends too soon")
        sections.append(rest[:length])
        rest = rest[length:]
    require(not rest, "frame-long", "something follows the last section")
    return sections


def decompress(section: bytes, length: int) -> bytes:
    """What one zstd frame holds, which must be of this length."""
    decoder = zstandard.ZstdDecompressor(max_window_size=WIDEST_WINDOW).decompressobj()
    try:
        data = decoder.decompress(section)
    except zstandard.ZstdError as error:
        raise Refusal("section-frame", str(error)) from error
    require(decoder.eof and not decoder.unused_data, "section-frame", "not one whole frame")
    require(len(data) == length, "section-length", f"{len(data)} bytes, not {length}")
    return data


def open_section(section: bytes, told: Mapping[str, Any], algorithm: Algorithm) -> bytes:
    """The records of a section, which must be those that were signed."""
    opened = decompress(section, told["section_bytes"])
    is_signed = algorithm.digest(opened) == algorithm.read(told["digest"])
    require(is_signed, "entries-digest", "the entries are not those that were signed")
    return opened


@dataclass(frozen=True)
class Key:
    """A public key, and its id."""

    public: Ed25519PublicKey
    id: str


def load_key(file: File) -> Key:
    """A public key from PEM."""
    public = load_pem_public_key(file.read_bytes())
    if not isinstance(public, Ed25519PublicKey):
        raise Refusal("key", f"{file} is not an Ed25519 key")
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key(public, f"sha256:{hashlib.sha256(spki).hexdigest()}")


def load_json(data: bytes) -> Any:
    """JSON in UTF-8 in which no member stands twice, and all text is Unicode."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        require(len(members) == len(pairs), "json-twice", "a member stands twice")
        return members

    def no_number(text: str) -> Any:
        raise Refusal("json", f"{text} is no number")

    try:
        value = json.loads(data.decode(), object_pairs_hook=once, parse_constant=no_number)
        # Half of a surrogate pair can be escaped in JSON, but is no text.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refusal("json", str(error)) from error
    return value


def decode_base64(text: str) -> bytes:
    """Base64 in one of its alphabets, standard or URL-safe, as DSSE allows both."""
    alphabet = b"-_" if "-" in text or "_" in text else b"+/"
    try:
        decoded = base64.b64decode(text, alphabet, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal("envelope", f"not base64: {error}") from error
    require(base64.b64encode(decoded, alphabet) == text.encode(), "envelope", "not base64 in its only form")
    return decoded


def open_envelope(envelope: bytes, trusted: Sequence[Key]) -> tuple[bytes, list[str]]:
    """The payload, and the ids of those trusted keys that signed it."""
    members = load_json(envelope)
    try:
        payload_type, payload = members["payloadType"], decode_base64(members["payload"])
        signatures = [decode_base64(signature["sig"]) for signature in members["signatures"]]
    except (TypeError, KeyError, AttributeError) as error:
        raise Refusal("envelope", f"not an envelope of DSSE: {error}") from error
    require(payload_type == PAYLOAD_TYPE, "payload-type", f"{payload_type!r}")
    kind = PAYLOAD_TYPE.encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    return payload, [key.id for key in trusted if any(signed(key, message, one) for one in signatures)]


def signed(key: Key, message: bytes, signature: bytes) -> bool:
    """Whether the key made this signature over this message."""
    try:
        key.public.verify(signature, message)
    except InvalidSignature:
        return False
    return True
