"""One random image: baked, read again, unpacked by umoci and baked again, altered."""

import random
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path as File

from second_reader import manifest, merge
from second_reader.entry import Entry
from second_reader.envelope import load_key
from second_reader.manifest import Manifest
from second_reader.paths import Path
from second_reader.refusal import Refusal

from . import archive, layout
from .altered import altered
from .maker import Maker

CONTRACTS = (
    "[[rule]]\npath = '/{a,b,\\[x\\]\\\\}/**'\nclass = 'pinned'\nmtime = true\nignore-xattrs = ['user.*']\n",
    "[[rule]]\npath = '/a/**'\nclass = 'rotating'\nxattrs = ['trusted.*']\nignore-xattrs = ['user.one']\n",
    "base = 'none'\n",
)


class Disagreement(Exception):
    """Two do not agree."""


@dataclass(frozen=True)
class Tools:
    """What a case is run with."""

    congruent: File
    secret: File
    public: File
    folder: File


class Case:
    """One image, made from the seed and the case's number alone."""

    def __init__(self, tools: Tools, seed: str, number: int) -> None:
        self.tools = tools
        self.chance = random.Random(f"{seed}/{number}")
        self.folder = tools.folder / f"case-{number}"
        self.folder.mkdir()
        self.digest = self.chance.choice(("blake3", "sha256"))
        self.contract = self.folder / "contract.toml"
        self.contract.write_text(self.chance.choice(CONTRACTS))
        self.altered = 0
        self.refused = 0
        self.marks = 0

    def run(self) -> None:
        """Makes and compares."""
        maker = Maker(self.chance)
        layers = [maker.layer() for _ in range(self.chance.randrange(1, 5))]
        archives = [archive.archive(members) for members in layers]
        reference = layout.write(self.folder / "layout", archives, packed=self.chance.random() < 0.3)
        image = self.bake(reference, "image")
        read = self.read(image)
        merge.check(read)
        self.marks += sum(listed.node.kind in "wo" for layer in read.layers for listed in layer)
        self.compare_unpacked(read)
        for data in altered(self.chance, image.read_bytes(), read, self.tools.secret):
            self.compare_altered(data)
        shutil.rmtree(self.folder)

    def congruent(self, *arguments: str | File) -> subprocess.CompletedProcess[bytes]:
        """Runs Congruent."""
        return subprocess.run([self.tools.congruent, *arguments], capture_output=True, check=False)

    def bake(self, source: str | File, name: str) -> File:
        """Bakes an image or a tree; the manifest's file."""
        output = self.folder / f"{name}.manifest"
        how = ("--no-lint", "--name", "web", "--version", "1", "--digest", self.digest)
        keys = ("--contract", self.contract, "--key", self.tools.secret)
        said = self.congruent("bake", source, *how, *keys, "--output", output)
        if said.returncode != 0:
            raise Disagreement(f"bake of the {name} failed: {said.stderr.decode(errors='backslashreplace')}")
        return output

    def read(self, file: File) -> Manifest:
        """A manifest, by the second reader."""
        return manifest.read(file, [load_key(self.tools.public)])

    def compare_unpacked(self, image: Manifest) -> None:
        """Holds the tree to what umoci makes of the layers."""
        command = ("umoci", "unpack", "--image", f"{self.folder}/layout:{layout.TAG}", self.folder / "bundle")
        unpacked = subprocess.run(command, capture_output=True, check=False)
        if unpacked.returncode != 0:
            raise Disagreement(f"umoci: {unpacked.stderr.decode(errors='backslashreplace')}")
        tree = self.read(self.bake(self.folder / "bundle/rootfs", "tree"))
        ours, theirs = told(image), told(tree)
        if ours != theirs or tree.statement.root != image.statement.root:
            only = f"\n  by layers: {sorted(ours - theirs)}\n  by umoci: {sorted(theirs - ours)}"
            raise Disagreement(f"the trees differ{only}")

    def compare_altered(self, data: bytes) -> None:
        """Holds each reader's decision on an altered manifest to the other's."""
        file = self.folder / "altered.manifest"
        file.write_bytes(data)
        said = self.congruent("show", "--trust", self.tools.public, file)
        try:
            self.read(file)
            refused = None
        except Refusal as refusal:
            refused = str(refusal)
        if (said.returncode != 0) != (refused is not None):
            theirs = f"{said.returncode} {said.stderr.decode(errors='backslashreplace')}"
            raise Disagreement(f"altered: second reader {refused}, congruent {theirs}")
        self.altered += 1
        self.refused += refused is not None


def told(read: Manifest) -> set[tuple[Path, Entry]]:
    """Every entry. Times of directories are no part of a root, and umoci's own where none was told."""
    return {
        (record.path, replace(record.entry, mtime=(0, 0)) if record.entry.kind == "d" else record.entry)
        for record in read.records
    }
