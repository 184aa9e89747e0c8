//! Manifests that are imported, and groups of the store, through the API.

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::key::SecretKey;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, with_collector, with_collector_at};
use crate::store::EnrolmentRow;
use crate::testing::{StandingClock, enrolment, manifest, manifest_until, root_of, time, tree};

const ADMIN: &str = "operator-token";

impl Bench {
    async fn import(&self, token: &str, root: &Digest, bytes: Vec<u8>) -> (u16, Value) {
        let url = format!("{}/v1/manifests/{root}", self.url);
        let request = self.http.put(url).bearer_auth(token).header("congruent-reason", "release");
        let response = request.body(bytes).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    async fn put_group(&self, token: &str, name: &str, group: &Value) -> (u16, Value) {
        self.send(token, Method::PUT, &format!("/v1/groups/{name}"), group).await
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

/// A group that trusts [`key`], made from `version`.
fn group(version: u64, manifests: &[&Digest]) -> Value {
    let manifests: Vec<String> = manifests.iter().map(ToString::to_string).collect();
    json!({
        "version": version,
        "environment": "prod",
        "manifests": manifests,
        "trust": { "keys": { "pub.pem": key().public().to_pem() } },
    })
}

/// `group` with one member changed.
fn with(mut group: Value, member: &str, value: Value) -> Value {
    group[member] = value;
    group
}

#[tokio::test]
async fn a_manifest_is_imported_once_whatever_its_signatures() {
    with_collector(async |bench| {
        let (root, bytes) = (root_of(&[]), manifest("1.4.2", &key()));
        let digest = Algorithm::Blake3.digest(&bytes);
        for status in [201, 200] {
            let (answered, one) = bench.import(ADMIN, &root, bytes.clone()).await;
            assert_eq!((answered, &one["digest"]), (status, &json!(digest)), "{one}");
        }
        // The same tree under another version: another file, and one root.
        let other = manifest("1.4.3", &SecretKey::from_seed([9; 32]));
        let (status, one) = bench.import(ADMIN, &root, other.clone()).await;
        assert_eq!((status, &one["others"]), (201, &json!([digest])), "{one}");
        let cut = bytes[..bytes.len() - 1].to_vec();
        for (path, body, status, code) in [
            (Algorithm::Blake3.digest(b""), bytes.clone(), 422, "root-mismatch"),
            (root, cut, 422, "manifest-refused"),
            (root, b"#!/bin/sh\n".to_vec(), 422, "manifest-refused"),
        ] {
            let (answered, refusal) = bench.import(ADMIN, &path, body).await;
            assert_eq!((answered, &refusal["code"]), (status, &json!(code)), "{refusal}");
        }
        let list = bench.get("/v1/manifests").await;
        assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
        for (id, content) in [(digest, &bytes), (Algorithm::Blake3.digest(&other), &other)] {
            let url = format!("{}/v1/manifests/{id}/content", bench.url);
            let got = bench.http.get(url).bearer_auth(ADMIN).send().await.unwrap().bytes().await.unwrap();
            assert_eq!(&got[..], &content[..]);
        }
        let imported = format!("config manifest-imported manifest {root}");
        assert_eq!(bench.audit().await, [imported.clone(), imported]);
    })
    .await;
}

#[tokio::test]
async fn a_withdrawn_manifest_is_accepted_by_no_group() {
    with_collector(async |bench| {
        let (root, bytes) = (root_of(&[]), manifest("1.4.2", &key()));
        let path = format!("/v1/manifests/{root}");
        let withdraw = || bench.send(ADMIN, Method::DELETE, &path, &Value::Null);
        assert_eq!(withdraw().await.0, 404);
        bench.import(ADMIN, &root, bytes.clone()).await;
        assert_eq!(bench.put_group(ADMIN, "db", &group(0, &[&root])).await.0, 200);
        let (status, refusal) = withdraw().await;
        assert_eq!((status, &refusal["code"]), (409, &json!("manifest-in-use")), "{refusal}");
        assert_eq!(bench.put_group(ADMIN, "db", &group(1, &[])).await.0, 200);
        for _ in 0..2 {
            assert_eq!(withdraw().await.0, 200);
        }
        let (status, refusal) = bench.put_group(ADMIN, "db", &group(2, &[&root])).await;
        assert_eq!((status, &refusal["code"]), (422, &json!("manifest-withdrawn")), "{refusal}");
        assert_eq!(bench.import(ADMIN, &root, bytes).await.0, 201);
        assert_eq!(bench.put_group(ADMIN, "db", &group(2, &[&root])).await.0, 200);
        let words: Vec<_> =
            bench.audit().await.iter().map(|row| row.split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(
            words,
            [
                "group-edited",
                "manifest-restored",
                "manifest-withdrawn",
                "group-edited",
                "group-created",
                "manifest-imported"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn groups_are_versioned_and_held_to_the_rules() {
    with_collector(async |bench| {
        let root = root_of(&[]);
        bench.import(ADMIN, &root, manifest("1.4.2", &key())).await;
        let none = Algorithm::Blake3.digest(b"none");
        let toml = |text: &str| json!({ "keys": { "a": key().public().to_pem() }, "config": text });
        let signers = "[[signers]]\nname = '*'\nkeys = ['a']\n";
        let empty = || group(0, &[]);
        for (name, wanted, status, code, says) in [
            ("web", empty(), 409, "declared-in-configuration", "change it there"),
            ("db", group(1, &[]), 404, "not-found", "version 0 makes a new one"),
            ("db", group(0, &[&none]), 422, "manifest-unknown", "import it"),
            ("d%2Fb", empty(), 422, "group-refused", "printable characters"),
            ("db", with(empty(), "webhook", json!("none")), 422, "group-refused", "known are platform"),
            ("db", with(empty(), "mode", json!("replace")), 422, "group-refused", "no webhook"),
            ("db", with(empty(), "mode", json!("replce")), 400, "bad-body", "replce"),
            ("db", with(empty(), "environment", json!("")), 422, "group-refused", "environment"),
            ("db", with(group(0, &[&root]), "trust", json!({})), 422, "group-refused", "trusts no key"),
            (
                "db",
                with(empty(), "trust", json!({ "keys": { "a": "PEM" } })),
                422,
                "group-refused",
                "which is no key",
            ),
            (
                "db",
                with(empty(), "trust", toml("x = 1")),
                422,
                "group-refused",
                "trust configuration of group \"db\" is not valid",
            ),
            (
                "db",
                with(empty(), "trust", toml(&signers.replace("'a'", "'a', 'b'"))),
                422,
                "group-refused",
                "names the key \"b\"",
            ),
            (
                "db",
                with(group(0, &[&root]), "trust", toml(&format!("floor = ['/tmp']\n{signers}"))),
                422,
                "group-refused",
                "/tmp",
            ),
            ("db", with(empty(), "add_ons", json!([root])), 422, "group-refused", "is a base"),
        ] {
            let (answered, answer) = bench.put_group(ADMIN, name, &wanted).await;
            assert_eq!((answered, &answer["code"]), (status, &json!(code)), "{wanted}: {answer}");
            assert!(answer["message"].as_str().unwrap().contains(says), "{says}: {answer}");
        }
        // A stranger's manifest is known, and not accepted.
        let stranger = SecretKey::from_seed([9; 32]);
        let theirs = manifest("1.4.2", &stranger);
        let digest = Algorithm::Blake3.digest(&theirs);
        assert_eq!(bench.import(ADMIN, &root, theirs).await.0, 201);
        let (_, answer) = bench.put_group(ADMIN, "db", &group(0, &[&digest])).await;
        assert!(answer["message"].as_str().unwrap().contains("no trusted key signed"), "{answer}");
        let (_, answer) = bench.put_group(ADMIN, "db", &group(0, &[&root])).await;
        assert_eq!(answer["code"], "manifest-ambiguous", "{answer}");
        assert_eq!(bench.get("/v1/groups").await["groups"].as_array().unwrap().len(), 1);

        let ours = Algorithm::Blake3.digest(&manifest("1.4.2", &key()));
        let trusting = with(group(0, &[&ours]), "trust", toml(signers));
        for (wanted, version) in [
            (trusting.clone(), 1),
            (with(trusting.clone(), "version", json!(1)), 1),
            (with(with(trusting.clone(), "version", json!(1)), "environment", json!("dev")), 2),
        ] {
            let (status, answer) = bench.put_group(ADMIN, "db", &wanted).await;
            assert_eq!((status, &answer["version"]), (200, &json!(version)), "{answer}");
        }
        let (_, answer) = bench.put_group(ADMIN, "db", &trusting).await;
        assert_eq!(answer["code"], "group-exists", "{answer}");
        let (status, answer) = bench.put_group(ADMIN, "db", &with(trusting, "version", json!(1))).await;
        assert_eq!((status, &answer["code"]), (409, &json!("version-conflict")));
        assert!(answer["message"].as_str().unwrap().contains("is at version 2"), "{answer}");
        let history = bench.get("/v1/groups/db/history").await;
        let versions = history["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 2);
        assert_eq!((&versions[1]["environment"], &versions[0]["reason"]), (&json!("prod"), &json!("a test")));
        let audit = bench.get("/v1/audit?limit=1").await;
        assert_eq!(
            audit["audit"][0]["detail"],
            json!({ "version": 2, "environment": { "was": "prod", "is": "dev" } })
        );
        let shown = bench.get("/v1/groups/db").await;
        assert_eq!((&shown["declared_in"], &shown["trust"]["config"]), (&json!("store"), &json!(signers)));
        assert_eq!(bench.get("/v1/groups/web").await["declared_in"], "configuration");
    })
    .await;
}

#[tokio::test]
async fn a_group_can_be_edited_when_what_it_accepts_has_expired() {
    let clock = StandingClock::at("2026-03-01T00:00:00Z");
    with_collector_at(clock.clock(), async |bench| {
        let (root, expires) = (root_of(&[]), time("2026-03-02T00:00:00Z"));
        let bytes = manifest_until(&tree(), "1.4.2", &key(), Some(expires));
        bench.import(ADMIN, &root, bytes).await;
        let (status, answer) = bench.put_group(ADMIN, "db", &group(0, &[&root])).await;
        assert_eq!(status, 200, "{answer}");
        clock.set("2026-03-03T00:00:00Z");
        let edited = with(with(group(1, &[&root]), "mode", json!("replace")), "webhook", json!("platform"));
        let (status, answer) = bench.put_group(ADMIN, "db", &edited).await;
        assert_eq!((status, &answer["version"]), (200, &json!(2)), "{answer}");
        // A group that did not accept it in time does not begin to.
        let (status, answer) = bench.put_group(ADMIN, "late", &group(0, &[&root])).await;
        assert_eq!((status, &answer["code"]), (422, &json!("group-refused")), "{answer}");
        assert!(answer["message"].as_str().unwrap().contains("expired at"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn whom_a_group_trusts_is_for_admins() {
    with_collector(async |bench| {
        let (root, bytes) = (root_of(&[]), manifest("1.4.2", &key()));
        let operator = bench.operator("olga", "operator").await;
        assert_eq!(bench.put_group(&operator, "db", &group(0, &[])).await.0, 403);
        assert_eq!(bench.put_group(ADMIN, "db", &group(0, &[])).await.0, 200);
        assert_eq!(bench.import(&operator, &root, bytes).await.0, 201);
        assert_eq!(bench.put_group(&operator, "db", &group(1, &[&root])).await.0, 200);
        for (member, value) in [("environment", json!("dev")), ("webhook", json!("platform"))] {
            let wanted = with(group(2, &[&root]), member, value);
            let (status, answer) = bench.put_group(&operator, "db", &wanted).await;
            assert_eq!((status, &answer["code"]), (403, &json!("role-too-low")), "{answer}");
        }
        let audit = bench.get("/v1/audit").await;
        let refused = &audit["audit"][0];
        // The first refusal stands where it came; those that follow are counted.
        assert_eq!(refused["action"], "group-edited");
        let refused = audit["audit"].as_array().unwrap().iter().find(|row| row["action"] == "refused");
        assert_eq!(refused.map(|row| &row["count"]), Some(&json!(3)));
    })
    .await;
}

#[tokio::test]
async fn a_group_is_deleted_once_nobody_needs_it_and_its_history_stays() {
    with_collector(async |bench| {
        let delete = async |name: &str| {
            bench.send(ADMIN, Method::DELETE, &format!("/v1/groups/{name}"), &Value::Null).await
        };
        let (status, refusal) = delete("none").await;
        assert_eq!((status, &refusal["message"]), (404, &json!("there is no group \"none\"; known are web")));
        assert_eq!(delete("web").await.1["code"], json!("declared-in-configuration"));

        assert_eq!(bench.put_group(ADMIN, "db", &group(0, &[])).await.0, 200);
        let (status, refusal) = bench.put_group(ADMIN, "db", &group(0, &[])).await;
        assert_eq!((status, &refusal["code"]), (409, &json!("group-exists")), "{refusal}");
        let token = json!({ "group": "db" });
        let (_, token) = bench.send(ADMIN, Method::POST, "/v1/tokens", &token).await;
        let id = token["id"].as_str().unwrap();
        let (status, refusal) = delete("db").await;
        assert_eq!((status, &refusal["code"]), (409, &json!("group-in-use")), "{refusal}");
        assert!(refusal["message"].as_str().unwrap().contains(id), "{refusal}");
        let revoked = bench.send(ADMIN, Method::DELETE, &format!("/v1/tokens/{id}"), &Value::Null).await;
        assert_eq!(revoked.0, 200);
        bench.enrol(EnrolmentRow { group: "db".to_owned(), ..enrolment("db-1") }).await;
        let (status, refusal) = delete("db").await;
        assert!(status == 409 && refusal["message"].as_str().unwrap().contains("\"db-1\""), "{refusal}");
        let forgotten = bench.send(ADMIN, Method::DELETE, "/v1/nodes/db-1?revoke=true", &Value::Null).await;
        assert_eq!(forgotten.0, 200);

        let (status, gone) = delete("db").await;
        assert_eq!((status, &gone["version"]), (200, &json!(2)), "{gone}");
        assert!(bench.api.config.groups.get("db").is_none());
        assert_eq!(bench.get("/v1/groups").await["groups"].as_array().unwrap().len(), 1);
        let (status, refusal) =
            bench.send(ADMIN, Method::POST, "/v1/tokens", &json!({ "group": "db" })).await;
        assert_eq!((status, &refusal["code"]), (422, &json!("group-unknown")), "{refusal}");
        assert_eq!(bench.put_group(ADMIN, "db", &group(2, &[])).await.0, 404);
        // Made again it goes on counting, so that no version is two.
        let (status, again) = bench.put_group(ADMIN, "db", &group(0, &[])).await;
        assert_eq!((status, &again["version"]), (200, &json!(3)), "{again}");
        let history = bench.get("/v1/groups/db/history").await;
        let told: Vec<_> =
            history["versions"].as_array().unwrap().iter().map(|one| &one["deleted"]).collect();
        assert_eq!(told, [&json!(false), &json!(true), &json!(false)]);
        assert_eq!(
            bench.audit().await[..2],
            ["config group-created group db", "config group-deleted group db"]
        );
    })
    .await;
}
