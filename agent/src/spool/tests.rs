use std::os::unix::fs::symlink;

use congruent_protocol::contract::Class;
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::path::TreePath;
use congruent_protocol::report::{
    ContainerIdentity, ContainerReport, ContainersSeen, Facts, REPORT_SCHEMA, Sealed,
};
use congruent_protocol::seal::SealKey;
use congruent_protocol::verification::Verification;
use jiff::Timestamp;

use super::*;
use crate::output::testing::divergent;

const FIRST_SEAL: [u8; SEAL_KEY_BYTES] = [5; SEAL_KEY_BYTES];

fn signer(enrolment: &str, first_seal: Option<[u8; SEAL_KEY_BYTES]>) -> Signer {
    Signer { enrolment: enrolment.to_owned(), key: SecretKey::from_seed([1; 32]), first_seal }
}

fn open_within(state: &Path, max_bytes: u64) -> Result<Spool, SpoolError> {
    Spool::open(state, signer("enr_1", Some(FIRST_SEAL)), max_bytes)
}

fn open(state: &Path) -> Result<Spool, SpoolError> {
    open_within(state, 1 << 30)
}

fn report(outcome: Outcome) -> Report {
    Report {
        schema_version: REPORT_SCHEMA,
        node: "n".to_owned(),
        boot: "b".to_owned(),
        chain: String::new(),
        sequence: 0,
        previous: None,
        lost: 0,
        first_values: 0,
        agent_version: "0".to_owned(),
        reported_at: Timestamp::UNIX_EPOCH,
        outcome,
        container: None,
        containers: None,
        facts: Facts::default(),
    }
}

fn nothing() -> Report {
    report(Outcome::NoManifest("none".to_owned()))
}

/// A look at a container.
fn of_container(id: &str, report: Report) -> Report {
    let identity = ContainerIdentity {
        id: id.to_owned(),
        name: None,
        runtime: "docker".to_owned(),
        image: None,
        config_digest: None,
    };
    Report { container: Some(Box::new(ContainerReport::naming(identity))), ..report }
}

/// How many bytes the files in the spool's folders take.
fn bytes_on_disk(state: &Path) -> u64 {
    ["spool", "sets"].map(|folder| durable::bytes_in(&state.join(folder)).unwrap()).iter().sum()
}

/// A look that found so many files too many.
fn found(count: usize) -> Report {
    let entry = Entry { node: Node::File { size: 0, content: None }, ..Entry::empty() };
    let added = |at: usize| {
        let path = TreePath::new(format!("/{at:06}")).unwrap();
        Finding::added(&path, Class::Immutable, Attributes::from(&entry))
    };
    let findings = (0..count).map(added).collect();
    let (verification, _) = divergent().replace_findings(findings);
    report(Outcome::Verified(Box::new(verification)))
}

fn told(spool: &Spool, spooled: &Spooled) -> Report<SetChange> {
    let parcel = spool.read(spooled).unwrap();
    serde_json::from_slice(Sealed::parse(&parcel.bytes).unwrap().payload()).unwrap()
}

fn change(report: Report<SetChange>) -> SetChange {
    match report.outcome {
        Outcome::Verified(verification) => {
            let Verification { findings, .. } = *verification;
            findings
        }
        other => panic!("{other:?}"),
    }
}

fn acknowledge(spool: &mut Spool, spooled: &Spooled) {
    let parcel = spool.read(spooled).unwrap();
    spool.acknowledge(spooled, &parcel).unwrap();
}

#[test]
fn numbers_chain_and_seals_survive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(state.path()).unwrap();
    let first = spool.push(nothing()).unwrap();
    let parcel = spool.read(&first).unwrap();
    Sealed::parse(&parcel.bytes).unwrap().check_seal(&SealKey::new(1, FIRST_SEAL)).unwrap();
    drop(spool);
    // The first seal's key is gone from the node by then.
    let mut spool = Spool::open(state.path(), signer("enr_1", None), 1 << 30).unwrap();
    spool.acknowledge(&first, &parcel).unwrap();
    let second = spool.push(nothing()).unwrap();
    let report = told(&spool, &second);
    assert_eq!(
        (report.sequence, report.previous, report.chain),
        (2, Some(parcel.digest), "enr_1".to_owned())
    );
    let mut key = SealKey::new(1, FIRST_SEAL);
    key.advance();
    let bytes = spool.read(&second).unwrap().bytes;
    Sealed::parse(&bytes).unwrap().check_seal(&key).unwrap();
    assert_eq!(spool.pending().unwrap(), [second]);
    let kept = fs::read_to_string(state.path().join("chain.json")).unwrap();
    let old = data_encoding::BASE64.encode(&FIRST_SEAL);
    assert!(!kept.contains(&old), "what sealed before is forgotten");
}

