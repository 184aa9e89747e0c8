//! Verifications for the tests of renderers and of what reads verifications.
//!
//! Read from the JSON that `verify` prints, so that members which are optional
//! there need no mention here.

use congruent_protocol::drift::Finding;
use congruent_protocol::verification::{State, Unchecked, Verification};
use serde_json::{Value, json};

use crate::findings::{Findings, FindingsWriter};

const DIGEST: &str = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

/// Nothing found, all of it seen.
pub(super) fn congruent() -> Verification {
    verification(State::Congruent, &json!([]), &json!([]), &json!([]))
}

/// Nothing found, two paths not verified.
pub(super) fn incomplete() -> Verification {
    verification(
        State::Incomplete,
        &json!([]),
        &json!([{ "path": "/etc/shadow", "reason": "Permission denied" }]),
        &json!([{ "path": "/var/log/a\\x0ab", "path_bytes": "L3Zhci9sb2cvYQpi", "reason": "it changed" }]),
    )
}

/// Nothing found, but a spec said two things that were not checked; something else
/// proves the second.
pub(super) fn unchecked() -> Verification {
    let mut given = verification(State::Incomplete, &json!([]), &json!([]), &json!([]));
    given.coverage.unchecked = [("md5", true), ("tags", false)]
        .map(|(what, gap)| Unchecked {
            what: what.to_owned(),
            reason: "it is weak".to_owned(),
            entries: 2,
            gap,
        })
        .to_vec();
    given
}

/// Three findings, one of them under a name that means mischief.
pub(crate) fn divergent() -> Verification {
    let file = |size: u64, mode: &str| {
        json!({
            "kind": "file", "mode": mode, "uid": 0, "gid": 0, "size": size, "content": DIGEST,
            "modified_at": "2026-01-02T03:04:05Z"
        })
    };
    let findings = json!([
        {
            "path": "/etc/passwd", "change": "modified", "fields": ["size", "mode"], "class": "immutable",
            "expected": file(30, "0644"), "observed": file(21, "0666")
        },
        {
            "path": "/etc/web.conf", "change": "removed", "fields": [], "class": "immutable",
            "expected": file(10, "0644"), "observed": null
        },
        {
            "path": "/srv/a\\x0a\\xff](x", "path_bytes": "L3Nydi9hCv9dKHg=", "change": "added", "fields": [],
            "class": "immutable", "expected": null,
            "observed": { "kind": "symlink", "mode": "0777", "uid": 0, "gid": 0, "link": "<&\">" }
        },
    ]);
    verification(State::Divergent, &findings, &json!([]), &json!([]))
}

/// The same, as a sweep hands it over.
pub(crate) fn kept(verification: Verification) -> Verification<Findings> {
    let mut findings = FindingsWriter::spilling_to(&std::env::temp_dir());
    verification.findings.iter().for_each(|finding| findings.push(finding).unwrap());
    verification.replace_findings(findings.finish().unwrap()).0
}

/// What a look came to that found this.
pub(crate) fn with_findings(findings: Vec<Finding>) -> Verification {
    Verification { state: State::of(!findings.is_empty(), &congruent().coverage), findings, ..congruent() }
}

fn verification(state: State, findings: &Value, unreadable: &Value, unstable: &Value) -> Verification {
    serde_json::from_value(json!({
        "schema_version": 1,
        "manifest": { "name": "web", "version": "1.4.2", "root": DIGEST, "signed_by": ["SHA256:key"] },
        "baked_root": DIGEST,
        "protected": { "entries": 9, "of": 12 },
        "state": state,
        "observed_root": DIGEST,
        "conditional": state == State::Incomplete,
        "findings": findings,
        "coverage": {
            "mode": "full", "entries_expected": 12, "entries_seen": 12, "bytes_hashed": 4096,
            "unreadable": unreadable, "unstable": unstable, "hidden": [], "reserved": [], "mounts": [],
            "started_at": "2026-11-25T14:00:00Z", "finished_at": "2026-11-25T14:00:01.5Z"
        }
    }))
    .unwrap()
}
