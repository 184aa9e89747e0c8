use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::Algorithm;

use super::super::testing::{make, manifest, mark, put, unpacked};
use super::super::{IdMaps, IdRange, Notes};
use super::*;
use crate::sweep::{Counters, Means};

/// What is done to a layer, and what must be found.
type Case = (fn(&Path), &'static [&'static str]);

fn check_layer(is_lowest: bool, change: impl Fn(&Path)) -> Vec<String> {
    check_mapped(&IdMaps::default(), is_lowest, change).0
}

fn check_mapped(ids: &IdMaps, is_lowest: bool, change: impl Fn(&Path)) -> (Vec<String>, Coverage) {
    let (manifest, bytes) = manifest(&Contract::linux());
    let directory = unpacked();
    change(directory.path());
    let means = Means::new(Some(1), None, false);
    let counters = Counters::default();
    let looking =
        Looking { algorithm: Algorithm::Blake3, means: &means, counters: &counters, ids, notes: Notes::User };
    let root = Root::open(Some(directory.path())).unwrap();
    let layer = &manifest.predicate().layers[0];
    let look = || {
        let entries = manifest.layer(0, Cursor::new(&bytes)).unwrap();
        let expected = Expected { entries, count: layer.entries.count, is_lowest, top_mode: None };
        look_at(&root, expected, looking)
    };
    let first = look();
    let checked = look();
    assert_eq!(first.observed_root, checked.observed_root, "each look sees all of the directory");
    let told = |finding: Finding| {
        let fields: Vec<_> = finding.fields.iter().map(ToString::to_string).collect();
        let kind = finding.observed.map_or("nothing", |observed| observed.kind.name());
        format!("{} {} {} {kind}", finding.change.name(), finding.path, fields.join(","))
    };
    let findings: Vec<String> = checked.findings.load().unwrap().into_iter().map(told).collect();
    assert_eq!(checked.observed_root == layer.root, findings.is_empty(), "{findings:?}");
    (findings, checked.coverage)
}

fn look_at<I>(root: &Root, expected: Expected<I>, looking: Looking<'_>) -> CheckedLayer
where
    I: Iterator<Item = Result<LayerEntry, EntriesError>> + Send,
{
    let findings = FindingsWriter::spilling_to(&std::env::temp_dir());
    let (contract, mut memory) = (Contract::empty(), Memory::default());
    check(root, expected, &contract, looking, &mut memory, findings, || Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn an_archive_that_lists_nothing_has_a_directory_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (means, counters, ids) = (Means::new(Some(1), None, false), Counters::default(), IdMaps::default());
    let algorithm = Algorithm::Blake3;
    let looking = Looking { algorithm, means: &means, counters: &counters, ids: &ids, notes: Notes::User };
    let root = Root::open(Some(directory.path())).unwrap();
    let look = || {
        let expected = Expected { entries: std::iter::empty(), count: 0, is_lowest: false, top_mode: None };
        look_at(&root, expected, looking)
    };
    let checked = look();
    assert!(checked.findings.is_empty());
    assert_eq!(checked.observed_root, LayerHasher::new(algorithm).finish());
    put(directory.path(), "more", "");
    assert_eq!(look().findings.len(), 1);
}

#[test]
fn owners_that_are_not_known_are_a_gap_and_no_finding() {
    let range = vec![IdRange { inside: 0, outside: u32::MAX - 1, count: 1 }];
    let ids = IdMaps { uids: range.clone(), gids: range };
    let (findings, coverage) = check_mapped(&ids, true, |_| {});
    assert_eq!(findings, Vec::<String>::new());
    let told: Vec<_> = coverage.unreadable.iter().map(|gap| gap.path.to_string()).collect();
    assert!(told.contains(&"/bin/tool".to_owned()) && told.contains(&"/".to_owned()), "{told:?}");
    let executable =
        |at: &Path| fs::set_permissions(at.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(check_mapped(&ids, true, executable).0, ["modified /bin/tool mode file"]);
}

#[test]
fn a_layer_as_it_was_unpacked_has_its_root() {
    assert_eq!(check_layer(true, |_| {}), Vec::<String>::new());
}

#[test]
fn all_damage_is_found_both_ways() {
    let cases: [Case; 9] = [
        (|at| put(at, "bin/tool", "TOOL"), &["modified /bin/tool content file"]),
        (|at| put(at, "bin/extra", ""), &["added /bin/extra  file"]),
        (|at| fs::remove_file(at.join("var/x")).unwrap(), &["removed /var/x  nothing"]),
        (
            |at| fs::set_permissions(at.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap(),
            &["modified /bin/tool mode file"],
        ),
        (
            |at| {
                fs::remove_file(at.join("bin/link")).unwrap();
                symlink("elsewhere", at.join("bin/link")).unwrap();
            },
            &["modified /bin/link link symlink"],
        ),
        (
            |at| {
                fs::remove_file(at.join("etc/motd")).unwrap();
                make(at, "etc/motd");
            },
            &["replaced /etc/motd  directory"],
        ),
        // Each would change what containers see.
        (|at| mark(at, "etc", "opaque", b"y"), &["added /etc/.wh..wh..opq  opaque"]),
        (
            |at| {
                put(at, "bin/tool", "");
                mark(at, "bin/tool", "whiteout", b"");
            },
            &["replaced /bin/tool  whiteout"],
        ),
        (
            |at| mark(at, "etc", "redirect", b"/bin"),
            &["modified /etc xattr:trusted.overlay.redirect directory"],
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(check_layer(true, change), expected);
    }
    assert_eq!(check_layer(true, |at| mark(at, "etc", "origin", b"\0\xfb")), Vec::<String>::new());
}