#[test]
fn a_crash_before_the_chain_is_noted_reuses_no_number() {
    let state = tempfile::tempdir().unwrap();
    let chain_file = state.path().join("chain.json");
    let mut spool = open(state.path()).unwrap();
    let before = fs::read(&chain_file).unwrap();
    spool.push(nothing()).unwrap();
    drop(spool);
    fs::write(&chain_file, before).unwrap();
    fs::write(state.path().join("spool/x.partial"), "half").unwrap();
    // Found again, delivered and forgotten, and then killed once more.
    let mut spool = open(state.path()).unwrap();
    let found = spool.pending().unwrap().remove(0);
    acknowledge(&mut spool, &found);
    drop(spool);
    let mut spool = open(state.path()).unwrap();
    let second = spool.push(nothing()).unwrap();
    assert_eq!(told(&spool, &second).sequence, 2);
    assert!(!state.path().join("spool/x.partial").exists());
}

#[test]
fn another_enrolment_begins_another_chain() {
    let state = tempfile::tempdir().unwrap();
    open(state.path()).unwrap().push(nothing()).unwrap();
    let error = Spool::open(state.path(), signer("enr_2", None), 1 << 30).err().unwrap().to_string();
    assert!(error.contains("enrol it with a new token"), "{error}");
    let mut spool = Spool::open(state.path(), signer("enr_2", Some(FIRST_SEAL)), 1 << 30).unwrap();
    let first = spool.push(nothing()).unwrap();
    let report = told(&spool, &first);
    assert_eq!((report.sequence, report.chain, report.lost), (1, "enr_2".to_owned(), 1));
    assert_eq!(spool.pending().unwrap(), [first], "nobody takes what waited under the other one");
}

#[test]
fn only_what_changed_since_the_last_answer_is_told() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(state.path()).unwrap();
    let first = spool.push(found(30)).unwrap();
    let whole = change(told(&spool, &first));
    assert_eq!((whole.base, whole.added.len()), (None, 30));
    // Not answered yet, so the next one is told whole as well.
    let second = spool.push(found(31)).unwrap();
    assert_eq!(change(told(&spool, &second)).added.len(), 31);
    acknowledge(&mut spool, &first);
    drop(spool);
    let mut spool = open(state.path()).unwrap();
    let third = spool.push(found(31)).unwrap();
    let delta = change(told(&spool, &third));
    assert_eq!((delta.base, delta.added.len(), delta.count), (Some(whole.digest), 1, 31));
    let parcel = spool.read(&third).unwrap();
    let (name, json) = spool.whole_set(&parcel).unwrap();
    assert_eq!((name, serde_json::from_slice::<Vec<Finding>>(&json).unwrap().len()), (delta.digest, 31));
    acknowledge(&mut spool, &second);
    acknowledge(&mut spool, &third);
    assert_eq!(fs::read_dir(state.path().join("sets")).unwrap().count(), 1, "older sets are forgotten");
}

/// The reports of a node and of its containers are one chain.
#[test]
fn each_subject_is_told_by_its_own_difference() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(state.path()).unwrap();
    let subjects = || [of_container("a", found(30)), of_container("b", found(50)), found(40)];
    for report in subjects() {
        let spooled = spool.push(report).unwrap();
        assert_eq!(change(told(&spool, &spooled)).base, None);
        acknowledge(&mut spool, &spooled);
    }
    for (report, count) in subjects().into_iter().zip([30, 50, 40]) {
        let spooled = spool.push(report).unwrap();
        let change = change(told(&spool, &spooled));
        assert_eq!((change.base, change.added.len(), change.count), (Some(change.digest), 0, count));
    }
    // What runs no more is forgotten, once that is known.
    let list = |running: &[&str], gaps: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Report {
            containers: Some(ContainersSeen { running: owned(running), gaps: owned(gaps) }),
            ..nothing()
        }
    };
    spool.push(list(&["b"], &["there may be more"])).unwrap();
    assert_eq!(spool.acknowledged.len(), 2);
    spool.push(list(&["b"], &[])).unwrap();
    assert_eq!(spool.acknowledged.keys().collect::<Vec<_>>(), ["b"]);
    for spooled in spool.pending().unwrap() {
        acknowledge(&mut spool, &spooled);
    }
    drop(spool);
    let mut spool = open(state.path()).unwrap();
    let spooled = spool.push(of_container("b", found(50))).unwrap();
    assert_eq!(change(told(&spool, &spooled)).base, None, "whole, after a restart");
    let spooled = spool.push(found(40)).unwrap();
    assert!(change(told(&spool, &spooled)).base.is_some());
}

