mod blobs;

use super::*;
use crate::store::Database;
use crate::testing::{Fixture, manifest, manifest_of, server_toml, tree};
use congruent_protocol::key::SecretKey;

/// What `Config::load` says after `change` to a good `server.toml`, with causes.
fn refusal(fixture: &Fixture, change: impl FnOnce(String) -> String) -> String {
    fixture.write("server.toml", change(server_toml("replace")).as_bytes());
    let loaded = Config::load(&fixture.path("server.toml"));
    let error = loaded.unwrap_err();
    let mut chain = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        chain = format!("{chain}: {source}");
        cause = source.source();
    }
    chain
}

#[test]
fn a_good_configuration_is_loaded_whole() {
    let fixture = Fixture::new("replace");
    let config = fixture.config();
    let group = config.group_of("web-1").unwrap();
    assert_eq!((group.mode, group.environment.as_str()), (Mode::Replace, "prod"));
    let accepted = &group.manifests[0];
    assert_eq!(group.accepted(&accepted.id()).unwrap().id().name, "web");
    assert_eq!(accepted.id().signed_by, [SecretKey::from_seed([1; 32]).public().id().to_string()]);
    // Of eight entries those at /proc and /tmp may be hidden by mounts.
    assert_eq!(accepted.protected(), crate::testing::PROTECTED);
    assert_eq!((config.interval, config.heartbeat_interval), (None, Duration::from_mins(1)));
    assert_eq!(config.retry_schedule.len(), 2);
}

#[test]
fn refusals_name_thing_and_mend() {
    let fixture = Fixture::new("replace");
    for (from, to, says) in [
        ("127.0.0.1:0", "0.0.0.0:8440", "listen on 127.0.0.1"),
        ("127.0.0.1:0", "localhost", "such as \"127.0.0.1:8440\""),
        ("silent-after = \"15m\"", "silent-after = \"0s\"", "`silent-after`"),
        ("tls = false", "agents-listen = \"8441\"", "such as \"0.0.0.0:8441\""),
        ("tls = false", "agents-url = \"http://collector\"", "`agents-url` is"),
        ("tls = false", "agents-url = \"https://collector/x\"", "without a path"),
        ("tls = false", "certificate-ttl = \"1ms\"", "`certificate-ttl` is 1ms"),
        ("tls = false", "renewal-grace = \"-1s\"", "`renewal-grace` is"),
        ("tls = false", "ca = { certificate = \"c\" }", "missing field `key`"),
        ("silent-after", "silent-afer", "did you mean `silent-after`?"),
        ("[\"0s\", \"10ms\"]", "[]", "`retry-schedule` is empty"),
        ("[\"0s\", \"10ms\"]", "[\"-1s\"]", "none negative"),
        ("\"operator.token\"", "\"none.token\"", "cannot read the secret file"),
        ("retry-schedule", "interval = \"10ms\"\nretry-schedule", "`interval` is 10ms"),
        ("retry-schedule", "heartbeat-interval = \"999h\"\nretry-schedule", "`heartbeat-interval` is"),
        ("retry-schedule", "max-body-bytes = 3\nretry-schedule", "`max-body-bytes` is 3"),
        ("name = \"web\"", "name = \"we/b\"", "printable characters"),
        ("webhook = \"platform\"\n", "", "no webhook that takes its orders"),
        ("webhook = \"platform\"", "webhook = \"other\"", "webhook \"other\", which does not exist"),
        ("http://127", "ftp://127", "begins with http:// or https://"),
        ("http://127", "http://me:pw@127", "holds no password"),
        ("trust = [\"pub.pem\"]", "", "trusts no key"),
        ("trust = [", "trust-config = \"t\"\ntrust = [", "both trust and trust-config"),
        ("trust = [\"pub.pem\"]", "trust-config = \"pub.pem\"", "pub.pem is not valid"),
        ("webhook = \"platform\"", "add-ons = [\"web.manifest\"]\nwebhook = \"platform\"", "is a base"),
        ("\"pub.pem\"", "\"operator.token\"", "which is no key"),
        ("\"web.manifest\"", "\"none.manifest\"", "cannot open the manifest"),
        ("\"web.manifest\"", "\"pub.pem\"", "not a congruent manifest"),
        ("\"platform.secret\"", "\"operator.token\"", "openssl rand"),
        ("mode = \"replace\"", "mode = \"replce\"", "did you mean `replace`?"),
        ("[[webhook]]", "[[node]]\nid = \"web-1\"\n[[webhook]]", "`congruent enroll`"),
    ] {
        let error = refusal(&fixture, |toml| toml.replacen(from, to, 1));
        assert!(error.contains(says), "{to}: {error}");
    }
}

#[test]
fn a_manifest_by_a_stranger_is_refused_with_fingerprints() {
    let fixture = Fixture::new("replace");
    let stranger = SecretKey::from_seed([9; 32]);
    fixture.write("web.manifest", &manifest("1.4.2", &stranger));
    let error = refusal(&fixture, |toml| toml);
    assert!(error.contains(&stranger.public().id().to_string()), "{error}");
}

#[test]
fn one_name_and_version_is_one_image() {
    let fixture = Fixture::new("replace");
    let other = manifest_of(&tree()[..3], "1.4.2", &SecretKey::from_seed([1; 32]));
    fixture.write("other.manifest", &other);
    let both = |toml: String| toml.replacen("\"web.manifest\"", "\"web.manifest\", \"other.manifest\"", 1);
    let error = refusal(&fixture, both);
    assert!(error.contains("web 1.4.2 with two roots, blake3:"), "{error}");
}

#[test]
fn a_trust_configuration_can_ask_for_more() {
    let fixture = Fixture::new("replace");
    let with = |toml: String| toml.replacen("trust = [\"pub.pem\"]", "trust-config = \"trust.toml\"", 1);
    let signers = "[[signers]]\nname = '*'\nkeys = ['pub.pem', 'b.pem']\nthreshold = 2\n";
    fixture.write("trust.toml", signers.as_bytes());
    fixture.write("b.pem", SecretKey::from_seed([2; 32]).public().to_pem().as_bytes());
    let error = refusal(&fixture, with);
    assert!(error.contains("1 of the keys") && error.contains("2 must"), "{error}");
    fixture.write("trust.toml", signers.replace("threshold = 2", "threshold = 1").as_bytes());
    assert_eq!(fixture.config().groups.get("web").unwrap().manifests.len(), 1);
}

#[test]
fn the_database_is_known_without_the_secrets() {
    let fixture = Fixture::new("replace");
    std::fs::remove_file(fixture.path("operator.token")).unwrap();
    let database = Config::database_of(&fixture.path("server.toml")).unwrap();
    assert_eq!(database, Database::Sqlite(fixture.path("congruent.db")));
}
