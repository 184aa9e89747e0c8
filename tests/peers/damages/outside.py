"""Damages to the frame and the envelope."""

import base64
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .table import setting


def frame() -> None:
    """The frame."""
    for line in (b"1\n", b"3\n", b"02\n", b"+2\n", b"2 \n", b"2\r\n", b" 2\n", b"\n"):
        setting(f"version {line!r}", "format-version", line=b"congruent-manifest " + line)
    setting("another first line", "first-line", line=b"congruent-report 2\n")
    setting("empty", "first-line", file=lambda file: b"")
    for kept in (10, 21, 23, 60, -1):
        rule = "first-line" if kept == 10 else "frame-short"
        setting(f"cut off at {kept}", rule, file=lambda file, kept=kept: file[:kept])
    setting("something follows", "frame-long", file=lambda file: file + b"\0")
    setting("an absurd envelope length", "envelope-length", file=lambda f: f[:21] + b"\xff" * 4 + f[25:])
    setting("an absurd section length", "frame-short", envelope=lambda e: e, file=absurd_section)


def absurd_section(file: bytes) -> bytes:
    """The file with a section length beyond all files."""
    at = 25 + int.from_bytes(file[21:25], "little")
    return file[:at] + b"\xff" * 8 + file[at + 8 :]


def envelopes() -> None:
    """The envelope, and its signatures."""

    def urlsafe(sealed: dict[str, Any]) -> None:
        sealed["payload"] = sealed["payload"].replace("+", "-").replace("/", "_")
        signature = sealed["signatures"][0]
        signature["sig"] = signature["sig"].replace("+", "-").replace("/", "_")

    def sealed(name: str, rule: str | None, change: Callable[[dict[str, Any]], Any]) -> None:
        setting(name, rule, sealed=change)

    def stranger(sealed: dict[str, Any]) -> None:
        sealed["signatures"].insert(0, {"keyid": "sha256:0", "sig": base64.b64encode(bytes(64)).decode()})

    sealed("nothing", None, lambda sealed: None)
    sealed("base64 that is URL-safe", None, urlsafe)
    sealed("members that DSSE does not know", None, lambda sealed: sealed.update(later=[1]))
    sealed("a member of a signature that DSSE does not know", None, lambda s: s["signatures"][0].update(x=1))
    sealed("two alphabets", "envelope", lambda s: s.update(payload="-+" + s["payload"][2:]))
    sealed("base64 without its end", "envelope", lambda s: s.update(payload="e30"))
    sealed("base64 with more bits", "envelope", lambda s: s.update(payload="e31="))
    sealed("no keyid", None, lambda sealed: sealed["signatures"][0].pop("keyid"))
    sealed("a keyid that is another's", None, lambda s: s["signatures"][0].update(keyid="sha256:00"))
    sealed("a stranger's signature beside", None, stranger)
    sealed("no signature", "signature", lambda sealed: sealed["signatures"].clear())
    sealed("no list of signatures", "envelope", lambda sealed: sealed.pop("signatures"))
    sealed("no payload", "envelope", lambda sealed: sealed.pop("payload"))
    sealed("another payload type", "payload-type", lambda s: s.update(payloadType="application/json"))
    sealed("another payload", "signature", lambda s: s.update(payload=base64.b64encode(b"{}").decode()))
    sealed("a payload that is no base64", "envelope", lambda s: s.update(payload="{}"))
    sealed("a signature of all zeros", "signature", lambda s: s.update(signatures=[{"sig": "A" * 86 + "=="}]))
    sealed("a short signature", "signature", lambda s: s.update(signatures=[{"sig": "AAAA"}]))
    setting("a payload type that is signed", "payload-type", payload_type="application/json")
    setting("another's key", "signature", key=Ed25519PrivateKey.generate())
    setting("a list for an envelope", "envelope", envelope=lambda e: b"[" + e + b"]")
    setting("no JSON", "json", envelope=lambda e: e[:-1])
    setting("JSON and more", "json", envelope=lambda e: e + b"{}")
    setting("white space around", None, envelope=lambda e: b" " + e + b"\n")
    setting("an envelope's member twice", "json-twice", envelope=lambda e: e[:-1] + b', "payload": ""}')


frame()
envelopes()
