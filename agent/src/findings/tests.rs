use std::os::unix::fs::FileExt;

use congruent_protocol::contract::Class;
use congruent_protocol::drift::Attributes;
use congruent_protocol::entry::Kind;
use congruent_protocol::path::TreePath;

use super::*;

/// A finding whose JSON is as long as that of any other number.
fn finding(number: usize) -> Finding {
    let path = TreePath::new(format!("/srv/{number:06}")).unwrap();
    Finding::added(&path, Class::Immutable, Attributes::of_kind(Kind::File))
}

fn numbered(count: usize) -> Vec<Finding> {
    (0..count).map(finding).collect()
}

fn kept(findings: &[Finding], memory_bytes: usize) -> Findings {
    let mut writer = FindingsWriter::with_memory(&std::env::temp_dir(), memory_bytes);
    findings.iter().for_each(|finding| writer.push(finding).unwrap());
    writer.finish().unwrap()
}

/// Checks that findings come back as they went in, again and again, and as JSON.
fn check(what: &str, given: &[Finding], memory_bytes: usize, is_spilled: bool) {
    let findings = kept(given, memory_bytes);
    assert_eq!(findings.spilled.is_some(), is_spilled, "{what}");
    assert!(findings.memory.len() <= memory_bytes, "{what}");
    assert_eq!((findings.len(), findings.is_empty()), (given.len(), given.is_empty()), "{what}");
    assert_eq!(findings.load().unwrap(), given, "{what}");
    // Two at once, neither in the way of the other.
    let (one, other) = (findings.iter().unwrap(), findings.iter().unwrap());
    assert!(one.zip(other).all(|(one, other)| one.unwrap() == other.unwrap()), "{what}");
    let mut lines = findings.lines().unwrap();
    for finding in given {
        assert_eq!(lines.next().unwrap().unwrap(), serde_json::to_vec(finding).unwrap(), "{what}");
    }
    assert!(lines.next().is_none(), "{what}");
}

#[test]
fn what_went_in_comes_out() {
    let line = serde_json::to_vec(&finding(0)).unwrap().len() + 1;
    check("nothing", &[], 0, false);
    check("as much as memory holds", &numbered(3), 3 * line, false);
    check("a byte more", &numbered(3), 3 * line - 1, true);
    check("no memory at all", &numbered(3), 0, true);
    check("far more", &numbered(20_000), 10 * line, true);
    let mut uneven = numbered(3);
    uneven[1].observed.as_mut().unwrap().link = Some("x".repeat(9 * line));
    check("the last would fit again", &uneven, 3 * line, true);
}

#[test]
fn what_cannot_be_put_aside_is_an_error_with_the_mend() {
    let mut writer = FindingsWriter::with_memory(Path::new("/no/such/place"), 0);
    let error = writer.push(&finding(0)).unwrap_err();
    let expected =
        "cannot put findings aside in /no/such/place; make room there, or name another directory: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn a_file_that_was_cut_is_no_short_list() {
    let findings = kept(&numbered(20_000), 0);
    let file = findings.spilled.as_ref().unwrap();
    for length in [0, file.metadata().unwrap().len() / 2] {
        file.set_len(length).unwrap();
        let error = findings.load().unwrap_err();
        assert!(
            error.to_string().starts_with("cannot read back the findings that were put aside"),
            "{error}"
        );
        assert!(crate::output::json(&mut Vec::new(), &crate::output::kept::Kept(&findings)).is_err());
    }
}

#[test]
fn a_file_that_was_altered_is_not_believed() {
    let findings = kept(&numbered(20_000), 0);
    let file = findings.spilled.as_ref().unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0; 1];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
    let mut lines = findings.lines().unwrap();
    assert!(iter::from_fn(|| lines.next().map(|line| line.is_err())).any(|failed| failed));
}
