use std::fs;
use std::os::unix::fs::PermissionsExt;

use congruent_protocol::path::TreePath;

use super::*;
use crate::sweep::stamp::Stamp;

/// Sweeps hold a root to a stack; here it is only a name for both.
fn binding(stack: &[u8]) -> Binding {
    Binding {
        stack: Algorithm::Blake3.digest(stack),
        entries: vec![Algorithm::Blake3.digest(b"entries")],
        contract: Algorithm::Blake3.digest(b"contract"),
        root: (8, 1, 2),
        boot: "boot".to_owned(),
        agent_version: "1".to_owned(),
    }
}

fn cache(folder: &Path, binding: Binding, clock_ahead_seconds: i64) -> Cache {
    let lock = File::create(folder.join("lock")).unwrap();
    Cache { path: folder.join("cache"), binding, clock_ahead_seconds, lock }
}

fn now() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn path(number: u64) -> TreePath {
    TreePath::new(format!("/srv/{number:04}")).unwrap()
}

fn noted(number: u64) -> Noted {
    Noted::as_expected(Stamp { device: (8, 1), inode: number, ctime: (1, 2), size: number })
}

/// A full sweep that sees these, and is ended or interrupted.
fn sweep(cache: &Cache, numbers: std::ops::Range<u64>, is_ended: bool) {
    let mut memory = cache.for_full(false, now()).unwrap();
    let recorder = memory.recorder.as_mut().unwrap();
    numbers.for_each(|number| recorder.note(&path(number), &noted(number)));
    if is_ended {
        memory.keep().unwrap();
    }
}

/// Which of these are recalled.
fn recalled(memory: &mut Memory, numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.filter(|&number| memory.recalled.take(&path(number)) == Some(noted(number))).collect()
}

#[test]
fn what_was_noted_is_recalled_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), binding(b"a"), 0);
    assert!(matches!(cache.for_quick(), Err(Unusable::Missing)));
    sweep(&cache, 0..3000, true);
    let mut memory = cache.for_quick().unwrap();
    assert_eq!(memory.resumed_from(), None);
    assert_eq!(recalled(&mut memory, 0..4000), (0..3000).collect::<Vec<_>>());
    // Asking past some of them loses none of the others.
    let mut memory = cache.for_quick().unwrap();
    assert_eq!(recalled(&mut memory, 2998..4000), [2998, 2999]);
    assert!(recalled(&mut memory, 0..4000).is_empty());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "cache and lock, and no part: {names:?}");
    assert_eq!(fs::metadata(folder.path().join("cache")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_cache_is_good_for_what_it_is_of() {
    let folder = tempfile::tempdir().unwrap();
    sweep(&cache(folder.path(), binding(b"a"), 0), 0..9, true);
    let check = |what: &str, binding: Binding, clock_ahead: i64, expected: Option<&str>| {
        let found = cache(folder.path(), binding, clock_ahead).for_quick().err();
        assert_eq!(found.map(|unusable| unusable.to_string()).as_deref(), expected, "{what}");
    };
    let other = Some("it is of another root, or of another stack");
    check("the same", binding(b"a"), 0, None);
    check("a clock that drifts", binding(b"a"), 2, None);
    check("a clock that was set back", binding(b"a"), -3600, Some("the clock was set since it was left"));
    check("another stack", binding(b"b"), 0, other);
    check("another root", Binding { root: (8, 1, 3), ..binding(b"a") }, 0, other);
    let contract = Algorithm::Blake3.digest(b"");
    check("another contract", Binding { contract, ..binding(b"a") }, 0, other);
    let entries = vec![Algorithm::Blake3.digest(b"")];
    check("other entries", Binding { entries, ..binding(b"a") }, 0, other);
    let boot = "other".to_owned();
    check("another boot", Binding { boot, ..binding(b"a") }, 0, Some("it is of an earlier boot"));
    let agent_version = "2".to_owned();
    let expected = Some("another version of the agent left it");
    check("another version", Binding { agent_version, ..binding(b"a") }, 0, expected);
}

#[test]
fn a_damaged_cache_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), binding(b"a"), 0);
    sweep(&cache, 0..2000, true);
    let file = folder.path().join("cache");
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(997).chain([0, 20, whole.len() - 1]) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        for bytes in [&damaged, &whole[..at], &[&whole[..], b"x"].concat()] {
            fs::write(&file, bytes).unwrap();
            assert!(matches!(cache.for_quick(), Err(Unusable::Damaged)), "at {at}");
        }
    }
}

