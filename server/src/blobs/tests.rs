//! What must hold of blobs wherever they lie: the same tests over a directory and
//! over a bucket of a real store. Both keep each blob as a file, which can be changed
//! behind our back.

mod bucket;
mod copies;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use congruent_protocol::digest::Digest;
use congruent_tests::s3::{BUCKET, KEY_ID, S3, SECRET};
use tempfile::TempDir;

use super::bucket::{AccessKey, BucketSettings, PART_BYTES};
use super::*;
use crate::ingest::chain_of;
use crate::serve::install_crypto;

const PREFIX: &str = "fleet/a=b";

/// A place for blobs.
struct Place {
    dir: TempDir,
    /// None where it is a directory.
    store: Option<S3>,
    /// The folder of the blobs' own files.
    files: PathBuf,
}

impl Place {
    fn directory() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { files: dir.path().join("manifests"), dir, store: None }
    }

    fn bucket() -> Self {
        install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let store = S3::start(&dir.path().join("store")).unwrap();
        Self { files: store.objects().join(PREFIX), dir, store: Some(store) }
    }

    fn both() -> [Self; 2] {
        [Self::directory(), Self::bucket()]
    }

    /// The collector of this name, which has a folder of copies of its own.
    fn collector(&self, name: &str) -> Blobs {
        Blobs::open(&self.settings(name)).unwrap()
    }

    fn settings(&self, name: &str) -> BlobSettings {
        match &self.store {
            None => BlobSettings::Directory(self.files.clone()),
            Some(store) => BlobSettings::Bucket(Box::new(self.bucket_settings(store, name))),
        }
    }

    fn bucket_settings(&self, store: &S3, name: &str) -> BucketSettings {
        BucketSettings {
            bucket: BUCKET.to_owned(),
            prefix: PREFIX.to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(store.endpoint().parse().unwrap()),
            authority: None,
            key: Some(AccessKey { id: KEY_ID.to_owned(), secret: SECRET.to_owned() }),
            cache_directory: self.copies(name),
            cache_bytes: 64 << 20,
        }
    }

    fn copies(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: BlobName) -> PathBuf {
        self.files.join(name.to_string())
    }
}

/// Bytes that do not repeat.
fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn name_of(bytes: &[u8]) -> BlobName {
    BlobName::manifest(Algorithm::Blake3.digest(bytes))
}

async fn put(blobs: &Blobs, bytes: &[u8]) -> Result<BlobName, BlobError> {
    let mut arrival = blobs.arrive(MAX_BLOB_BYTES)?;
    bytes.chunks(100_000).try_for_each(|chunk| arrival.take(chunk))?;
    let arrived = arrival.finish();
    let name = BlobName::manifest(arrived.digest);
    blobs.put(name, arrived).await.map(|()| name)
}

async fn get(blobs: &Blobs, name: BlobName) -> Result<Vec<u8>, String> {
    let file = blobs.get(name).await.map_err(|error| chain_of(&error))?;
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Ok(bytes)
}

/// The names of the files in a folder, sorted; hidden ones too.
fn files_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_put_is_got_by_whoever_asks() {
    for place in Place::both() {
        let (first, second) = (place.collector("first"), place.collector("second"));
        first.probe().await.unwrap();
        assert_eq!(first.list().await.unwrap(), []);
        let part = PART_BYTES as usize;
        let mut names = Vec::new();
        for (seed, length) in [0, 1, 100_000, part - 1, part, part + 1, 2 * part + 3].into_iter().enumerate()
        {
            let bytes = bytes(seed as u8, length);
            let name = put(&first, &bytes).await.unwrap();
            assert_eq!(name, name_of(&bytes));
            for blobs in [&first, &second] {
                assert!(get(blobs, name).await.unwrap() == bytes, "{length} bytes came back as others");
            }
            names.push(name);
        }
        names.sort();
        let mut listed = second.list().await.unwrap();
        listed.sort();
        assert_eq!(listed, names);
        let missing = get(&second, name_of(b"missing")).await.unwrap_err();
        assert!(missing.contains(&name_of(b"missing").to_string()), "{missing}");
        assert!(missing.contains("is missing; restore it"), "{missing}");
    }
}

