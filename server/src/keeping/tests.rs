use std::fs;
use std::path::{Path, PathBuf};

use super::progress::Meter;
use super::record::{KeepingError, Record};
use super::{
    backup,
    carry::{Carried, carry},
    restore,
};
use crate::blobs::{BlobName, BlobSettings, Blobs};
use crate::ingest::chain_of;
use crate::store::{Database, MAX_ROW_BYTES, NamedBody, PackedBytes, Source, Store, read_only};
use crate::subject::SubjectId;
use crate::testing::{manifest, new_report, postgres, time, wait_for};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::key::SecretKey;

const NOW: &str = "2026-03-01T00:00:00Z";

/// A store with a node, an imported manifest and its blob.
struct Kept {
    dir: tempfile::TempDir,
    database: Database,
    blobs: BlobSettings,
}

impl Kept {
    fn new(database: Option<Database>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = database.unwrap_or_else(|| Database::Sqlite(dir.path().join("congruent.db")));
        let blobs = BlobSettings::Directory(dir.path().join("manifests"));
        Self { dir, database, blobs }
    }

    fn fill(&self) -> BlobName {
        let bytes = manifest("1.4.2", &SecretKey::from_seed([1; 32]));
        let name = BlobName::manifest(Algorithm::Blake3.digest(&bytes));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let blobs = Blobs::open(&self.blobs).unwrap();
            let mut arrival = blobs.arrive(1 << 20).unwrap();
            arrival.take(&bytes).unwrap();
            blobs.put(name, arrival.finish()).await.unwrap();
        });
        let store = Store::open(&self.database).unwrap();
        runtime.block_on(add_node(&store, "web-1"));
        let digest = *name.digest();
        let row = crate::store::ManifestRow {
            digest,
            root: digest,
            name: "web".to_owned(),
            version: "1.4.2".to_owned(),
            kind: congruent_protocol::manifest::ManifestKind::Base,
            bytes: bytes.len() as u64,
            entries: 8,
            claimed: vec![],
            baked_at: time(NOW),
            expires_at: None,
            imported_at: time(NOW),
            imported_by: "alice".to_owned(),
            withdrawn_at: None,
            withdrawn_by: None,
        };
        runtime.block_on(store.write("import", move |tx| tx.insert_manifest(&row))).unwrap();
        name
    }

    /// A large report as its blob; gives its name.
    fn fill_report(&self) -> BlobName {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = wait_for("the lock", || async { Store::open(&self.database).ok() }).await;
            store.keep_bodies_in(Blobs::open(&self.blobs).unwrap());
            let packed = PackedBytes::received(vec![7; MAX_ROW_BYTES + 1]);
            let body = store.place(packed, time(NOW)).await.unwrap();
            let storing = store.write("store", move |tx| tx.insert_report(&new_report("web-1"), &body));
            storing.await.unwrap();
            store.read("read", NamedBody::all).await.unwrap().remove(0).blob
        })
    }

    fn blob(&self, name: &BlobName) -> PathBuf {
        self.path(&format!("manifests/{name}"))
    }

    fn backup(&self, to: &Path) -> Result<Record, KeepingError> {
        backup::make(&self.database, &self.blobs, to, time(NOW), &mut Meter::new())
    }

    fn restore(&self, from: &Path) -> Result<Record, KeepingError> {
        restore::from(from, &self.database, &self.blobs, time("2026-03-02T00:00:00Z"), &mut Meter::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

async fn add_node(store: &Store, node: &'static str) {
    store
        .write("put in a node", move |tx| tx.insert_subject(&SubjectId::node(node), "web", time(NOW), "new"))
        .await
        .unwrap();
}

fn nodes(database: &Database) -> usize {
    read_only(database, "count the nodes", |view| Ok(view.nodes()?.len())).unwrap()
}

#[test]
fn a_backup_is_restored_to_either_kind_with_its_manifests() {
    let kept = Kept::new(None);
    let name = kept.fill();
    let made = kept.backup(&kept.path("backup")).unwrap();
    for to in [Kept::new(None), Kept::new(Some(postgres()))] {
        let restored = to.restore(&kept.path("backup")).unwrap();
        assert_eq!((restored.tables.len(), restored.blobs.len()), (made.tables.len(), 1));
        assert_eq!(nodes(&to.database), 1);
        assert!(to.path(&format!("manifests/{name}")).exists());
        let audit = read_only(&to.database, "read the audit", |view| view.audit(None, 9)).unwrap();
        assert_eq!((audit[0].action.as_str(), audit.len()), ("store-restored", 1));
        assert!(audit[0].reason.as_ref().unwrap().contains("2026-03-01T00:00:00Z"));
        // Again is refused: it is there by now.
        let error = chain_of(&to.restore(&kept.path("backup")).unwrap_err());
        assert!(error.contains("is there already") || error.contains("is not empty"), "{error}");
        // And a backup of what was restored is as any other.
        to.backup(&kept.path(&format!("again-{}", to.database.file().is_some()))).unwrap();
    }
}

#[test]
fn a_backup_is_made_beside_a_store_that_is_written_to_and_is_of_one_time() {
    let kept = Kept::new(None);
    kept.fill();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The lock of the store that filled it goes a moment later.
    let store = runtime.block_on(wait_for("the lock", || async { Store::open(&kept.database).ok() }));
    let (stop, writer) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), store.clone());
    let (begun, beginning) = std::sync::mpsc::channel();
    let stopped = stop.clone();
    let writing = runtime.spawn(async move {
        let mut written = 0_u64;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            // Two rows that belong together.
            let put = writer.write("put in nodes", move |tx| {
                tx.insert_subject(&SubjectId::node(&format!("a-{written}")), "web", time(NOW), "new")?;
                tx.insert_subject(&SubjectId::node(&format!("b-{written}")), "web", time(NOW), "new")
            });
            put.await.unwrap();
            written += 1;
            let _ = begun.send(());
        }
        written
    });
    beginning.recv().unwrap();
    kept.backup(&kept.path("backup")).unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let written = runtime.block_on(writing).unwrap();
    assert!(written > 1, "nothing was written meanwhile");
    let saved = Database::Sqlite(kept.path("backup/congruent.db"));
    let saved = nodes(&saved);
    assert!(saved % 2 == 1 && saved as u64 <= 1 + 2 * written, "web-1 and pairs: {saved}");
    drop(store);
}