#[test]
fn a_sweep_goes_on_where_it_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), binding(b"a"), 0);
    sweep(&cache, 0..9000, false);
    assert!(matches!(cache.for_quick(), Err(Unusable::Missing)), "half a sweep is none");
    let mut memory = cache.for_full(false, now() + SignedDuration::from_hours(1)).unwrap();
    assert_eq!(memory.resumed_from(), Some(now()));
    let first = recalled(&mut memory, 0..9000);
    assert!(first.len() > 1000 && first.is_sorted(), "{} were recalled", first.len());
    // Interrupted again, before it came as far: nothing is lost.
    drop(memory);
    sweep(&cache, 0..10, false);
    assert_eq!(recalled(&mut cache.for_full(false, now()).unwrap(), 0..9000), first);
    // What kept nothing is nothing to go on with.
    let other = tempfile::tempdir().unwrap();
    let empty = self::cache(other.path(), binding(b"a"), 0);
    drop(empty.for_full(false, now()).unwrap());
    assert_eq!(empty.for_full(false, now()).unwrap().resumed_from(), None);
    sweep(&cache, 0..3000, true);
    assert_eq!(recalled(&mut cache.for_quick().unwrap(), 0..3000).len(), 3000);
    assert_eq!(cache.for_full(false, now()).unwrap().resumed_from(), None, "it was ended");
}

#[test]
fn an_interrupted_sweep_is_gone_on_with_for_a_day_and_in_its_boot() {
    let folder = tempfile::tempdir().unwrap();
    let begun = cache(folder.path(), binding(b"a"), 0);
    let check = |what: &str, cache: &Cache, now: Timestamp, is_resumed: bool| {
        sweep(&begun, 0..9000, false);
        let memory = cache.for_full(false, now).unwrap();
        assert_eq!(memory.resumed_from().is_some(), is_resumed, "{what}");
        drop(memory);
        let _ = fs::remove_file(folder.path().join("cache.part"));
    };
    check("a day later", &begun, now() + SignedDuration::from_hours(24), true);
    check("more than a day later", &begun, now() + SignedDuration::from_hours(25), false);
    check("before it began", &begun, now() - SignedDuration::from_hours(1), false);
    let boot = "other".to_owned();
    check("another boot", &cache(folder.path(), Binding { boot, ..binding(b"a") }, 0), now(), false);
}

#[test]
fn what_cannot_be_written_is_told_at_the_end_and_leaves_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), binding(b"a"), 0);
    sweep(&cache, 0..10, true);
    let mut memory = cache.for_full(false, now()).unwrap();
    fs::remove_file(folder.path().join("cache.part")).unwrap();
    (0..10).for_each(|number| memory.recorder.as_mut().unwrap().note(&path(number), &noted(number)));
    assert!(matches!(memory.keep(), Err(CacheError::Use { .. })));
    assert_eq!(recalled(&mut cache.for_quick().unwrap(), 0..10).len(), 10);
}

#[test]
fn what_others_may_write_to_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), binding(b"a"), 0);
    sweep(&cache, 0..10, true);
    sweep(&cache, 0..9000, false);
    for name in ["cache", "cache.part"] {
        let mode = fs::Permissions::from_mode(0o620);
        fs::set_permissions(folder.path().join(name), mode).unwrap();
    }
    assert!(matches!(cache.for_quick(), Err(Unusable::Foreign)));
    assert_eq!(cache.for_full(false, now()).unwrap().resumed_from(), None);
}

#[test]
fn what_was_read_through_the_page_cache_is_not_gone_on_with_past_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), binding(b"a"), 0);
    for (was_direct, is_direct, is_resumed) in
        [(false, false, true), (false, true, false), (true, true, true), (true, false, true)]
    {
        let mut memory = cache.for_full(was_direct, now()).unwrap();
        (0..9000).for_each(|number| memory.recorder.as_mut().unwrap().note(&path(number), &noted(number)));
        drop(memory);
        let memory = cache.for_full(is_direct, now()).unwrap();
        assert_eq!(memory.resumed_from().is_some(), is_resumed, "{was_direct} {is_direct}");
        drop(memory);
        let _ = fs::remove_file(folder.path().join("cache.part"));
    }
}
