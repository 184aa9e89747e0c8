//! What only a store beyond the network does: it goes away, and it refuses.

use congruent_tests::wait::{PATIENCE, wait_for};

use super::*;

fn said(error: &BlobError) -> String {
    chain_of(error)
}

#[tokio::test]
async fn a_store_that_goes_away_is_waited_for_and_found_again() {
    let mut place = Place::bucket();
    let blobs = place.collector("first");
    let (kept, other) = (bytes(1, 1000), bytes(2, 1000));
    let name = put(&blobs, &kept).await.unwrap();
    let held = put(&blobs, &other).await.unwrap();
    fs::remove_file(place.copies("first").join(held.to_string())).unwrap();
    place.store.as_mut().unwrap().kill();
    assert!(get(&blobs, name).await.unwrap() == kept, "there is a copy of it");
    for error in [
        blobs.probe().await.unwrap_err(),
        put(&blobs, b"new").await.unwrap_err(),
        blobs.get(held).await.map(drop).unwrap_err(),
        blobs.list().await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, BlobError::Unreachable { .. }), "{}", said(&error));
        assert!(said(&error).contains(&format!("s3://{BUCKET}/{PREFIX}")), "{}", said(&error));
    }
    place.store.as_mut().unwrap().start_again().unwrap();
    assert!(get(&blobs, held).await.unwrap() == other);
    put(&blobs, b"new").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_killed_in_the_middle_of_a_put_has_nothing_half() {
    let mut place = Place::bucket();
    let blobs = place.collector("first");
    let large = bytes(1, 40 * PART_BYTES as usize);
    let name = name_of(&large);
    let sending = blobs.clone();
    let sent = large.clone();
    let putting = tokio::spawn(async move { put(&sending, &sent).await });
    let store = place.store.as_mut().unwrap();
    let folder = store.folder().to_owned();
    let is_part = |name: &String| name.contains("upload") && name.contains("part");
    wait_for("the first part", PATIENCE, || Ok(files_in(&folder).iter().any(is_part).then_some(()))).unwrap();
    store.kill();
    let error = putting.await.unwrap().unwrap_err();
    assert!(matches!(error, BlobError::Unreachable { .. }), "{}", said(&error));
    assert!(!place.file(name).exists(), "half a blob has its name");
    assert_eq!(files_in(&place.copies("first")), [""; 0], "what did not arrive is here as a copy");
    place.store.as_mut().unwrap().start_again().unwrap();
    assert_eq!(put(&blobs, &large).await.unwrap(), name);
    assert!(get(&place.collector("cold"), name).await.unwrap() == large);
}

#[tokio::test]
async fn refusals_name_what_to_mend() {
    let place = Place::bucket();
    let store = place.store.as_ref().unwrap();
    let changed = |change: fn(&mut BucketSettings)| {
        let mut settings = place.bucket_settings(store, "first");
        change(&mut settings);
        Blobs::open(&BlobSettings::Bucket(Box::new(settings))).unwrap()
    };
    let key = |id: &str, secret: &str| Some(AccessKey { id: id.to_owned(), secret: secret.to_owned() });
    for (blobs, says) in [
        (changed(|it| it.key.as_mut().unwrap().secret = "wrong".to_owned()), "`secret-access-key-file`"),
        (changed(|it| it.key.as_mut().unwrap().id = "other".to_owned()), "`access-key-id`"),
        (changed(|it| it.bucket = "none-such".to_owned()), "there is no such bucket; make it"),
    ] {
        let error = blobs.probe().await.unwrap_err();
        assert!(said(&error).contains(says), "{}", said(&error));
        assert!(!said(&error).contains(SECRET), "a secret is told");
    }
    assert!(!format!("{:?}", key("id", SECRET)).contains(SECRET));
}
