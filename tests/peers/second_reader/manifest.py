"""A whole manifest: read, checked, and its root computed again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from . import envelope, records, statement, tree
from .envelope import Key
from .paths import is_beneath
from .records import Record
from .refusal import require
from .statement import Statement


@dataclass(frozen=True)
class Manifest:
    """What was baked, all of it checked."""

    statement: Statement
    records: list[Record]
    signed_by: list[str]

    def to_json(self) -> dict[str, Any]:
        """What `check` tells."""
        predicate = self.statement.predicate
        return {
            "name": predicate["name"],
            "version": predicate["version"],
            "kind": predicate["kind"],
            "root": predicate["root"],
            "count": len(self.records),
            "signed_by": self.signed_by,
            "predicate": predicate,
        }


def read(file: File, trusted: Sequence[Key]) -> Manifest:
    """The manifest in a file. Without trusted keys its signatures are not looked at."""
    sealed, compressed = envelope.split(file.read_bytes())
    payload, signed_by = envelope.open_envelope(sealed, trusted)
    require(bool(signed_by) or not trusted, "signature", "no trusted key signed it")
    said = statement.parse(payload)
    statement.check_expiry(said, divmod(time.time_ns(), 10**9))
    section = envelope.decompress(compressed, said.predicate["entries"]["section_bytes"])
    digest = said.algorithm.digest(section)
    told = said.algorithm.read(said.predicate["entries"]["digest"])
    require(digest == told, "entries-digest", "the entries are not those that were signed")
    entries = records.decode(section)
    check_entries(said, entries)
    computed = tree.baked_root(((r.path, r.entry) for r in entries), said.contract, said.algorithm)
    require(computed == said.root, "root", f"it is {said.algorithm.write(computed)}")
    return Manifest(said, entries, signed_by)


def check_entries(said: Statement, entries: Sequence[Record]) -> None:
    """Holds the entries to what the statement says of them."""
    told = said.predicate["entries"]
    require(len(entries) == told["count"], "entries-count", f"{len(entries)}, not {told['count']}")
    content = sum(record.entry.size or 0 for record in entries)
    require(content == told["content_bytes"], "content-bytes", f"{content}, not {told['content_bytes']}")
    packages = len(said.predicate.get("packages", {"list": []})["list"])
    for record in entries:
        path, entry = record.path, record.entry
        inside = any(is_beneath(path, place) for place in said.reserved)
        require(not inside, "entry-reserved", f"{path} lies in a reserved place")
        scoped = said.contract.terms(path).scoped(entry.xattrs)
        require(scoped == entry.xattrs, "xattr-scope", f"{path} has attributes out of scope")
        require(record.package <= packages, "entry-package", f"{path} is of no package in the list")
