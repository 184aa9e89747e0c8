"""One case: a stack that was baked, and what both say of a tree as it changes."""

import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from second_reader import hold, manifest, stack
from second_reader.entry import Entry, from_json
from second_reader.envelope import load_key
from second_reader.manifest import Manifest
from second_reader.paths import from_members
from second_reader.refusal import Refusal

from .maker import Maker

CONTENT_KEY = bytes(range(32))


@dataclass(frozen=True)
class Tools:
    """What a case is run with."""

    congruent: File
    secret: File
    public: File
    folder: File


class Case:
    """One case: what was baked, and the comparisons made of it."""

    def __init__(self, tools: Tools, seed: str, number: int) -> None:
        self.tools = tools
        self.chance = random.Random(f"{seed}/{number}")
        self.maker = Maker(self.chance)
        self.folder = tools.folder / f"case-{number}"
        self.folder.mkdir()
        self.top = bytes(self.folder / "root")
        self.digest = self.chance.choice(("blake3", "sha256"))
        self.add_ons: list[File] = []
        self.compared = 0
        self.findings = 0

    def run(self) -> None:
        """Bakes, changes, compares; and again with a ledger."""
        self.maker.tree(self.top, self.chance.randrange(3, 25))
        contract = self.folder / "contract.toml"
        contract.write_text(self.maker.contract())
        self.base = self.bake(File(os.fsdecode(self.top)), "base", "--contract", str(contract))
        self.bake_add_ons()
        for ledger in (None, self.folder / "ledger", self.folder / "ledger"):
            for _ in range(self.chance.randrange(8)):
                self.maker.change(self.top)
            if self.maker.odds(0.1):
                self.reserve()
            self.compare(ledger)
        shutil.rmtree(self.folder)

    def bake(self, root: File, name: str, *more: str) -> File:
        """Bakes a tree; the manifest's file."""
        output = self.folder / f"{name}.manifest"
        given: list[str | File] = ["--name", name, "--version", "1", "--digest", self.digest, *more]
        said = self.congruent("bake", root, "--key", self.tools.secret, "--output", output, *given)
        if said.returncode != 0:
            raise Disagreement(f"bake failed: {said.stderr.decode()}")
        return output

    def bake_add_ons(self) -> None:
        """Add-ons, where the contract leaves something to them, most of them in place."""
        contract = self.read(self.base).statement.contract
        if not any(terms.class_ == "add-on" for _, terms in contract.rules):
            return
        for name in ("one", "two")[: self.chance.randrange(3)]:
            root = self.folder / name
            self.maker.add_on(bytes(root), contract)
            self.add_ons.append(self.bake(root, name, "--add-on"))
            if self.maker.odds(0.8):
                # Fails, as it may, where the base has another kind of thing.
                copy = ["cp", "-a", "--remove-destination", f"{root}/.", os.fsdecode(self.top)]
                subprocess.run(copy, capture_output=True, check=False)

    def reserve(self) -> None:
        """Something in a reserved place."""
        place = os.path.join(self.top, b"var/lib/congruent")
        if not os.path.lexists(place) and not os.path.lexists(os.path.join(self.top, b"var")):
            os.makedirs(os.path.dirname(place))
            self.maker.tree(place, 5)

    def congruent(self, *arguments: str | File) -> subprocess.CompletedProcess[bytes]:
        """Runs Congruent."""
        return subprocess.run([self.tools.congruent, *arguments], capture_output=True, check=False)

    def read(self, file: File) -> Manifest:
        """A manifest, by the second reader."""
        return manifest.read(file, [load_key(self.tools.public)])

    def trust(self) -> File:
        """A trust configuration without a floor, which is no matter of the format."""
        file = self.folder / "trust.toml"
        signers = f"[[signers]]\nname = '*'\nkeys = ['{self.tools.public}']\n"
        file.write_text(f"floor = []\n{signers}")
        return file

    def compare(self, ledger: File | None) -> None:
        """Holds the tree to the stack in both ways, and records first values after."""
        key = self.folder / "content-key"
        key.write_bytes(CONTENT_KEY)
        given: list[str | File] = [part for file in self.add_ons for part in ("--add-on", file)]
        if ledger is not None:
            given += ["--ledger", ledger]
        given += ["--content-key", key, "--trust-config", self.trust(), "--root", os.fsdecode(self.top)]
        said = self.congruent("verify", "--manifest", self.base, "--format", "json", *given)
        try:
            held = stack.build(self.read(self.base), [self.read(file) for file in self.add_ons])
            values = hold.read_ledger(ledger.read_bytes(), held) if ledger else {}
        except Refusal as refusal:
            if said.returncode != 2:
                raise Disagreement(f"only the second reader refuses: {refusal}") from refusal
            raise Refused from refusal
        if said.returncode not in (0, 1):
            raise Disagreement(f"only congruent refuses: {said.stderr.decode()}")
        verification = json.loads(said.stdout)
        seen = hold.hold(held, values, self.top, CONTENT_KEY)
        self.agree(verification, seen, held)
        recomputed = hold.recompute(held, values, verification["findings"])
        same("the recomputed root", recomputed, verification["observed_root"])
        self.compared += 1
        self.findings += len(seen["findings"])
        outcome = self.folder / "verify.json"
        outcome.write_bytes(said.stdout)
        recorded = self.congruent("ledger", "record", "--ledger", self.folder / "ledger", outcome)
        if recorded.returncode != 0:
            raise Disagreement(f"ledger record failed: {recorded.stderr.decode()}")

    def agree(self, verification: dict[str, Any], seen: dict[str, Any], held: stack.Stack) -> None:
        """Holds one outcome to the other."""
        theirs, ours = verification["findings"], seen["findings"]
        same("findings", [told(one, held) for one in theirs], [told(one, held) for one in ours])
        first = verification["coverage"].get("first_seen", [])
        same(
            "first values",
            [value(one, held) for one in first],
            [value(one, held) for one in seen["first_values"]],
        )
        for root in ("baked_root", "observed_root"):
            same(root, verification[root], seen[root])


class Disagreement(Exception):
    """The two do not agree."""


class Refused(Exception):
    """Both refuse."""


def same(what: str, theirs: Any, ours: Any) -> None:
    """Refuses where two are not the same."""
    if theirs == ours:
        return
    if isinstance(theirs, list) and isinstance(ours, list):
        theirs, ours = [one for one in theirs if one not in ours], [one for one in ours if one not in theirs]
    raise Disagreement(f"{what}\n  congruent:     {theirs}\n  second reader: {ours}")


def told(finding: dict[str, Any], held: stack.Stack) -> dict[str, Any]:
    """A finding with its path and entries as what they mean, not as they are written."""
    meant = {name: member for name, member in finding.items() if name != "path_bytes"}
    meant["path"] = from_members("path", finding)
    for side in ("expected", "observed"):
        attributes = finding[side]
        meant[side] = None if attributes is None else from_json(attributes, held.algorithm)
    return meant


def value(first: dict[str, Any], held: stack.Stack) -> tuple[bytes, Entry]:
    """A first value as what it means."""
    return from_members("path", first), from_json(first, held.algorithm)
