//! The folder of copies: bounded, held to names, and of no weight of its own.

use super::*;

fn with_room_for(place: &Place, bytes: u64) -> Blobs {
    let mut settings = place.bucket_settings(place.store.as_ref().unwrap(), "first");
    settings.cache_bytes = bytes;
    Blobs::open(&BlobSettings::Bucket(Box::new(settings))).unwrap()
}

#[tokio::test]
async fn a_copy_serves_while_it_is_good_and_is_fetched_again_where_it_is_not() {
    let place = Place::bucket();
    let blobs = place.collector("first");
    let good = bytes(1, 300_000);
    let name = put(&blobs, &good).await.unwrap();
    let copy = place.copies("first").join(name.to_string());
    // Held open by a group, or not.
    for holding in [false, true] {
        let _held = if holding { Some(blobs.get(name).await.unwrap()) } else { None };
        for damaged in [&good[..299_999], b"x", b""] {
            fs::write(&copy, damaged).unwrap();
            assert!(get(&blobs, name).await.unwrap() == good, "a bad copy was given");
            assert!(fs::read(&copy).unwrap() == good, "a bad copy was kept");
        }
    }
    fs::write(place.file(name), "not the blob").unwrap();
    assert!(get(&blobs, name).await.unwrap() == good, "the copy is as good as the blob was");
}

#[tokio::test]
async fn those_unasked_for_the_longest_go_first_and_those_in_use_stay() {
    let place = Place::bucket();
    let blobs = with_room_for(&place, 3500);
    let copies = place.copies("first");
    let is_there = |name: BlobName| copies.join(name.to_string()).exists();
    let mut names = Vec::new();
    for seed in 0..3 {
        let name = put(&blobs, &bytes(seed, 1000)).await.unwrap();
        // Files' times may be coarser than this test is quick.
        let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000 + u64::from(seed));
        File::open(copies.join(name.to_string())).unwrap().set_modified(at).unwrap();
        names.push(name);
    }
    // The oldest is asked for, and is the newest then.
    get(&blobs, names[0]).await.unwrap();
    let next = put(&blobs, &bytes(3, 1000)).await.unwrap();
    assert_eq!([names[0], names[1], names[2], next].map(is_there), [true, false, true, true]);
    let held = blobs.get(names[2]).await.unwrap();
    let at = std::time::SystemTime::UNIX_EPOCH;
    held.set_modified(at).unwrap();
    let last = put(&blobs, &bytes(4, 2000)).await.unwrap();
    assert!(is_there(names[2]) && is_there(last), "one that is in use went");
    assert!(!is_there(names[0]) && !is_there(next), "over the limit");
    // One that is too large for the folder is had all the same.
    let large = bytes(5, 4000);
    let name = put(&blobs, &large).await.unwrap();
    assert!(get(&blobs, name).await.unwrap() == large && !is_there(name));
    assert!(get(&blobs, names[1]).await.unwrap() == bytes(1, 1000), "what went is fetched again");
}

#[tokio::test]
async fn what_a_crash_left_goes_and_what_another_is_writing_stays() {
    for place in Place::both() {
        let blobs = place.collector("first");
        let folder = if place.store.is_some() { place.copies("first") } else { place.files.clone() };
        fs::write(folder.join(".incoming-left"), "half").unwrap();
        let mut arriving = blobs.arrive(100).unwrap();
        arriving.take(b"whole").unwrap();
        let other = place.collector("first");
        assert_eq!(files_in(&folder).len(), 1, "only what arrives is there: {:?}", files_in(&folder));
        let arrived = arriving.finish();
        let name = BlobName::manifest(arrived.digest);
        blobs.put(name, arrived).await.unwrap();
        assert!(get(&other, name).await.unwrap() == b"whole");
    }
}