/// Sets are looked through now and then, and none is kept in the end.
#[test]
fn of_many_reports_no_set_is_left() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(state.path()).unwrap();
    for at in 1..=40 {
        spool.push(of_container("a", found(at))).unwrap();
        assert_eq!(spool.bytes(), bytes_on_disk(state.path()));
    }
    for spooled in spool.pending().unwrap() {
        acknowledge(&mut spool, &spooled);
        assert_eq!(spool.bytes(), bytes_on_disk(state.path()));
    }
    assert_eq!(fs::read_dir(state.path().join("sets")).unwrap().count(), 1);
}

#[test]
fn large_sets_go_ahead_in_the_pages_that_the_report_names() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(state.path()).unwrap();
    let spooled = spool.push(found(20_000)).unwrap();
    let parcel = spool.read(&spooled).unwrap();
    let pages: Vec<_> = spool.pages(&parcel).into_iter().map(|page| page.id).collect();
    assert!(pages.len() > 1);
    assert_eq!(change(told(&spool, &spooled)).pages, pages);
}

#[test]
fn the_newest_state_wins_where_there_is_no_room() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open_within(state.path(), 5000).unwrap();
    for _ in 0..30 {
        spool.push(nothing()).unwrap();
    }
    let pending = spool.pending().unwrap();
    assert!(spool.bytes() <= 5000 && spool.bytes() == bytes_on_disk(state.path()));
    assert_eq!(pending.last().unwrap().sequence, 30);
    let (_, _, lost) = spool.position();
    assert_eq!(lost, 30 - pending.len() as u64);
    let last = spool.push(found(20_000)).unwrap();
    assert_eq!(spool.pending().unwrap(), [last], "one that is too large alone is kept alone");
    let next = spool.push(nothing()).unwrap();
    assert_eq!(told(&spool, &next).lost, 30, "the next one tells how many");
}

#[test]
fn what_is_damaged_is_set_aside_and_counted() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(state.path()).unwrap();
    let spooled: Vec<_> = (0..5).map(|_| spool.push(nothing()).unwrap()).collect();
    let damage: [&dyn Fn(&Path); 4] = [
        &|path| fs::write(path, "x").unwrap(),
        &|path| {
            let mut bytes = fs::read(path).unwrap();
            let at = bytes.len() - 5;
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        },
        &|path| {
            fs::remove_file(path).unwrap();
            symlink("/etc/passwd", path).unwrap();
        },
        &|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for (damage, spooled) in damage.into_iter().zip(&spooled) {
        damage(&spooled.path);
        let error = spool.read(spooled).unwrap_err();
        assert!(matches!(error, SpoolError::DamagedReport { .. }), "{error}");
        assert!(spool.quarantine(spooled).unwrap().symlink_metadata().is_ok());
    }
    assert_eq!(spool.pending().unwrap(), [spooled[4].clone()]);
    assert_eq!(spool.position().2, 4);
}

#[test]
fn what_is_kept_aside_is_bounded() {
    let state = tempfile::tempdir().unwrap();
    let mut spool = open(state.path()).unwrap();
    for _ in 0..KEPT_ASIDE + 3 {
        let spooled = spool.push(nothing()).unwrap();
        spool.set_aside(&spooled).unwrap();
    }
    let mut kept: Vec<_> =
        fs::read_dir(state.path().join("refused")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!((kept.len(), kept[0].to_str().unwrap()), (KEPT_ASIDE, "00000000000000000004.report"));
    assert!(spool.pending().unwrap().is_empty());
}

#[test]
fn two_at_once_and_damage_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let spool = open(state.path()).unwrap();
    assert!(matches!(open(state.path()), Err(SpoolError::Busy(_))));
    drop(spool);
    for damage in ["{", "null", ""] {
        fs::write(state.path().join("chain.json"), damage).unwrap();
        assert!(matches!(open(state.path()), Err(SpoolError::Damaged { .. })), "{damage:?}");
    }
}
