//! Containers, as operators see them; and which manifests a node gets for an image.

use std::path::PathBuf;
use std::sync::Arc;

use congruent_protocol::report::{ContainerIdentity, Outcome};
use reqwest::Method;
use serde_json::json;

use super::{Bench, with_collector_of};
use crate::clock;
use crate::subject::SubjectId;
use crate::testing::containers::{accept_image, changed, config_digest, damaged, listing, looked};
use crate::testing::{Fixture, large, wait_for};

impl Bench {
    /// The containers that a list has, as `node/id state`.
    async fn listed(&self, path: &str) -> Vec<String> {
        let answer = self.get(path).await;
        let show = |row: &serde_json::Value| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            format!("{}/{} {}", text("node"), text("id"), text("state"))
        };
        answer["containers"].as_array().unwrap().iter().map(show).collect()
    }

    async fn status(&self, path: &str) -> u16 {
        self.ask(Method::GET, path, Some("operator-token"), vec![]).await.0
    }
}

async fn with_containers<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    let fixture = Fixture::new("report-only");
    accept_image(&fixture, "report-only");
    with_collector_of(fixture, clock::system(), async |bench| {
        bench.report(&looked("web-1", 1, "c1", vec![], &[])).await;
        bench.report(&damaged("web-1", 2, "c2")).await;
        bench.report(&listing("web-1", 3, &["c1", "c2"])).await;
        bench.report(&changed("web-2", 1, "c9")).await;
        test(bench).await;
    })
    .await;
}

#[tokio::test]
async fn lists_have_the_containers_that_are_asked_for() {
    with_containers(async |bench| {
        for (path, expected) in [
            ("/v1/containers", vec!["web-1/c1 congruent", "web-1/c2 divergent", "web-2/c9 divergent"]),
            ("/v1/containers?state=divergent", vec!["web-1/c2 divergent", "web-2/c9 divergent"]),
            ("/v1/containers?group=other", vec![]),
            ("/v1/containers?after=web-1/c1&limit=1", vec!["web-1/c2 divergent"]),
            ("/v1/nodes/web-1/containers", vec!["web-1/c1 congruent", "web-1/c2 divergent"]),
            ("/v1/nodes/web-1/containers?state=silent", vec![]),
        ] {
            assert_eq!(bench.listed(path).await, expected, "{path}");
        }
        let page = bench.get("/v1/containers?limit=2").await;
        assert_eq!((&page["next"], &page["truncated"]), (&json!("web-1/c2"), &json!(true)));
        let node = bench.get("/v1/nodes/web-1").await;
        assert_eq!(node["containers"], json!({"congruent": 1, "divergent": 1}));
        let cmdb = bench.ask(Method::GET, "/v1/cmdb/items", Some("operator-token"), vec![]).await.1;
        let line = cmdb.lines().find(|line| line.contains("\"c1\"")).unwrap();
        let item: serde_json::Value = serde_json::from_str(line).unwrap();
        let [c1, c2] = &item["containers"].as_array().unwrap()[..] else { panic!("{item}") };
        assert_eq!((&c1["state"], &c1["manifest"]["name"]), (&json!("congruent"), &json!("app")));
        assert_eq!((&c2["state"], &c2["manifest"]), (&json!("divergent"), &json!(null)));
        // Lists of nodes have no container in them.
        assert_eq!(bench.get("/v1/nodes").await["totals"]["all"], 2);
        assert_eq!(bench.status("/v1/nodes/none/containers").await, 404);
        assert_eq!(bench.status("/v1/containers?after=c1").await, 400);
    })
    .await;
}

#[tokio::test]
async fn a_container_is_shown_with_all_that_is_known() {
    with_containers(async |bench| {
        let path = "/v1/nodes/web-1/containers/c2";
        let is_judged = || async { Some(bench.get(path).await).filter(|c2| !c2["decision"].is_null()) };
        let c2 = wait_for("the decision", is_judged).await;
        assert_eq!(
            (&c2["name"], &c2["image"], &c2["state"]),
            (&json!("web"), &json!("app:1"), &json!("divergent"))
        );
        assert_eq!(c2["manifest"]["name"], "app");
        assert_eq!((&c2["findings_total"], &c2["findings"]), (&json!(1), &json!([])));
        let layer = &c2["layers"][0];
        assert_eq!((&layer["state"], &layer["shared_by"]), (&json!("divergent"), &json!(["c1", "c2"])));
        assert_eq!(layer["findings"][0]["path"], "/bin/planted");
        let action = &c2["actions"][0];
        assert_eq!((&action["node"], &action["container"]), (&json!("web-1"), &json!("c2")));
        assert_eq!(bench.get("/v1/nodes/web-1").await["actions"], json!([]), "the node has none of its own");
        let decisions = bench.get("/v1/decisions?node=web-1").await;
        let of_c2 = |row: &&serde_json::Value| row["container"] == "c2" && row["state"] == "divergent";
        assert_eq!(decisions["decisions"].as_array().unwrap().iter().filter(of_c2).count(), 1);
        assert_eq!(bench.status("/v1/nodes/web-1/containers/none").await, 404);
    })
    .await;
}