#[test]
fn what_is_damaged_newer_or_in_the_way_is_refused_and_nothing_is_written() {
    let kept = Kept::new(None);
    let name = kept.fill();
    kept.backup(&kept.path("good")).unwrap();
    assert!(matches!(kept.backup(&kept.path("good")), Err(KeepingError::OutputExists(_))));
    let record = fs::read_to_string(kept.path("good/backup.json")).unwrap();
    let blob = format!("manifests/{name}");
    let version = format!("\"database_version\": {}", crate::store::known_version());
    for (file, content, says) in [
        ("congruent.db", Some(flipped(&kept.path("good/congruent.db"))), "is not what it was"),
        (blob.as_str(), Some(flipped(&kept.path("good").join(&blob))), "is not what it was"),
        (blob.as_str(), None, "is missing"),
        ("backup.json", Some(b"{}".to_vec()), "is not the record of a backup"),
        ("backup.json", Some(record.replace(&version, "\"database_version\": 99").into()), "from a newer"),
        (
            "backup.json",
            Some(record.replace("\"schema_version\": 1", "\"schema_version\": 2").into()),
            "of the form 2",
        ),
        ("backup.json", Some(record.replace(&blob, "../secret").into()), "is not within it"),
    ] {
        let (to, bad) = (Kept::new(None), tempfile::tempdir().unwrap());
        copy_folder(&kept.path("good"), bad.path());
        match content {
            Some(content) => fs::write(bad.path().join(file), content).unwrap(),
            None => fs::remove_file(bad.path().join(file)).unwrap(),
        }
        let error = chain_of(&to.restore(bad.path()).unwrap_err());
        assert!(error.contains(says), "{error}");
        assert_eq!(fs::read_dir(to.dir.path()).unwrap().count(), 0, "{error}");
    }
}

