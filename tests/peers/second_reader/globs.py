"""Globs over whole paths, made into regular expressions over bytes."""

import re

from .refusal import Refusal, require

LONGEST_GLOB = 4_096
DEEPEST_BRACES = 8


def compile_glob(glob: str) -> re.Pattern[bytes]:
    """What matches the paths that the glob matches."""
    if glob == "/":
        return re.compile(rb"/")
    require(len(glob.encode()) <= LONGEST_GLOB, "glob", f"{glob[:40]!r} is too long")
    require(nesting(glob) <= DEEPEST_BRACES, "glob", f"{glob!r} has braces that are too deep")
    require(glob.startswith("/"), "glob", f"{glob!r} does not begin with /")
    for component in glob.split("/")[1:]:
        require(component not in ("", ".", ".."), "glob", f"{glob!r} has a component that no path has")
        alone = component == "**" or "**" not in component
        require(alone, "glob", f"in {glob!r}, ** is not a whole component")
    # Only the glob `/` matches the root, whatever else could match nothing.
    return re.compile(b"(?=/.)" + Translator(glob).translate(), re.DOTALL)


def nesting(glob: str) -> int:
    """How deep braces stand in braces, where every one counts."""
    depth = deepest = 0
    for character in glob:
        depth = max(0, depth + (character == "{") - (character == "}"))
        deepest = max(deepest, depth)
    return deepest


class Translator:
    """Translates a glob from left to right."""

    def __init__(self, glob: str) -> None:
        self.glob = glob
        self.rest = glob
        self.depth = 0

    def translate(self) -> bytes:
        """The regular expression for the whole."""
        pattern = b""
        while self.rest:
            pattern += self.token()
        require(self.depth == 0, "glob", f"in {self.glob!r}, a brace is not closed")
        return pattern

    def token(self) -> bytes:
        """The regular expression for what stands next."""
        if self.skip("/**"):
            return rb"(?:/[^/]+)*" if self.rest else rb"(?:/[^/]+)+"
        character = self.next()
        if character == "*":
            return rb"[^/]*"
        if character == "?":
            return rb"[^/]"
        if character == "[":
            return self.bracket()
        if character == "{":
            self.depth += 1
            return rb"(?:"
        if character == "}":
            self.depth -= 1
            require(self.depth >= 0, "glob", f"in {self.glob!r}, no brace is open")
            return rb")"
        if character == "," and self.depth:
            return rb"|"
        return re.escape((self.next() if character == "\\" else character).encode())

    def skip(self, prefix: str) -> bool:
        """Whether this stands next; it is then behind us."""
        found = self.rest.startswith(prefix)
        self.rest = self.rest.removeprefix(prefix)
        return found

    def next(self) -> str:
        """The next character."""
        require(self.rest != "", "glob", f"{self.glob!r} ends too soon")
        character, self.rest = self.rest[0], self.rest[1:]
        return character

    def bracket(self) -> bytes:
        """A set of characters and ranges of ASCII; `-` is itself at either end."""
        inside, closing, self.rest = self.rest.partition("]")
        plain = inside.isascii() and inside != "" and inside[0] not in "!^"
        if not closing or not plain:
            raise Refusal("glob", f"{self.glob!r} has brackets that are not of its form")
        parts = re.findall(r"(.)-(.)|(.)", inside, re.DOTALL)
        members = set[str]()
        for index, (low, high, single) in enumerate(parts):
            at_an_end = index in (0, len(parts) - 1)
            require(single != "-" or at_an_end, "glob", f"{self.glob!r} has a range upon a range")
            require(low <= high and "-" not in low + high, "glob", f"{self.glob!r} has a range that is none")
            members.update(single or map(chr, range(ord(low), ord(high) + 1)))
        require("/" not in members, "glob", f"{self.glob!r} has brackets that match /")
        return b"[" + b"".join(b"\\x%02x" % ord(member) for member in sorted(members)) + b"]"
