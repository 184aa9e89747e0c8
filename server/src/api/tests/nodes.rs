//! Lists of nodes, and nodes that are forgotten.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, with_collector};
use crate::config::Node;
use crate::store::EnrolmentRow;
use crate::subject::SubjectId;
use crate::testing::{enrolment, fail_commits, sweep, tampered, wait_for};

impl Bench {
    /// Enrols a node, as the enroller does.
    pub(super) async fn enrol(&self, row: EnrolmentRow) {
        let (config, now) = (self.api.config.clone(), (self.api.clock)());
        let node = Node::enrolled(&row);
        let enrolling = self.api.store.write_then(
            "enrol",
            move |tx| {
                tx.insert_enrolment(&row)?;
                match tx.node(&row.node)? {
                    None => tx.insert_subject(&SubjectId::node(&row.node), &row.group, now, "new"),
                    Some(_) => tx.begin_node_anew(&row.node, &row.group, now, "new"),
                }
            },
            move |()| config.nodes.admit(node),
        );
        enrolling.await.unwrap();
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("/v1/nodes{query}")).await;
        let ids = answer["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    }

    async fn forget(&self, node: &str, query: &str) -> (u16, Value) {
        let path = format!("/v1/nodes/{node}{query}");
        self.send("operator-token", Method::DELETE, &path, &Value::Null).await
    }
}

#[tokio::test]
async fn pages_follow_one_another_and_totals_come_with_the_first() {
    with_collector(async |bench| {
        for number in 1..=5 {
            bench.enrol(enrolment(&format!("db-{number}"))).await;
        }
        let first = bench.get("/v1/nodes?limit=3").await;
        assert_eq!((&first["next"], &first["truncated"]), (&json!("db-3"), &json!(true)));
        let totals =
            json!({ "all": 7, "congruent": 0, "divergent": 0, "incomplete": 0, "silent": 0, "unknown": 7 });
        assert_eq!(first["totals"], totals);
        // One that is gone and one that comes change nothing for the others.
        assert_eq!(bench.forget("db-3", "?revoke=true").await.0, 200);
        bench.enrol(enrolment("db-35")).await;
        let second = bench.get("/v1/nodes?limit=3&after=db-3").await;
        assert_eq!((&second["next"], &second["totals"]), (&json!("db-5"), &json!(null)));
        assert_eq!(bench.ids("?limit=3&after=db-3").await, ["db-35", "db-4", "db-5"]);
        let last = bench.get("/v1/nodes?limit=3&after=db-5").await;
        assert_eq!((&last["next"], &last["truncated"]), (&json!(null), &json!(false)));
        assert_eq!(bench.ids("?limit=3&after=db-5").await, ["web-1", "web-2"]);
        assert!(bench.ids("?after=web-2").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn lists_are_of_what_was_asked_for() {
    with_collector(async |bench| {
        bench.report(&sweep("web-1", 1, tampered())).await;
        let verdict = wait_for("the decision", || async {
            let shown = bench.get("/v1/nodes?state=divergent").await;
            // What stood before the report, as a node that had never reported, was observed.
            shown["nodes"][0]["verdict"].as_str().filter(|verdict| *verdict != "observe").map(str::to_owned)
        })
        .await;
        for (query, found) in [
            ("?state=divergent".to_owned(), &["web-1"][..]),
            ("?state=divergent&group=web".to_owned(), &["web-1"]),
            ("?state=divergent&group=db".to_owned(), &[]),
            (format!("?verdict={verdict}&state=divergent"), &["web-1"]),
            ("?verdict=quarantine".to_owned(), &[]),
            ("?name=EB-2".to_owned(), &["web-2"]),
            ("?name=*-1".to_owned(), &["web-1"]),
            ("?prefix=web".to_owned(), &["web-1", "web-2"]),
            ("?node=web-2".to_owned(), &["web-2"]),
            // The report is a sign of life.
            ("?silent_for=1h".to_owned(), &["web-2"]),
            ("?revoked=true".to_owned(), &[]),
        ] {
            assert_eq!(bench.ids(&query).await, found, "{query}");
        }
        let long = "x".repeat(801);
        for (query, says) in [
            ("?state=bad".to_owned(), "unknown variant `bad`"),
            ("?silent_for=-1h".to_owned(), "such as 10m"),
            ("?silent_for=soon".to_owned(), "silent_for"),
            (format!("?name={long}"), "over 800 bytes"),
            ("?limit=1001".to_owned(), "from 1 to 1000"),
            ("?revoked=maybe".to_owned(), "revoked"),
        ] {
            let path = format!("/v1/nodes{query}");
            let (status, refusal) = bench.refusal(Method::GET, &path, Some("operator-token"), vec![]).await;
            assert_eq!((status, refusal.code.as_str()), (400, "bad-query"), "{query}");
            assert!(refusal.message.contains(says), "{query}: {}", refusal.message);
        }
    })
    .await;
}

#[tokio::test]
async fn signs_of_life_are_seen_before_the_store_is_told() {
    with_collector(async |bench| {
        assert_eq!(bench.get("/v1/nodes/web-1").await["last_seen"], json!(null));
        let now = (bench.api.clock)();
        bench.api.ingest.arrived.liveness.hear("web-1", "boot-1", now);
        assert_eq!(bench.get("/v1/nodes/web-1").await["last_seen"], json!(now));
        assert_eq!(bench.get("/v1/nodes").await["nodes"][0]["last_seen"], json!(now));
        assert_eq!(bench.ids("?silent_for=1h").await, ["web-2"]);
    })
    .await;
}

#[tokio::test]
async fn a_revoked_node_is_listed_apart_until_it_is_forgotten() {
    with_collector(async |bench| {
        bench.enrol(enrolment("db-1")).await;
        let revoked = bench.send("operator-token", Method::POST, "/v1/nodes/db-1/revoke", &Value::Null).await;
        assert_eq!(revoked.0, 200);
        assert_eq!(bench.ids("").await, ["web-1", "web-2"]);
        let listed = &bench.get("/v1/nodes?revoked=true").await["nodes"][0];
        assert_eq!((&listed["id"], &listed["group"]), (&json!("db-1"), &json!("web")));
        let shown = bench.get("/v1/nodes/db-1").await;
        assert_eq!(
            (&shown["enrolled"], &shown["enrolment"]["revoked_why"]),
            (&json!(false), &json!("a test"))
        );
        let (status, forgotten) = bench.forget("db-1", "").await;
        assert_eq!((status, &forgotten["revoked"]), (200, &json!(false)), "{forgotten}");
        assert!(bench.ids("?revoked=true").await.is_empty());
        assert_eq!(bench.forget("db-1", "").await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn what_is_forgotten_is_nowhere_but_in_evidence() {
    with_collector(async |bench| {
        bench.enrol(enrolment("db-1")).await;
        bench.report(&sweep("db-1", 1, tampered())).await;
        let (status, refusal) = bench.forget("db-1", "").await;
        assert_eq!((status, &refusal["code"]), (409, &json!("node-enrolled")), "{refusal}");
        assert!(refusal["message"].as_str().unwrap().contains("--revoke"), "{refusal}");
        assert_eq!(bench.get("/v1/nodes/db-1").await["enrolled"], json!(true));

        let (status, forgotten) = bench.forget("db-1", "?revoke=true").await;
        assert_eq!((status, &forgotten["revoked"]), (200, &json!(true)), "{forgotten}");
        assert!(!bench.api.config.nodes.contains("db-1"));
        assert_eq!(bench.api.ingest.arrived.liveness.last("db-1"), None);
        let (status, refusal) =
            bench.refusal(Method::GET, "/v1/nodes/db-1", Some("operator-token"), vec![]).await;
        assert!(status == 404 && refusal.message.contains("\"db-1\""), "{}", refusal.message);
        assert_eq!(
            bench.audit().await[..2],
            ["config node-forgotten node db-1", "config node-revoked node db-1"]
        );
        let kept = bench.api.store.read("read", |view| {
            Ok((view.newest_report("db-1")?.is_some(), view.states_of(&SubjectId::node("db-1"), 9)?.len()))
        });
        assert_eq!(kept.await.unwrap(), (true, 2));
        // Nothing that it said holds up others.
        bench.report(&sweep("web-1", 1, tampered())).await;
        wait_for("the decision", || async {
            let node = bench.get("/v1/nodes/web-1").await;
            (node["decision_record"]["sequence"] == 1).then_some(())
        })
        .await;

        let anew = EnrolmentRow { id: "enr_anew".to_owned(), key: "another".to_owned(), ..enrolment("db-1") };
        bench.enrol(anew).await;
        let shown = bench.get("/v1/nodes/db-1").await;
        assert_eq!(
            (&shown["state"], &shown["report"], &shown["last_seen"]),
            (&json!("unknown"), &json!(null), &json!(null))
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_not_stored_is_not_forgotten() {
    with_collector(async |bench| {
        bench.enrol(enrolment("db-1")).await;
        fail_commits(&bench.api.config.database, "enrolments");
        assert_eq!(bench.forget("db-1", "?revoke=true").await.0, 503);
        assert!(bench.api.config.nodes.contains("db-1"));
        assert_eq!(bench.get("/v1/nodes/db-1").await["enrolled"], json!(true));
    })
    .await;
}
