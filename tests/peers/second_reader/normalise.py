"""What each path contributes, and what is found there; pure."""

from dataclasses import dataclass, field
from typing import Any

from . import entry as entries
from . import paths
from .contract import Terms
from .digests import Algorithm
from .entry import Entry, differing
from .paths import Path
from .tree import Contradiction, Contribution

HELD_BY_PINNED = ("mode", "uid", "gid")
FREE_BY_ROTATING = ("content", "size", "link", "mtime")


@dataclass(frozen=True)
class Finding:
    """One difference."""

    change: str
    class_: str
    fields: list[str] = field(default_factory=list)
    expected: Entry | None = None
    observed: Entry | None = None
    forbidden: list[str] = field(default_factory=list)
    held_to: str | None = None

    def to_json(self, path: Path, algorithm: Algorithm) -> dict[str, Any]:
        """The finding as it is told."""

        def attributes(entry: Entry | None) -> Any:
            return None if entry is None else entries.to_json(entry, algorithm)

        told: dict[str, Any] = paths.to_members("path", paths.write(path))
        told |= {"change": self.change, "fields": self.fields, "class": self.class_}
        if self.forbidden:
            told["forbidden"] = self.forbidden
        if self.held_to:
            told["held_to"] = self.held_to
        return told | {"expected": attributes(self.expected), "observed": attributes(self.observed)}


@dataclass(frozen=True)
class Outcome:
    """What follows for one path."""

    contributes: Contribution | None = None
    finding: Finding | None = None
    first_value: Entry | None = None


def decide(terms: Terms, baked: Entry | None, first: Entry | None, observed: Entry | None) -> Outcome:
    """What follows from what is baked, recorded and observed at a path in the tree."""
    if baked is not None and observed is not None:
        return decide_changed(terms, baked, first, observed)
    if baked is not None:
        if terms.class_ == "ephemeral":
            return Outcome(baked)
        return Outcome(finding=Finding("removed", terms.class_, expected=baked))
    if observed is not None:
        return decide_new(terms, first, observed)
    if first is not None:
        gone = Finding("removed", terms.class_, expected=first, held_to="ledger")
        return Outcome(Contradiction(None), gone)
    return Outcome()


def decide_changed(terms: Terms, baked: Entry, first: Entry | None, observed: Entry) -> Outcome:
    """What follows where a baked path is there."""
    fields = differing(baked, observed, terms.mtime)
    held = held_fields(terms.class_, fields, baked, observed)
    if held is None or held:
        return Outcome(observed, changed(terms, baked, observed, held))
    if terms.class_ == "pinned" and first is not None:
        contradicted = contradiction(terms, first, observed)
        if contradicted is not None:
            return contradicted
    differs = fields is None or bool(fields)
    forbidden = terms.forbidden(observed)
    if differs and forbidden and terms.class_ != "append-only":
        return Outcome(observed, changed(terms, baked, observed, fields, forbidden=forbidden))
    is_first = terms.class_ == "pinned" and differs and first is None
    return Outcome(baked, first_value=observed if is_first else None)


def decide_new(terms: Terms, first: Entry | None, observed: Entry) -> Outcome:
    """What follows where a path is there that is not baked."""
    forbidden = terms.forbidden(observed)
    if forbidden or terms.class_ not in ("ephemeral", "create-only", "pinned"):
        added = Finding("added", terms.class_, observed=observed, forbidden=forbidden)
        return Outcome(observed, added)
    if terms.class_ == "ephemeral":
        return Outcome()
    if first is None:
        return Outcome(first_value=observed)
    return contradiction(terms, first, observed) or Outcome()


def held_fields(class_: str, fields: list[str] | None, baked: Entry, observed: Entry) -> list[str] | None:
    """Of the fields that differ, those that the class holds; None where it holds the kind."""
    if class_ == "ephemeral":
        return []
    if fields is None:
        return None
    if class_ == "append-only":
        grew = (observed.size or 0) > (baked.size or 0)
        return [name for name in fields if not (name == "size" and grew)]
    if class_ == "pinned":
        return [name for name in fields if name in HELD_BY_PINNED]
    if class_ == "rotating":
        return [name for name in fields if name not in FREE_BY_ROTATING]
    return fields


def changed(terms: Terms, expected: Entry, observed: Entry, fields: list[str] | None, **more: Any) -> Finding:
    """A finding of another kind, or of these fields."""
    change = "replaced" if fields is None else "modified"
    return Finding(change, terms.class_, fields or [], expected, observed, **more)


def contradiction(terms: Terms, first: Entry, observed: Entry) -> Outcome | None:
    """What follows where the ledger is contradicted."""
    fields = differing(first, observed, terms.mtime)
    if fields == []:
        return None
    finding = changed(terms, first, observed, fields, held_to="ledger")
    return Outcome(Contradiction(observed), finding)


def decide_reserved(observed: Entry) -> Finding | None:
    """What is found in a reserved place."""
    if not observed.forbidden():
        return None
    return Finding("added", "reserved", observed=observed.with_content(None))