#[tokio::test]
async fn a_container_is_meant_by_id_name_or_the_beginning_of_its_id() {
    with_containers(async |bench| {
        let several = "may be any of docker c1, docker c2: give more of the id";
        let listed = "`congruent-server container list --node NODE` has those that run";
        for (path, expected) in [
            ("web-1/containers/c1", Ok("c1")),
            ("web-2/containers/c", Ok("c9")),
            ("web-2/containers/web", Ok("c9")),
            ("web-1/containers/c", Err((409, "ambiguous", several))),
            ("web-1/containers/web", Err((409, "ambiguous", several))),
            ("web-1/containers/c9", Err((404, "not-found", listed))),
            ("none/containers/c1", Err((404, "not-found", "there is no such node as \"none\""))),
        ] {
            let path = format!("/v1/nodes/{path}");
            let (status, answer) = bench.ask(Method::GET, &path, Some("operator-token"), vec![]).await;
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            match expected {
                Ok(id) => assert_eq!((status, &answer["id"]), (200, &json!(id)), "{path}"),
                Err((refused, code, says)) => {
                    assert_eq!((status, &answer["code"]), (refused, &json!(code)), "{path}");
                    assert!(answer["message"].as_str().unwrap().contains(says), "{path}: {answer}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_known_of_a_container_that_is_over_is_shown() {
    with_containers(async |bench| {
        let shown = async |word: &str| bench.get(&format!("/v1/nodes/web-1/containers/{word}")).await;
        let states = |of: &serde_json::Value| {
            let states = of["states"].as_array().unwrap().iter();
            states.map(|change| change["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(shown("c2").await["last_state"], json!(null), "it runs");
        bench.report(&listing("web-1", 4, &["c1"])).await;
        let c2 = shown("c2").await;
        assert_eq!(
            (&c2["state"], &c2["note"], &c2["last_state"]),
            (&json!("over"), &json!("the container runs no more"), &json!("divergent"))
        );
        assert_eq!(c2["since"], c2["states"][0]["at"]);
        assert_eq!(states(&c2), ["over", "divergent"]);
        assert_eq!(
            (&c2["name"], &c2["image"], &c2["runtime"]),
            (&json!("web"), &json!("app:1"), &json!("docker"))
        );
        assert_eq!((&c2["report"]["sequence"], &c2["findings_total"]), (&json!(2), &json!(1)));
        assert_eq!(c2["layers"][0]["findings"][0]["path"], "/bin/planted");
        assert_eq!((&c2["verified_at"], &c2["decision"]), (&json!(null), &json!(null)));
        assert_eq!(bench.listed("/v1/nodes/web-1/containers").await, ["web-1/c1 congruent"]);
        assert_eq!(shown("web").await["id"], "c1", "what runs goes before what is over");

        bench.report(&listing("web-1", 5, &[])).await;
        let c1 = shown("c1").await;
        assert_eq!((&c1["state"], &c1["last_state"]), (&json!("over"), &json!("congruent")));
        assert_eq!(c1["verified_at"], c1["reported_at"]);
        let (status, refusal) =
            bench.ask(Method::GET, "/v1/nodes/web-1/containers/web", Some("operator-token"), vec![]).await;
        assert_eq!(status, 409);
        assert!(refusal.contains("docker c1 (over), docker c2 (over)"), "{refusal}");

        // It was started again.
        bench.report(&looked("web-1", 6, "c1", vec![], &[])).await;
        let c1 = shown("web").await;
        assert_eq!(
            (&c1["id"], &c1["state"], &c1["last_state"]),
            (&json!("c1"), &json!("congruent"), &json!(null))
        );
        assert_eq!(states(&c1), ["congruent", "over", "congruent"]);
        assert_eq!(bench.status("/v1/nodes/web-2/containers/c1").await, 404);
    })
    .await;
}

#[tokio::test]
async fn what_is_over_has_the_name_that_it_had_at_its_end() {
    with_containers(async |bench| {
        let ending = bench.api.store.write("rename it and end it", |tx| {
            let c2 = SubjectId::container("web-1", "c2");
            let row = tx.subject(&c2)?.unwrap();
            let identity =
                ContainerIdentity { name: Some("shop".to_owned()), ..row.identity.clone().unwrap() };
            tx.set_identity(&row, &identity)?;
            tx.end_container(&c2, row.since, "it is gone")
        });
        ending.await.unwrap();
        let shown = bench.get("/v1/nodes/web-1/containers/shop").await;
        assert_eq!(
            (&shown["id"], &shown["name"], &shown["report"]["sequence"]),
            (&json!("c2"), &json!("shop"), &json!(2))
        );
    })
    .await;
}

#[tokio::test]
async fn of_what_is_over_is_shown_what_is_left_where_its_report_is_lost() {
    with_containers(async |bench| {
        let mut report = looked("web-1", 4, "c2", vec![], &[]);
        let Outcome::Verified(verification) = &mut report.outcome else { panic!("a sweep verifies") };
        let Outcome::Verified(noise) = large("web-1", 4).outcome else { panic!("a sweep verifies") };
        verification.coverage.unreadable = noise.coverage.unreadable;
        (verification.conditional, verification.state) = (noise.conditional, noise.state);
        bench.report(&report).await;
        let is_body = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "report");
        let files = std::fs::read_dir(bench.fixture.path("manifests")).unwrap();
        let bodies: Vec<_> = files.map(|file| file.unwrap().path()).filter(is_body).collect();
        let [body] = &bodies[..] else { panic!("{bodies:?}") };

        let path = "/v1/nodes/web-1/containers/c2";
        let (whole, gone) = (std::fs::read(body).unwrap(), || std::fs::remove_file(body).unwrap());
        gone();
        let (status, refusal) = bench.refusal(Method::GET, path, Some("operator-token"), vec![]).await;
        assert_eq!((status, refusal.code.as_str()), (503, "evidence-unavailable"), "while it runs");
        std::fs::write(body, whole).unwrap();
        bench.report(&listing("web-1", 5, &["c1"])).await;
        let shown = bench.get(path).await;
        assert_eq!((&shown["report_lost"], &shown["coverage"]["mode"]), (&json!(null), &json!("full")));
        gone();
        let shown = bench.get(path).await;
        assert_eq!(
            (&shown["state"], &shown["last_state"], &shown["name"]),
            (&json!("over"), &json!("incomplete"), &json!("web"))
        );
        assert_eq!((&shown["report"]["sequence"], &shown["coverage"]), (&json!(4), &json!(null)));
        assert!(shown["report_lost"].as_str().unwrap().contains("is missing"), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_node_shows_what_is_to_happen_to_it_for_its_container() {
    let fixture = Fixture::new("report-only");
    accept_image(&fixture, "report-only");
    std::fs::create_dir(fixture.path("policy")).unwrap();
    fixture.write("policy/rules.rego", FOR_THE_NODE.as_bytes());
    let toml = std::fs::read_to_string(fixture.path("server.toml")).unwrap();
    fixture.write("server.toml", format!("policy = \"policy\"\n{toml}").as_bytes());
    with_collector_of(fixture, clock::system(), async |bench| {
        // Of one container the node is to be replaced, and the other is.
        bench.report(&changed("web-1", 1, "c1")).await;
        bench.report(&damaged("web-1", 2, "c2")).await;
        bench.report(&listing("web-1", 3, &["c1", "c2"])).await;
        let are_noted = || async {
            let actions = bench.get("/v1/actions?node=web-1").await;
            (actions["actions"].as_array().unwrap().len() == 2).then_some(())
        };
        wait_for("both actions", are_noted).await;
        let node = bench.get("/v1/nodes/web-1").await;
        let [action] = &node["actions"].as_array().unwrap()[..] else { panic!("{node}") };
        assert_eq!((&action["container"], &action["target"]), (&json!("c1"), &json!("node")));
        assert_eq!(bench.get("/v1/nodes/web-2").await["actions"], json!([]));
    })
    .await;
}

const FOR_THE_NODE: &str = r#"
package congruent

default decision := {"action": "observe", "severity": "low", "reasons": [], "controls": []}

decision := {"action": "replace", "target": target, "severity": "high", "reasons": [], "controls": []} if {
    input.state == "divergent"
}

target := "node" if input.subject.container.id == "c1"

target := "subject" if input.subject.container.id != "c1"
"#;

#[tokio::test]
async fn a_node_learns_which_manifests_an_image_may_be_held_to() {
    let fixture = Fixture::new("report-only");
    accept_image(&fixture, "report-only");
    let config = Arc::new(fixture.config());
    let group = config.group_of("web-1").unwrap();
    let [root] = group.manifests_of_image(&config_digest())[..] else { panic!("one is accepted") };
    assert!(group.file_of(&root).is_some());
    let other = congruent_protocol::digest::Algorithm::Sha256.digest(b"other");
    assert!(group.manifests_of_image(&other).is_empty());
}
