"""The ways to damage a manifest, by the part that is damaged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .parts import Parts


@dataclass(frozen=True)
class Damage:
    """One way to change a manifest, and the rule by which it is refused; none where it is not."""

    name: str
    rule: str | None
    apply: Callable[[Parts], None]


DAMAGES: list[Damage] = []


def damage(name: str, rule: str | None, apply: Callable[[Parts], Any]) -> None:
    """Adds a way."""
    DAMAGES.append(Damage(name, rule, apply))


def setting(name: str, rule: str | None, **members: Any) -> None:
    """A damage that sets parts of the file."""

    def apply(parts: Parts) -> None:
        for member, value in members.items():
            setattr(parts, member, value)

    damage(name, rule, apply)


def saying(name: str, rule: str | None, said: Callable[[dict[str, Any]], Any]) -> None:
    """A damage to the predicate, after all else in it was made true."""
    setting(name, rule, said=lambda statement: said(statement["predicate"]))


def stating(name: str, rule: str | None, said: Callable[[dict[str, Any]], Any]) -> None:
    """A damage to the statement around the predicate."""
    setting(name, rule, said=said)


def entry(name: str, rule: str | None, *path: bytes, **members: Any) -> None:
    """A damage to one entry."""
    damage(name, rule, lambda parts: parts.change(*path, **members))
