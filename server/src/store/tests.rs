use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::sql::params;
use super::*;
use crate::subject::SubjectId;
use crate::testing::{time, wait_for};

fn database() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("congruent.db");
    (dir, path)
}

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(&Database::Sqlite(path.to_owned()))
}

fn read_only<T: Send>(
    path: &Path,
    work: impl Fn(&View<'_>) -> Result<T, StoreError> + Send,
) -> Result<T, StoreError> {
    super::read_only(&Database::Sqlite(path.to_owned()), "read", work)
}

fn pragma(path: &Path, name: &str) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
        .map(|value| format!("{value:?}"))
        .unwrap()
}

#[tokio::test]
async fn a_new_database_is_made_and_opened_again() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    store
        .write("put in a node", |tx| {
            tx.insert_subject(&SubjectId::node("web-1"), "web", time("2026-03-01T00:00:00Z"), "new")
        })
        .await
        .unwrap();
    assert_eq!(pragma(&path, "user_version"), format!("Integer({})", schema::VERSION));
    assert_eq!(pragma(&path, "journal_mode"), "Text(\"wal\")");
    drop(store);
    // The writer's thread lets go of the lock a moment later.
    let store = wait_for("the lock", || async { open(&path).ok() }).await;
    let nodes = store.read("count the nodes", |view| Ok(view.nodes()?.len())).await.unwrap();
    assert_eq!(nodes, 1);
}

#[tokio::test]
async fn a_sign_of_life_is_one_row_and_is_heard_of_all_on_its_node() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let (at, later) = (time("2026-03-01T00:00:00Z"), time("2026-03-01T00:01:00Z"));
    let subjects =
        || [SubjectId::node("web-1"), SubjectId::container("web-1", "c1"), SubjectId::node("web-2")];
    let putting = store.write("put them in", move |tx| {
        for subject in subjects() {
            tx.insert_subject(&subject, "web", at, "new")?;
        }
        tx.note_heard(&[("web-1".to_owned(), later)])
    });
    putting.await.unwrap();
    let heard = store.read("read", move |view| {
        let written = "SELECT count(*) FROM subjects WHERE last_seen IS NOT NULL";
        let written: Option<u64> = view.row("count", written, params![], |row| row.get(0))?;
        let [node, container, other] =
            subjects().map(|id| view.subject(&id).map(|row| row.unwrap().last_seen));
        Ok((written, [node?, container?, other?]))
    });
    assert_eq!(heard.await.unwrap(), (Some(1), [Some(later), Some(later), None]));
}

