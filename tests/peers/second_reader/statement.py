"""The in-toto statement, and the predicate that says what was baked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import contract, digests, paths, times
from .envelope import load_json
from .paths import Path
from .refusal import Refusal, require

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:congruent:manifest:v2"
STATE = (b"var", b"lib", b"congruent")
LONGEST_WORD = 1_000
MOST_DIFF_IDS = 1_000
MOST_PACKAGES = 100_000

Shape = Callable[[Any, str], None]


def text(value: Any, where: str) -> None:
    """Any text."""
    require(isinstance(value, str), "member", f"{where} is not a text")


def word(value: Any, where: str) -> None:
    """A text of bounded length."""
    text(value, where)
    require(len(value) <= LONGEST_WORD, "member", f"{where} is too long")


def flag(value: Any, where: str) -> None:
    """True or false."""
    require(isinstance(value, bool), "member", f"{where} is not true or false")


def count(value: Any, where: str) -> None:
    """A number of 64 bits that is not negative."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    require(whole and 0 <= value < 2**64, "member", f"{where} is not a number")


def digest(value: Any, where: str) -> None:
    """A digest by any algorithm, not keyed."""
    _, content = digests.parse(value)
    require(len(content) == 32, "digest", f"{where} is keyed")


def anything(_value: Any, _where: str) -> None:
    """What is looked at elsewhere, or by nobody."""


def list_of(shape: Shape, most: int | None = None) -> Shape:
    """A list of these."""

    def check(value: Any, where: str) -> None:
        require(isinstance(value, list), "member", f"{where} is not a list")
        require(most is None or len(value) <= most, "member", f"{where} is too long")
        for element in value:
            shape(element, where)

    return check


def map_of(shape: Shape) -> Shape:
    """An object of any names."""

    def check(value: Any, where: str) -> None:
        require(isinstance(value, dict), "member", f"{where} is not an object")
        for name, member in value.items():
            shape(member, f"{where}.{name}")

    return check


def members(shapes: Mapping[str, Shape], more: bool = False) -> Shape:
    """An object of these members; a name that ends in `?` may be missing."""
    known = {name.removesuffix("?"): shape for name, shape in shapes.items()}
    needed = {name for name in shapes if not name.endswith("?")}

    def check(value: Any, where: str) -> None:
        require(isinstance(value, dict), "member", f"{where} is not an object")
        missing, unknown = needed - value.keys(), value.keys() - known.keys()
        require(not missing, "member-missing", f"{where} has no {sorted(missing)}")
        require(more or not unknown, "member-unknown", f"{where} has {sorted(unknown)}")
        for name, member in value.items():
            known.get(name, anything)(member, f"{where}.{name}")

    return check


RULE = members(
    {
        "path": text,
        "class": text,
        "forbid?": list_of(text),
        "mtime?": flag,
        "xattrs?": list_of(text),
        "ignore_xattrs?": list_of(text),
        "sensitive?": flag,
    }
)
MOUNT = members(
    {
        "path": text,
        "content": text,
        "filesystem?": text,
        "source?": text,
        "flags?": list_of(text),
    }
)
IMAGE = members(
    {
        "config_digest": digest,
        "diff_ids": list_of(digest, MOST_DIFF_IDS),
        "platform?": word,
        "manifest_digest?": digest,
    }
)
ENTRIES = members({"digest": text, "count": count, "section_bytes": count, "content_bytes": count})
ORIGIN_WORDS = ("source_revision", "pipeline_run", "builder", "ticket", "approver", "owner")
PREDICATE = members(
    {
        "name": text,
        "version": text,
        "kind": text,
        "root": text,
        "entries": ENTRIES,
        "layers?": list_of(members({"diff_id": digest, "root": text, "entries": ENTRIES}), MOST_DIFF_IDS),
        "contract": members({"rules": list_of(RULE), "mounts": list_of(MOUNT)}),
        "reserved": list_of(members({"path": text}, more=True)),
        "baked": members({"at": text, "by": word, "on": word, "with": word}),
        "expires?": text,
        "origin?": members({f"{name}?": word for name in ORIGIN_WORDS} | {"image?": IMAGE}),
        "packages?": members(
            {
                "manager": text,
                "list": list_of(
                    members({"name": text, "version": text, "architecture": text}), MOST_PACKAGES
                ),
            }
        ),
        "lint?": members(
            {
                "counts": map_of(count),
                "findings": list_of(
                    members({"lint": text, "path": text, "path_bytes?": text, "detail": text})
                ),
                "allowed?": list_of(members({"lint": text, "path": text, "covered": count})),
            }
        ),
    }
)
STATEMENT = members(
    {
        "_type": text,
        "subject": list_of(members({"name": text, "digest": map_of(text)})),
        "predicateType": text,
        "predicate": PREDICATE,
    }
)