#[test]
fn a_restoration_that_was_cut_off_is_begun_anew() {
    let kept = Kept::new(None);
    kept.fill();
    kept.backup(&kept.path("backup")).unwrap();
    let to = Kept::new(None);
    for leftover in ["congruent.db.restoring", "congruent.db.restoring-wal"] {
        fs::write(to.path(leftover), "half of it").unwrap();
    }
    to.restore(&kept.path("backup")).unwrap();
    assert_eq!(nodes(&to.database), 1);
    let mut left: Vec<_> =
        fs::read_dir(to.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name.to_string_lossy().contains("restoring"));
    assert!(left.is_empty(), "{left:?}");
    // What is saved and what is restored differ by the note alone.
    let digests = |database: &Database| {
        let proofs = Source::beside(database).unwrap().prove(&mut |_| {}).unwrap();
        proofs.into_iter().filter(|proof| proof.table != "audit").collect::<Vec<_>>()
    };
    assert_eq!(digests(&kept.database), digests(&to.database));
}

#[test]
fn large_reports_are_in_a_backup_and_come_back() {
    let kept = Kept::new(None);
    kept.fill();
    let name = kept.fill_report();
    let made = kept.backup(&kept.path("backup")).unwrap();
    assert!(made.told(Path::new("there")).contains("1 manifest and 1 large report,"));
    let good = fs::read(kept.blob(&name)).unwrap();
    for to in [Kept::new(None), Kept::new(Some(postgres()))] {
        let restored = to.restore(&kept.path("backup")).unwrap();
        assert_eq!((restored.blobs.len(), restored.missing.len()), (2, 0));
        assert!(fs::read(to.blob(&name)).unwrap() == good);
        let named = read_only(&to.database, "read", NamedBody::all).unwrap();
        assert_eq!((named[0].blob, named.len()), (name, 1));
    }
    // What is damaged in the backup is refused, and nothing is written.
    let piece = kept.path(&format!("backup/reports/{name}"));
    fs::write(&piece, flipped(&piece)).unwrap();
    let to = Kept::new(None);
    let error = chain_of(&to.restore(&kept.path("backup")).unwrap_err());
    assert!(error.contains("is not what it was") && error.contains(&name.to_string()), "{error}");
    assert_eq!(fs::read_dir(to.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_large_report_that_is_lost_is_named_by_the_backup_and_by_what_is_restored_of_it() {
    let kept = Kept::new(None);
    let manifest = kept.fill();
    let name = kept.fill_report();
    fs::write(kept.blob(&name), "altered").unwrap();
    let made = kept.backup(&kept.path("backup")).unwrap();
    assert_eq!(made.missing, [name.to_string()]);
    let to = Kept::new(None);
    assert_eq!(to.restore(&kept.path("backup")).unwrap().missing, [name.to_string()]);
    assert!(to.blob(&manifest).exists() && !to.blob(&name).exists());
}

#[test]
fn what_a_copied_database_names_is_carried_to_its_place() {
    let kept = Kept::new(None);
    let names = [kept.fill(), kept.fill_report()];
    let to = Kept::new(None);
    let carry = |from: &Kept| carry(&kept.database, &from.blobs, &to.blobs).unwrap();
    assert_eq!(carry(&kept), Carried { count: 2, missing: vec![] });
    for name in &names {
        assert!(fs::read(to.blob(name)).unwrap() == fs::read(kept.blob(name)).unwrap());
    }
    // Again, and to where it is already, nothing is copied.
    assert_eq!(carry(&kept), Carried::default());
    fs::remove_file(to.blob(&names[1])).unwrap();
    assert_eq!(carry(&Kept::new(None)), Carried { count: 0, missing: vec![names[1].to_string()] });
    assert_eq!(carry(&kept), Carried { count: 1, missing: vec![] });
}

fn flipped(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