/// Each is looked up by itself: what compares them with each other takes half a minute here.
#[tokio::test]
async fn what_was_over_again_and_again_is_found_at_once() {
    const TIMES: usize = 20_000;
    let (_dir, path) = database();
    for database in [Database::Sqlite(path), crate::testing::postgres()] {
        let store = Store::open(&database).unwrap();
        let putting = store.write("put in what was over", |tx| {
            let sql = format!(
                "INSERT INTO subject_states (node, container, at, state, is_over) \
                 WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {TIMES}) \
                 SELECT 'web-1', 'c1', n, 'unknown', TRUE FROM number"
            );
            tx.execute("put in what was over", &sql, params![])?;
            let at = time("2026-03-01T00:00:00Z");
            for id in ["c2", "c3", "c2"] {
                tx.end_container(&SubjectId::container("web-1", id), at, "it is gone")?;
            }
            // It runs again.
            tx.insert_subject(&SubjectId::container("web-1", "c3"), "web", at, "new")
        });
        putting.await.unwrap();
        let begun = Instant::now();
        let over = store.read("look what is over", |view| view.over_on("web-1", TIMES)).await.unwrap();
        let took = begun.elapsed();
        let ids: Vec<_> = over.into_iter().map(|row| row.subject.container.unwrap()).collect();
        assert_eq!(ids, ["c2", "c1"], "{database}");
        assert!(took < Duration::from_secs(5), "{database}: {took:?}");
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_synced() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let synchronous = store
        .write("read a setting", |tx| {
            tx.row("read a setting", "PRAGMA synchronous", params![], |row| row.get::<_, u32>(0))
        })
        .await
        .unwrap();
    assert_eq!(synchronous, Some(2), "2 is FULL");
}

#[test]
fn a_database_from_a_newer_version_is_refused() {
    let (_dir, path) = database();
    let newer = schema::VERSION + 1;
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", newer).unwrap();
    for error in [open(&path).err().unwrap(), read_only(&path, |_| Ok(())).unwrap_err()] {
        let error = error.to_string();
        assert!(error.contains(&format!("is of version {newer}, from a newer congruent-server")), "{error}");
        assert!(error.contains("run the newer one, or restore a backup"), "{error}");
    }
}

#[test]
fn a_database_that_was_never_served_is_not_read() {
    let (_dir, path) = database();
    let error = read_only(&path, |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("is not there"), "{error}");
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let error = read_only(&path, |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("start `congruent-server serve` once"), "{error}");
}

#[test]
fn what_others_made_is_left_alone() {
    let (_dir, path) = database();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (id INTEGER)").unwrap();
    let before = std::fs::read(&path).unwrap();
    for error in [open(&path).err().unwrap(), read_only(&path, |_| Ok(())).unwrap_err()] {
        assert!(error.to_string().contains("is not a database of congruent-server"), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::write(&path, "x".repeat(5000)).unwrap();
    let error = open(&path).err().unwrap().to_string();
    assert!(error.contains("is not a database of congruent-server"), "{error}");
}

#[tokio::test]
async fn two_collectors_on_one_database_are_refused_and_readers_are_not() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let error = open(&path).err().unwrap().to_string();
    assert!(error.contains("another collector uses the database"), "{error}");
    let (soft, hard) = (path.with_file_name("soft"), path.with_file_name("hard"));
    std::os::unix::fs::symlink(&path, &soft).unwrap();
    std::fs::hard_link(&path, &hard).unwrap();
    for other in [soft, hard] {
        assert!(matches!(open(&other), Err(StoreError::InUse(_))), "{}", other.display());
    }
    store
        .write("put in a node", |tx| {
            tx.insert_subject(&SubjectId::node("web-1"), "web", time("2026-03-01T00:00:00Z"), "new")
        })
        .await
        .unwrap();
    assert_eq!(read_only(&path, |view| Ok(view.nodes()?.len())).unwrap(), 1);
}

#[tokio::test]
async fn work_that_fails_writes_nothing() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let failed = store.write("fail", |tx| {
        tx.insert_subject(&SubjectId::node("web-1"), "web", time("2026-03-01T00:00:00Z"), "new")?;
        Err::<(), _>(StoreError::Stopped { action: "fail" })
    });
    assert!(failed.await.is_err());
    assert_eq!(store.read("count the nodes", |view| Ok(view.nodes()?.len())).await.unwrap(), 0);
}

#[tokio::test]
async fn reads_wait_for_those_of_their_own_handle_alone() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let apart = store.reading_apart();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let (began, mut beginning) = mpsc::unbounded_channel();
    let slow: Vec<_> = (0..9)
        .map(|_| {
            let (store, held, began) = (store.clone(), held.clone(), began.clone());
            tokio::spawn(async move {
                let reading = store.read("read slowly", move |view| {
                    began.send(()).unwrap();
                    let _ = held.lock().unwrap().recv();
                    Ok(view.nodes()?.len())
                });
                reading.await.unwrap()
            })
        })
        .collect();
    for _ in 0..readers::READS_AT_ONCE {
        beginning.recv().await.unwrap();
    }
    // One more would begin by now, if it could.
    let count = |store: Store| async move { store.read("count", |view| Ok(view.nodes()?.len())).await };
    assert_eq!(count(apart.clone()).await.unwrap(), 0);
    assert!(beginning.try_recv().is_err());
    let at = time("2026-03-01T00:00:00Z");
    store
        .write("put in a node", move |tx| tx.insert_subject(&SubjectId::node("web-1"), "web", at, "new"))
        .await
        .unwrap();
    assert_eq!(count(apart).await.unwrap(), 1);
    drop(release);
    for read in slow {
        assert_eq!(read.await.unwrap(), 1, "a view begins with its first statement");
    }
    assert_eq!(count(store).await.unwrap(), 1);
}

#[tokio::test]
async fn refusals_of_one_code_count_together_for_a_day() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    for (node, at, code, message) in [
        ("web-1", "2026-03-01T00:00:00Z", "malformed", "a"),
        ("web-1", "2026-03-01T00:00:01Z", "root-mismatch", "a"),
        ("web-2", "2026-03-01T00:00:02Z", "malformed", "a"),
        ("web-1", "2026-03-01T23:59:59Z", "malformed", "b"),
        ("web-1", "2026-03-02T00:00:00Z", "malformed", "c"),
        ("web-1", "2026-03-02T00:00:00.5Z", "root-mismatch", "d"),
        // A clock that was set back.
        ("web-1", "2026-03-01T12:00:00Z", "malformed", "e"),
    ] {
        let at = time(at);
        let record = move |tx: &Tx<'_>| tx.insert_refusal(node, at, code, message);
        store.write("record a refusal", record).await.unwrap();
    }
    let rows = store.read("read refusals", |view| view.refusals("web-1", 9)).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (row.code.as_str(), row.message.as_str(), row.count)).collect();
    let expected = [("malformed", "e", 2), ("root-mismatch", "d", 2), ("malformed", "b", 2)];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn of_each_node_the_newest_refusals_are_kept() {
    let (_dir, path) = database();
    let store = open(&path).unwrap();
    let begin = time("2026-03-01T00:00:00Z");
    let recording = store.write("record refusals", move |tx| {
        tx.insert_refusal("web-2", begin, "malformed", "of another")?;
        (0..250).try_for_each(|day| {
            let at = begin + jiff::SignedDuration::from_hours(24 * day);
            tx.insert_refusal("web-1", at, "malformed", &day.to_string())
        })
    });
    recording.await.unwrap();
    let reading =
        store.read("read refusals", |v| Ok((v.refusals("web-1", 999)?, v.refusals("web-2", 9)?.len())));
    let (rows, of_another) = reading.await.unwrap();
    let messages: Vec<_> = rows.iter().map(|row| row.message.clone()).collect();
    assert_eq!(messages, (50..250).rev().map(|day| day.to_string()).collect::<Vec<_>>());
    assert_eq!(of_another, 1);
}
