//! `[blobs]`, and what it takes for a bucket.

use super::*;
use crate::blobs::{BlobSettings, BucketSettings};

/// A `server.toml` with this in `[blobs]`.
fn with_blobs(lines: &str) -> impl Fn(String) -> String {
    let table = format!("[blobs]\n{lines}\n[[group]]");
    move |toml| toml.replacen("[[group]]", &table, 1)
}

fn bucket_of(fixture: &Fixture, lines: &str) -> Box<BucketSettings> {
    fixture.write("server.toml", with_blobs(lines)(server_toml("replace")).as_bytes());
    match Config::load(&fixture.path("server.toml")).unwrap().blobs {
        BlobSettings::Bucket(settings) => settings,
        BlobSettings::Directory(folder) => panic!("a directory: {folder:?}"),
    }
}

#[test]
fn a_bucket_is_known_by_its_url() {
    let fixture = Fixture::new("replace");
    let plain = bucket_of(&fixture, "url = 's3://a-bucket'");
    assert_eq!((plain.bucket.as_str(), plain.prefix.as_str()), ("a-bucket", ""));
    assert!(plain.key.is_none() && plain.endpoint.is_none());
    assert_eq!(plain.cache_directory, fixture.path("blob-cache"));
    let more = "url = 's3://a-bucket/fleet/Prod_1.x=y'\nregion = 'eu-central-1'\ncache-bytes = 1048576\n\
         access-key-id = 'AKIA'\nsecret-access-key-file = 'operator.token'";
    let deep = bucket_of(&fixture, more);
    assert_eq!((deep.prefix.as_str(), deep.region.as_str()), ("fleet/Prod_1.x=y", "eu-central-1"));
    assert!(!format!("{deep:?}").contains(&deep.key.as_ref().unwrap().secret), "a secret is shown");
    for endpoint in ["http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9", "https://s3.example"] {
        bucket_of(&fixture, &format!("url = 's3://a-bucket'\nendpoint = '{endpoint}'"));
    }
    bucket_of(&fixture, "url = 's3://a-bucket'\nendpoint = 'http://s3.example'\nallow-http = true");
}

#[test]
fn no_bucket_or_prefix_says_more_than_a_name() {
    let fixture = Fixture::new("replace");
    for url in [
        "",
        "s3:/a-bucket",
        "https://a-bucket/x",
        "s3://",
        "s3://ab",
        "s3://A-bucket",
        "s3://-bucket",
        "s3://a..b",
        "s3://me:pw@bucket",
        "s3://a-bucket/..",
        "s3://a-bucket/../x",
        "s3://a-bucket/x/./y",
        "s3://a-bucket/x//y",
        "s3://a-bucket//x",
        "s3://a-bucket/%2e%2e",
        "s3://a-bucket/x?y",
        "s3://a-bucket/x#y",
        "s3://a-bucket/x y",
        "s3://a-bucket/x\\y",
        "s3://a-bucket/\u{202e}x",
        "s3://a-bucket/<img>",
        "s3://a-bucket/\u{1b}[0m",
        "s3://a-bucket/x\n",
        &format!("s3://a-bucket/{}", "x".repeat(513)),
    ] {
        let quoted = serde_json::to_string(url).unwrap();
        let error = refusal(&fixture, with_blobs(&format!("url = {quoted}")));
        assert!(error.contains("s3://bucket/prefix"), "{url:?}: {error}");
    }
}

#[test]
fn what_cannot_be_in_blobs_is_refused_with_the_mend() {
    let fixture = Fixture::new("replace");
    for (line, says) in [
        ("endpoint = 'http://s3.example'", "`allow-http = true`"),
        ("endpoint = 'http://127.0.0.1.example'", "`allow-http = true`"),
        ("endpoint = 'https://me:pw@s3.example'", "without a path or a password"),
        ("endpoint = 'https://s3.example/path'", "without a path or a password"),
        ("endpoint = 's3.example'", "https://s3.example:9000"),
        ("region = 'a b'", "`region`"),
        ("access-key-id = 'x'", "write both"),
        ("secret-access-key-file = 'operator.token'", "write both"),
        ("access-key-id = 'x'\nsecret-access-key-file = 'none'", "cannot read the secret file"),
        ("access-key-id = 'a/b'\nsecret-access-key-file = 'operator.token'", "`access-key-id`"),
        ("ca-certificate = 'none'", "`ca-certificate`"),
        ("cache-bytes = 1", "at least 1048576"),
        ("secret-access-key = 'x'", "did you mean `secret-access-key-file`?"),
    ] {
        let error = refusal(&fixture, with_blobs(&format!("url = 's3://a-bucket'\n{line}")));
        assert!(error.contains(says), "{line}: {error}");
    }
    let error = refusal(&fixture, |toml| {
        let toml = with_blobs("url = 's3://a-bucket'")(toml);
        toml.replacen("silent-after", "manifest-directory = 'm'\nsilent-after", 1)
    });
    assert!(error.contains("keep one"), "{error}");
}