#[tokio::test]
async fn twice_and_at_once_are_as_once() {
    for place in Place::both() {
        let blobs = place.collector("first");
        let bytes = bytes(1, 2 * PART_BYTES as usize);
        let name = name_of(&bytes);
        let other = place.collector("second");
        let both = tokio::join!(put(&blobs, &bytes), put(&other, &bytes));
        assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
        let written = fs::metadata(place.file(name)).unwrap().modified().unwrap();
        put(&blobs, &bytes).await.unwrap();
        assert_eq!(files_in(&place.files), [name.to_string()], "something else is left");
        if place.store.is_some() {
            let now = fs::metadata(place.file(name)).unwrap().modified().unwrap();
            assert_eq!(now, written, "what was there already was sent again");
        }
        let cold = place.collector("cold");
        let both = tokio::join!(get(&cold, name), get(&cold, name));
        assert!(both == (Ok(bytes.clone()), Ok(bytes)), "not what was put");
    }
}

#[tokio::test]
async fn what_was_changed_behind_our_back_is_named_and_never_given() {
    for place in Place::both() {
        let good = bytes(1, 300_000);
        let first = place.collector("first");
        let name = put(&first, &good).await.unwrap();
        let mut flipped = good.clone();
        flipped[150_000] ^= 1;
        let longer = [&good[..], b"x"].concat();
        let other = bytes(2, good.len());
        for (at, damaged) in
            [&flipped[..], &good[..299_999], &good[..0], &longer, &other].into_iter().enumerate()
        {
            fs::write(place.file(name), damaged).unwrap();
            let cold = place.collector(&format!("cold-{at}"));
            let error = get(&cold, name).await.unwrap_err();
            assert!(error.contains(&name.to_string()), "{error}");
            assert!(error.contains("not what its name says") && error.contains("import"), "{error}");
            let found: Digest = Algorithm::Blake3.digest(damaged);
            assert!(error.contains(&found.to_string()), "{error}");
            assert_eq!(put(&first, &good).await.unwrap(), name);
            assert!(get(&cold, name).await.unwrap() == good, "importing it again did not mend it");
        }
        fs::remove_file(place.file(name)).unwrap();
        let error = get(&place.collector("after"), name).await.unwrap_err();
        assert!(error.contains("is missing"), "{error}");
    }
}

#[tokio::test]
async fn reports_of_equal_bytes_are_two_and_what_is_removed_is_one() {
    for place in Place::both() {
        let blobs = place.collector("first");
        let bytes = bytes(1, PART_BYTES as usize + 1);
        let digest = Algorithm::Blake3.digest(&bytes);
        let [one, other] = [1, u64::MAX].map(|number| BlobName::report(digest, number));
        for name in [one, other] {
            assert_eq!(BlobName::parse(&name.to_string()), Some(name));
            blobs.put_bytes(name, bytes.clone()).await.unwrap();
        }
        let mut listed = blobs.list().await.unwrap();
        listed.sort();
        assert_eq!(listed, [one, other]);
        blobs.remove(one).await.unwrap();
        blobs.remove(one).await.unwrap();
        assert_eq!(blobs.list().await.unwrap(), [other]);
        let cold = place.collector("cold");
        assert!(cold.get_bytes(other).await.unwrap() == bytes, "other bytes came back");
        let missing = chain_of(&cold.get_bytes(one).await.unwrap_err());
        assert!(missing.contains(&one.to_string()) && missing.contains("from a backup"), "{missing}");
        assert!(!missing.contains("import"), "{missing}");
    }
}

#[tokio::test]
async fn only_blobs_are_listed() {
    for place in Place::both() {
        let blobs = place.collector("first");
        let name = put(&blobs, b"a blob").await.unwrap();
        let written = name.to_string();
        fs::create_dir_all(place.files.join("deeper")).unwrap();
        for neighbour in [
            "README".to_owned(),
            written.to_uppercase(),
            written.replace("blake3", "keyed-blake3"),
            written.replacen('-', ":", 1),
            written[1..].to_owned(),
            format!("{written}.bak"),
            format!("x{written}"),
            format!("deeper/{written}"),
            "<img onerror=x>.manifest".to_owned(),
            written.replace(".manifest", ".report"),
            written.replace(".manifest", ".1.report"),
            written.replace(".manifest", ".000000000000000A.report"),
            written.replace(".manifest", ".+00000000000000a.report"),
        ] {
            fs::write(place.files.join(neighbour), "x").unwrap();
        }
        assert_eq!(blobs.list().await.unwrap(), [name]);
    }
}