@dataclass(frozen=True)
class Statement:
    """What was baked, as its maker says it."""

    predicate: Mapping[str, Any]
    algorithm: digests.Algorithm
    root: bytes
    contract: contract.Contract
    reserved: tuple[Path, ...]

    @property
    def is_add_on(self) -> bool:
        """Whether it is an add-on rather than a base."""
        return bool(self.predicate["kind"] == "add-on")


def parse(payload: bytes) -> Statement:
    """The statement in an envelope's payload."""
    statement = load_json(payload)
    if isinstance(statement, dict):
        require(statement.get("_type") == STATEMENT_TYPE, "statement-type", f"{statement.get('_type')!r}")
        of = statement.get("predicateType")
        require(of == PREDICATE_TYPE, "predicate-type", f"{of!r}")
    STATEMENT(statement, "statement")
    predicate = statement["predicate"]
    algorithm, root = digests.parse(predicate["root"])
    require(len(root) == 32, "digest", "the root is keyed")
    algorithm.read(predicate["entries"]["digest"])
    subject = [{"name": predicate["name"], "digest": {algorithm.name: root.hex()}}]
    require(statement["subject"] == subject, "subject", "it is not the predicate's name and root")
    require(predicate["kind"] in ("base", "add-on"), "manifest-kind", predicate["kind"])
    for name in ("name", "version"):
        check_title(predicate[name], name)
    times.parse(predicate["baked"]["at"])
    if "packages" in predicate:
        require(predicate["packages"]["manager"] in ("dpkg", "rpm"), "packages", "manager")
    check_layers(predicate, algorithm)
    terms = predicate["contract"]
    is_empty = not terms["rules"] and not terms["mounts"]
    require(predicate["kind"] == "base" or is_empty, "add-on-contract", "an add-on has no contract")
    return Statement(predicate, algorithm, root, contract.from_json(terms), reserved(predicate))


def check_layers(predicate: Mapping[str, Any], algorithm: digests.Algorithm) -> None:
    """Holds what is said of layers to the image that they are of."""
    layers = predicate.get("layers")
    if layers is None:
        return
    require(bool(layers), "layers", "there are none")
    image = predicate.get("origin", {}).get("image")
    told = None if image is None else image["diff_ids"]
    require([layer["diff_id"] for layer in layers] == told, "layers", "they are not those of the image")
    for layer in layers:
        algorithm.read(layer["root"])
        algorithm.read(layer["entries"]["digest"])


def check_title(title: str, where: str) -> None:
    """Holds a name or version to what these may be."""
    printable = title.isascii() and title.isprintable() and "/" not in title
    fits = 1 <= len(title) <= 200 and printable and title not in (".", "..")
    require(fits, "title", f"{title!r} cannot be a {where}")


def reserved(predicate: Mapping[str, Any]) -> tuple[Path, ...]:
    """The places outside the tree."""
    own = (b"etc", b"congruent", predicate["name"].encode() + b".manifest")
    places = tuple(paths.parse(paths.from_members("path", place)) for place in predicate["reserved"])
    for place in places:
        require(place in (own, STATE), "reserved", f"{place} cannot be reserved")
    return places


def check_expiry(statement: Statement, now: times.Time) -> None:
    """Refuses what is accepted no longer."""
    expires = statement.predicate.get("expires")
    if expires is not None and times.parse(expires) <= now:
        raise Refusal("expired", f"it was accepted until {expires}")
