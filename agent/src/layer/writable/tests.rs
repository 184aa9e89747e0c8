use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use congruent_protocol::contract::{Contract, ContractFile};
use congruent_protocol::digest::{Algorithm, DIGEST_BYTES};
use congruent_protocol::ledger::Ledger;
use congruent_protocol::recompute::recompute;

use super::super::testing::{make, manifest, mark, put, writable};
use super::super::{IdMaps, IdRange, Notes};
use super::*;
use crate::sweep::{Counters, Means};

const CONTRACT: &str = "base = 'none'\n[[rule]]\npath = '/var/**'\nclass = 'ephemeral'\nforbid = ['exec']\n";

/// What is done to a layer, what must be found, and what sort of change that is.
type Case = (&'static str, fn(&Path), Vec<&'static str>, Changes);

/// What the layer that `change` makes comes to, over the image.
fn check_layer(mounted: &[&str], change: impl Fn(&Path)) -> (Vec<String>, Changes, CheckedWritable) {
    check_with(Notes::User, &IdMaps::default(), mounted, change)
}

fn check_with(
    notes: Notes,
    ids: &IdMaps,
    mounted: &[&str],
    change: impl Fn(&Path),
) -> (Vec<String>, Changes, CheckedWritable) {
    let told = |finding: Finding| {
        let fields: Vec<_> = finding.fields.iter().map(ToString::to_string).collect();
        format!("{} {} {}", finding.change.name(), finding.path, fields.join(",")).trim_end().to_owned()
    };
    let checked = look(CONTRACT, notes, ids, mounted, change);
    let findings = checked.findings.load().unwrap().into_iter().map(told).collect();
    (findings, checked.changes, checked)
}

/// Looks at a layer, and holds what comes of it to what the collector makes of that.
pub(super) fn look(
    contract: &str,
    notes: Notes,
    ids: &IdMaps,
    mounted: &[&str],
    change: impl Fn(&Path),
) -> CheckedWritable {
    let contract = Contract::compose(vec![ContractFile::parse(contract).unwrap()]).unwrap();
    let (manifest, bytes) = manifest(&contract);
    let layer = writable();
    change(layer.path());
    let means = Means::new(Some(1), None, false);
    let counters = Counters::default();
    let looking = Looking { algorithm: Algorithm::Blake3, means: &means, counters: &counters, ids, notes };
    let root = Root::open(Some(layer.path())).unwrap();
    let entries = || manifest.entries(Cursor::new(&bytes)).unwrap();
    let content_key = ContentKey::new([7; DIGEST_BYTES]);
    let image = Image { manifest: &manifest, entries: entries(), content_key: &content_key };
    let mounted: Vec<TreePath> = mounted.iter().map(|path| TreePath::new(*path).unwrap()).collect();
    let findings = FindingsWriter::spilling_to(&std::env::temp_dir());
    let made = Made { mounted: &mounted, may_be_more: false, top_mode: Some(0o555) };
    let checked =
        check(&root, image, made, looking, &mut Memory::default(), findings, || Timestamp::UNIX_EPOCH)
            .unwrap();
    let found = checked.findings.load().unwrap();
    let baked_root = manifest.predicate().root;
    assert_eq!(
        checked.observed_root == baked_root,
        found.is_empty(),
        "the root differs exactly when something is found: {found:?}"
    );
    let ledger = Ledger::empty(baked_root);
    let recomputed = recompute(entries(), Algorithm::Blake3, &contract, &[], &ledger, &found);
    assert_eq!(recomputed.unwrap(), checked.observed_root, "the collector comes to it as well: {found:?}");
    let mut protected = Protected { entries: 0, of: 0 };
    for listed in entries() {
        let path = listed.unwrap().path;
        protected.count(&contract, &path, contract.class_of(&path));
    }
    assert_eq!(checked.protected, protected);
    assert!(
        checked.coverage.first_seen.iter().all(|first| contract.class_of(&first.path).admits_first_values())
    );
    checked
}

#[test]
fn a_layer_without_anything_is_as_the_image() {
    let (findings, changes, checked) = check_layer(&[], |_| {});
    assert_eq!((findings, changes), (vec![], Changes::default()));
    assert!(!checked.coverage.has_gaps());
}

#[test]
fn owners_that_are_not_known_are_a_gap_and_no_finding() {
    let range = vec![IdRange { inside: 0, outside: u32::MAX - 1, count: 1 }];
    let ids = IdMaps { uids: range.clone(), gids: range };
    let (findings, _, checked) = check_with(Notes::User, &ids, &[], |at| put(at, "bin/tool", "tool"));
    assert_eq!(findings, Vec::<String>::new());
    assert!(checked.coverage.unreadable.iter().any(|gap| gap.path.to_string() == "/bin/tool"));
}

