"""A whole manifest: read, checked, and its root computed again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from . import envelope, layers, records, statement, tree
from .envelope import Key
from .layers import Layer
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
    layers: list[Layer]

    def to_json(self) -> dict[str, Any]:
        """What `check` tells."""
        predicate = self.statement.predicate
        return {
            "name": predicate["name"],
            "version": predicate["version"],
            "kind": predicate["kind"],
            "root": predicate["root"],
            "count": len(self.records),
            "layer_counts": [len(layer) for layer in self.layers],
            "signed_by": self.signed_by,
            "predicate": predicate,
        }


def read(file: File, trusted: Sequence[Key]) -> Manifest:
    """The manifest in a file. Without trusted keys its signatures are not looked at."""
    sealed, rest = envelope.split(file.read_bytes())
    payload, signed_by = envelope.open_envelope(sealed, trusted)
    require(bool(signed_by) or not trusted, "signature", "no trusted key signed it")
    said = statement.parse(payload)
    statement.check_expiry(said, divmod(time.time_ns(), 10**9))
    told_layers = said.predicate.get("layers", [])
    first, *others = envelope.split_sections(rest, 1 + len(told_layers))
    entries = records.decode(envelope.open_section(first, said.predicate["entries"], said.algorithm))
    check_entries(said, entries)
    computed = tree.baked_root(((r.path, r.entry) for r in entries), said.contract, said.algorithm)
    require(computed == said.root, "root", f"it is {said.algorithm.write(computed)}")
    read_layers = [layers.read(*pair, said.algorithm) for pair in zip(others, told_layers, strict=True)]
    return Manifest(said, entries, signed_by, read_layers)


def check_entries(said: Statement, entries: Sequence[Record]) -> None:
    """Holds the entries to what the statement says of them."""
    told = said.predicate["entries"]
    require(len(entries) == told["count"], "entries-count", f"{len(entries)}, not {told['count']}")
    records.check_content((record.entry for record in entries), told)
    packages = len(said.predicate.get("packages", {"list": []})["list"])
    for record in entries:
        path, entry = record.path, record.entry
        inside = any(is_beneath(path, place) for place in said.reserved)
        require(not inside, "entry-reserved", f"{path} lies in a reserved place")
        scoped = said.contract.terms(path).scoped(entry.xattrs)
        require(scoped == entry.xattrs, "xattr-scope", f"{path} has attributes out of scope")
        require(record.package <= packages, "entry-package", f"{path} is of no package in the list")
