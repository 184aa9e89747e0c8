//! A verification as one JSON document a line, for who reads as it comes.
//!
//! The first line has the verdict and how many findings and gaps follow, so that
//! each can be dealt with where it stands; the last line says that nothing was cut
//! off. Every line has `type` and `schema_version`; all else is named as in
//! `--format json`.

use std::io::{self, BufWriter, Write};

use congruent_protocol::verification::{Gap, Verification};
use serde::Serialize;
use serde_json::{Map, Value};

use super::gaps;
use crate::findings::Findings;

/// One line: what it is, and what it says.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(rename = "type")]
    what: &'static str,
    schema_version: u32,
    #[serde(flatten)]
    says: &'a T,
}

/// What the first line says: the verification, but for what has lines of its own.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(flatten)]
    counts: &'a Counts,
    #[serde(flatten)]
    verification: Map<String, Value>,
}

/// How many lines of each sort stand between the first and the last.
#[derive(Serialize)]
struct Counts {
    finding_count: usize,
    gap_count: usize,
}

#[derive(Serialize)]
struct GapLine<'a> {
    gap: &'static str,
    #[serde(flatten)]
    place: &'a Gap,
}

/// Prints the verdict, each finding, each gap and the end.
pub(crate) fn verification(out: &mut impl Write, verification: Verification<Findings>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let (verification, findings) = verification.replace_findings(());
    let version = verification.schema_version;
    let counts = Counts { finding_count: findings.len(), gap_count: gaps(&verification.coverage).count() };
    line(
        &mut out,
        version,
        "verification",
        &Head { counts: &counts, verification: without_lists(&verification)? },
    )?;
    for finding in findings.iter()? {
        line(&mut out, version, "finding", &finding?)?;
    }
    for (cause, place) in gaps(&verification.coverage) {
        line(&mut out, version, "gap", &GapLine { gap: cause.name(), place: &place })?;
    }
    line(&mut out, version, "end", &counts)?;
    out.flush()
}

fn line(out: &mut impl Write, version: u32, what: &'static str, says: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line { what, schema_version: version, says })?;
    out.write_all(b"\n")
}

/// The members of the JSON document, but for those that every line has or that
/// have lines of their own.
fn without_lists(verification: &Verification<()>) -> io::Result<Map<String, Value>> {
    let Value::Object(mut members) = serde_json::to_value(verification)? else { return Ok(Map::new()) };
    members.retain(|name, _| name != "findings" && name != "schema_version");
    if let Some(Value::Object(coverage)) = members.get_mut("coverage") {
        coverage.retain(|name, _| name != "unreadable" && name != "unstable");
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{congruent, divergent, incomplete, kept, unchecked};
    use super::*;

    /// Checks the lines, each cut to the named members.
    fn check(given: Verification, expected: &[Value]) {
        let mut out = Vec::new();
        verification(&mut out, kept(given)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Map<String, Value>> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), expected.len(), "{text}");
        for (line, expected) in lines.iter().zip(expected) {
            assert_eq!(line["schema_version"], 1, "{line:?}");
            for (name, value) in expected.as_object().unwrap() {
                assert_eq!(line.get(name), Some(value), "{name} of {line:?}");
            }
        }
        let head = &lines[0];
        assert!(!head.contains_key("findings") && head["coverage"].get("unreadable").is_none(), "{head:?}");
        assert!(head["coverage"]["mounts"].is_array(), "{head:?}");
    }

    #[test]
    fn a_line_each() {
        let head = |state, findings, gaps| json!({ "type": "verification", "state": state, "finding_count": findings, "gap_count": gaps });
        let end = |findings, gaps| json!({ "type": "end", "finding_count": findings, "gap_count": gaps });
        check(congruent(), &[head("congruent", 0, 0), end(0, 0)]);
        let unreadable = json!({
            "type": "gap", "gap": "unreadable", "path": "/etc/shadow", "reason": "Permission denied"
        });
        let unstable = json!({ "type": "gap", "gap": "unstable", "path": "/var/log/a\\x0ab" });
        check(incomplete(), &[head("incomplete", 0, 2), unreadable, unstable, end(0, 2)]);
        let weak =
            json!({ "type": "gap", "gap": "unchecked", "path": "/", "reason": "md5 (2 times): it is weak" });
        check(unchecked(), &[head("incomplete", 0, 1), weak, end(0, 1)]);
        check(
            divergent(),
            &[
                head("divergent", 3, 0),
                json!({ "type": "finding", "change": "modified", "path": "/etc/passwd" }),
                json!({ "type": "finding", "change": "removed", "path": "/etc/web.conf" }),
                json!({
                    "type": "finding", "change": "added", "path": "/srv/a\\x0a\\xff](x", "expected": null,
                    "path_bytes": "L3Nydi9hCv9dKHg="
                }),
                end(3, 0),
            ],
        );
    }
}