#[test]
fn every_change_is_classified() {
    let metadata = Changes { metadata: 1, ..Changes::default() };
    let content = Changes { content: 1, ..Changes::default() };
    let added = Changes { added: 1, ..Changes::default() };
    let removed = Changes { removed: 1, ..Changes::default() };
    let quiet = Changes::default();
    let tool_and_link = vec!["removed /bin/link", "removed /bin/tool"];
    let cases: [Case; 14] = [
        ("new file", |at| put(at, "bin/new", ""), vec!["added /bin/new"], added),
        ("other content", |at| put(at, "bin/tool", "TOOL"), vec!["modified /bin/tool content"], content),
        ("copied up, nothing else", |at| put(at, "bin/tool", "tool"), vec![], quiet),
        (
            "chmod copies up whole",
            |at| {
                put(at, "bin/tool", "tool");
                fs::set_permissions(at.join("bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
            },
            vec!["modified /bin/tool mode"],
            metadata,
        ),
        (
            "only the metadata is in the layer",
            |at| {
                put(at, "bin/tool", "\0\0\0\0");
                mark(at, "bin/tool", "metacopy", b"");
                fs::set_permissions(at.join("bin/tool"), fs::Permissions::from_mode(0o600)).unwrap();
            },
            vec!["modified /bin/tool mode"],
            metadata,
        ),
        (
            "removed",
            |at| {
                put(at, "etc/motd", "");
                mark(at, "etc/motd", "whiteout", b"");
            },
            vec!["removed /etc/motd"],
            removed,
        ),
        (
            "a directory removed, with all beneath",
            |at| {
                put(at, "bin", "");
                mark(at, "bin", "whiteout", b"");
            },
            vec!["removed /bin", "removed /bin/link", "removed /bin/tool"],
            Changes { removed: 3, ..quiet },
        ),
        (
            "a directory made anew",
            |at| {
                make(at, "bin");
                mark(at, "bin", "opaque", b"y");
            },
            tool_and_link.clone(),
            Changes { removed: 2, replaced_directories: 1, ..quiet },
        ),
        (
            "a directory made anew with something in it",
            |at| {
                put(at, "bin/tool", "tool");
                mark(at, "bin", "opaque", b"y");
            },
            vec!["removed /bin/link"],
            Changes { removed: 1, replaced_directories: 1, ..quiet },
        ),
        (
            "a file where a directory was",
            |at| put(at, "bin", ""),
            vec!["replaced /bin", "removed /bin/link", "removed /bin/tool"],
            Changes { content: 1, removed: 2, ..quiet },
        ),
        ("what the contract allows", |at| put(at, "var/log/new", "log"), vec![], quiet),
        (
            "what the contract forbids",
            |at| {
                put(at, "var/run.sh", "");
                fs::set_permissions(at.join("var/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
            },
            vec!["added /var/run.sh"],
            added,
        ),
        (
            "where the contract allows all, all may go",
            |at| {
                make(at, "var");
                mark(at, "var", "opaque", b"y");
            },
            vec![],
            Changes { replaced_directories: 1, ..quiet },
        ),
        (
            "a directory renamed",
            |at| {
                make(at, "sbin");
                mark(at, "sbin", "redirect", b"/bin");
                put(at, "bin", "");
                mark(at, "bin", "whiteout", b"");
            },
            vec!["removed /bin", "removed /bin/link", "removed /bin/tool", "added /sbin"],
            Changes { added: 1, removed: 3, renamed: 1, ..quiet },
        ),
    ];
    for (what, change, expected, changes) in cases {
        let (findings, found, _) = check_layer(&[], change);
        assert_eq!(findings, expected, "{what}");
        assert_eq!(found, changes, "{what}");
    }
}

/// What overlay notes elsewhere is nothing that it does.
#[test]
fn a_container_cannot_call_its_changes_baked() {
    let changed = |at: &Path| {
        put(at, "bin/tool", "TOOL");
        mark(at, "bin/tool", "metacopy", b"");
    };
    assert_eq!(check_with(Notes::User, &IdMaps::default(), &[], changed).0, Vec::<String>::new());
    assert_eq!(
        check_with(Notes::Trusted, &IdMaps::default(), &[], changed).0,
        ["modified /bin/tool content,xattr:user.overlay.metacopy"]
    );
    let hidden = |at: &Path| {
        put(at, "bin/new", "");
        mark(at, "bin/new", "whiteout", b"");
    };
    assert_eq!(check_with(Notes::Trusted, &IdMaps::default(), &[], hidden).0, ["added /bin/new"]);
}

#[test]
fn stubs_are_excused_only_beneath_their_mounts() {
    let stubs = |at: &Path| {
        put(at, "etc/hosts", "");
        make(at, "run/secrets");
    };
    let mounted = ["/etc/hosts", "/run/secrets"];
    let (findings, changes, _) = check_layer(&mounted, stubs);
    assert_eq!((findings, changes.stubs), (vec![], 3));
    let (findings, ..) = check_layer(&[], stubs);
    assert_eq!(findings, ["added /etc/hosts", "added /run", "added /run/secrets"]);
    let (findings, ..) = check_layer(&mounted, |at| put(at, "etc/hosts", "not empty"));
    assert_eq!(findings, ["added /etc/hosts"]);
    let mtab = |at: &Path| {
        make(at, "etc");
        std::os::unix::fs::symlink("/proc/mounts", at.join("etc/mtab")).unwrap();
    };
    assert_eq!(check_layer(&["/proc"], mtab).0, Vec::<String>::new());
    assert_eq!(check_layer(&[], mtab).0, ["added /etc/mtab"]);
    let top = |mode| move |at: &Path| fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(check_layer(&[], top(0o555)).0, Vec::<String>::new());
    assert_eq!(check_layer(&[], top(0o777)).0, ["modified / mode"]);
    let (findings, ..) = check_layer(&mounted, |at| put(at, "run/other", ""));
    assert_eq!(findings, ["added /run/other"]);
}
