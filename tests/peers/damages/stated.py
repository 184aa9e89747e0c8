"""Damages to the statement and the contract in it."""

from typing import Any

from .table import saying, setting, stating

PAST = "2001-01-01T00:00:00Z"
LONG = "x" * 1001


def statements() -> None:
    """The statement and the predicate."""
    setting("a statement's member twice", "json-twice", payload=lambda p: p[:-1] + b', "subject": []}')
    setting("half of a surrogate pair", "json", payload=lambda p: p.replace(b'"by": "', b'"by": "\\ud800'))
    setting("not UTF-8", "json", payload=lambda p: p.replace(b'"by": "', b'"by": "\xff'))
    setting("a statement in UTF-16", "json", payload=lambda p: p.decode().encode("utf-16"))
    setting("not a number", "json", payload=lambda p: p.replace(b'"count": ', b'"count": NaN, "x": '))
    setting(
        "a digest twice",
        "json-twice",
        payload=lambda p: p.replace(b'"digest": {', b'"digest": {"blake3": "", '),
    )
    stating("another type", "statement-type", lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"))
    stating(
        "another predicate type",
        "predicate-type",
        lambda s: s.update(predicateType="urn:congruent:manifest:v1"),
    )
    stating("no predicate", "member-missing", lambda s: s.pop("predicate"))
    stating("no subject", "subject", lambda s: s.update(subject=[]))
    stating("two subjects", "subject", lambda s: s["subject"].append(s["subject"][0]))
    stating("another subject's name", "subject", lambda s: s["subject"][0].update(name="other"))
    stating(
        "another subject's digest", "subject", lambda s: s["subject"][0].update(digest={"blake3": "0" * 64})
    )
    stating("two digests", "subject", lambda s: s["subject"][0]["digest"].update(sha1="0" * 40))
    stating("an unknown member", "member-unknown", lambda s: s.update(more=1))
    stating("an unknown member of a subject", "member-unknown", lambda s: s["subject"][0].update(uri="urn:x"))
    for where in ("entries", "contract", "baked", "origin", "lint", "packages"):
        saying(
            f"an unknown member of {where}", "member-unknown", lambda p, where=where: p[where].update(more=1)
        )
    saying("an unknown member of the predicate", "member-unknown", lambda p: p.update(more=1))
    saying("an unknown member of a place", None, lambda p: p["reserved"][0].update(more=1))
    for name in ("name", "version", "kind", "root", "entries", "contract", "reserved", "baked"):
        saying(f"no {name}", "member-missing", lambda p, name=name: p.pop(name))
    for name in ("", ".", "..", "a/b", "a\nb", "x" * 201, "\x7f", "\u00e9", "\u202e"):
        saying(f"the version {name[:9]!r}", "title", lambda p, name=name: p.update(version=name))
    for name in ("x" * 200, "a b", "...", '~!"\\'):
        saying(f"the version {name[:9]!r}", None, lambda p, name=name: p.update(version=name))
    saying("a version that is a number", "member", lambda p: p.update(version=1))
    saying("another kind", "manifest-kind", lambda p: p.update(kind="layer"))
    saying("an add-on with a contract", "add-on-contract", lambda p: p.update(kind="add-on"))
    saying("a root in capitals", "digest", lambda p: p.update(root=p["root"].replace("a", "A")))
    saying(
        "a root by another algorithm", "digest-algorithm", lambda p: p.update(root="sha256:" + p["root"][7:])
    )
    saying("another root", "subject", lambda p: p.update(root="blake3:" + "0" * 64))
    saying("a keyed root", "digest", lambda p: p.update(root="keyed-" + p["root"]))
    setting("another root, of the subject too", "root", said=other_root)
    saying(
        "another entries digest", "entries-digest", lambda p: p["entries"].update(digest="blake3:" + "0" * 64)
    )
    for name, rule in (
        ("count", "entries-count"),
        ("section_bytes", "section-length"),
        ("content_bytes", "content-bytes"),
    ):
        for by in (1, -1):
            saying(
                f"{name} {by:+}",
                rule,
                lambda p, n=name, by=by: p["entries"].update({n: p["entries"][n] + by}),
            )
    saying("a count that is negative", "member", lambda p: p["entries"].update(count=-1))
    saying("a count that is a fraction", "member", lambda p: p["entries"].update(count=1.0))
    saying(
        "a place of another",
        "reserved",
        lambda p: p["reserved"].append({"path": "/etc/congruent/x.manifest"}),
    )
    saying("any place", "reserved", lambda p: p["reserved"].append({"path": "/usr"}))
    saying("no places", None, lambda p: p["reserved"].clear())
    saying("baked at no time", "time", lambda p: p["baked"].update(at="yesterday"))
    saying("baked on a day that is none", "time", lambda p: p["baked"].update(at="2026-02-30T00:00:00Z"))
    saying("baked in year 0", None, lambda p: p["baked"].update(at="0000-02-29T00:00:00.000000001Z"))
    for time in (
        "2026-01-01T00Z",
        "2026-01-01",
        "2026-01-01T00:00:00Z[UTC]",
        "2026-01-01T00:00:00",
        "20260101T000000Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00z",
        "2026-01-01T00:00:00.50Z",
        "2026-01-01T00:00:00.0000000001Z",
        "2026-01-01T24:00:00Z",
        "-000001-01-01T00:00:00Z",
    ):
        saying(f"baked at {time}", "time", lambda p, time=time: p["baked"].update(at=time))
    saying("a long word", "member", lambda p: p["baked"].update(on=LONG))
    saying("a word that is just not too long", None, lambda p: p["baked"].update(on="\u00e9" * 1000))
    saying("a long word of origin", "member", lambda p: p["origin"].update(owner=LONG))
    digest = "sha256:" + "0" * 64
    for name, rule, image in (
        ("an image", None, {"config_digest": digest, "diff_ids": [digest] * 1000}),
        ("too many diff_ids", "member", {"config_digest": digest, "diff_ids": [digest] * 1001}),
        ("an image without diff_ids", "member-missing", {"config_digest": digest}),
        ("an image with a word for a digest", "digest", {"config_digest": "latest", "diff_ids": []}),
        ("an image with a keyed digest", "digest", {"config_digest": "keyed-" + digest, "diff_ids": []}),
    ):
        saying(name, rule, lambda p, image=image: p["origin"].update(image=image))
    finding = {"lint": "x", "path": "/a", "detail": ""}
    saying("a finding of lint", None, lambda p: p["lint"]["findings"].append(finding))
    saying(
        "an unknown member of lint's",
        "member-unknown",
        lambda p: p["lint"]["findings"].append(finding | {"more": 1}),
    )
    saying(
        "an allowance", None, lambda p: p["lint"].update(allowed=[{"lint": "x", "path": "/a", "covered": 1}])
    )
    saying("expired", "expired", lambda p: p.update(expires=PAST))
    saying("expires at no time", "time", lambda p: p.update(expires="later"))
    for name in ("lint", "packages", "origin"):
        saying(f"{name} that is null", "member", lambda p, name=name: p.update({name: None}))
    saying("an owner that is null", "member", lambda p: p["origin"].update(owner=None))
    saying("expires at null", "member", lambda p: p.update(expires=None))
    saying("expires later", None, lambda p: p.update(expires="2999-01-01T00:00:00Z"))
    saying("another package manager", "packages", lambda p: p["packages"].update(manager="pip"))


def other_root(statement: dict[str, Any]) -> None:
    """Another root, told consistently."""
    statement["predicate"]["root"] = "blake3:" + "0" * 64
    statement["subject"][0]["digest"] = {"blake3": "0" * 64}


def contracts() -> None:
    """Rules and mounts."""

    def rule(name: str, refused: str | None, **members: Any) -> None:
        made = {"path": "/srv/**", "class": "rotating"} | members
        saying(name, refused, lambda p: p["contract"]["rules"].append(made))

    rule("a rule", None, forbid=["exec", "device"], mtime=True, xattrs=["security.*"], sensitive=True)
    rule("another class", "contract-class", **{"class": "mutable"})
    rule("the class of reserved places", "contract-class", **{"class": "reserved"})
    rule("forbidden out of order", "contract-forbid", forbid=["device", "exec"])
    rule("forbidden twice", "contract-forbid", forbid=["exec", "exec"])
    rule("forbidden that is not known", "contract-forbid", forbid=["suid"])
    rule("forbidden where all is", "contract-forbid", forbid=["exec"], **{"class": "immutable"})
    rule("an unknown member of a rule", "member-unknown", more=1)
    rule("a member of TOML", "member-unknown", **{"ignore-xattrs": ["user.*"]})
    rule("attributes of no namespace", "contract-xattrs", xattrs=["*"])
    rule("attributes of overlays", "contract-xattrs", xattrs=["trusted.overlay.*"])
    rule("blind to what makes exec", "contract-xattrs", forbid=["exec"], ignore_xattrs=["security.*"])
    rule("mtime that is a text", "member", mtime="yes")
    for glob in (
        "srv",
        "",
        "/srv/",
        "/a//b",
        "/a/../b",
        "/a**",
        "/[!a]",
        "/[",
        "/{a",
        "/a}",
        "/[a/]",
        "/[\u00e4]",
        "/" + "x" * 4096,
        "/" + "{" * 9 + "}" * 9,
        "/[a-c-e]",
    ):
        rule(f"the glob {glob[:20]!r}", "glob", path=glob)
    for glob in ("/" + "x" * 4095, "/" + "{" * 8 + "a" + "}" * 8, "/a{,b}", "/[-a]", "/\\{a\\}"):
        rule(f"the glob {glob[:20]!r}", None, path=glob)

    def mount(name: str, refused: str | None, *mounts: dict[str, Any]) -> None:
        saying(name, refused, lambda p: p["contract"]["mounts"].extend(mounts))

    mount("a mount", None, {"path": "/srv", "content": "verify", "filesystem": "ext4", "flags": ["ro"]})
    mount("a mount twice", "contract-mount", *[{"path": "/srv", "content": "hide"}] * 2)
    mount("another content", "contract-mount", {"path": "/srv", "content": "show"})
    mount("a mount without content", "member-missing", {"path": "/srv"})
    mount("a mount whose source is null", "member", {"path": "/srv", "content": "hide", "source": None})
    mount("a mount at /", "contract-mount", {"path": "/", "content": "verify"})
    mount("a mount by bytes", "member-unknown", {"path": "/srv", "path_bytes": "L3Nydg==", "content": "hide"})
    mount("a mount at no path", "path", {"path": "srv", "content": "hide"})
    mount("an unknown member of a mount", "member-unknown", {"path": "/srv", "content": "hide", "more": 1})


statements()
contracts()
