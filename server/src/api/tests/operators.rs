//! Who may do what, and what stands in the audit of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, with_collector};

/// The API's answer: status, and JSON.
type Answer = (u16, Value);

impl Bench {
    /// Sends JSON as the bearer of `token`, for a reason.
    pub(super) async fn send(&self, token: &str, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(token);
        let request = request.header("congruent-reason", "a test").json(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// Creates an operator; gives its token.
    pub(super) async fn operator(&self, name: &str, role: &str) -> String {
        let body = json!({ "name": name, "role": role });
        let (status, answer) = self.send("operator-token", Method::POST, "/v1/operators", &body).await;
        assert_eq!(status, 201, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }

    /// The audit as `operator action object`, the newest first.
    pub(super) async fn audit(&self) -> Vec<String> {
        let answer = self.get("/v1/audit").await;
        let line = |row: &Value| {
            let word = |key: &str| row[key].as_str().unwrap().to_owned();
            format!("{} {} {}", word("operator"), word("action"), word("object"))
        };
        answer["audit"].as_array().unwrap().iter().map(line).collect()
    }
}

/// Every route of operators, and the least role that it lets through.
fn routes() -> Vec<(Method, &'static str, &'static str)> {
    let (get, post, delete) = (|| Method::GET, || Method::POST, || Method::DELETE);
    let put = || Method::PUT;
    vec![
        (get(), "/v1/nodes", "viewer"),
        (get(), "/v1/nodes/web-1", "viewer"),
        (get(), "/v1/decisions", "viewer"),
        (get(), "/v1/decisions/1", "viewer"),
        (get(), "/v1/actions", "viewer"),
        (get(), "/v1/actions/act_0", "viewer"),
        (get(), "/v1/cmdb/items", "viewer"),
        (get(), "/v1/operators", "viewer"),
        (get(), "/v1/audit", "viewer"),
        (get(), "/v1/groups", "viewer"),
        (get(), "/v1/groups/web", "viewer"),
        (get(), "/v1/groups/web/history", "viewer"),
        (get(), "/v1/manifests", "viewer"),
        (get(), "/v1/manifests/x", "viewer"),
        (get(), "/v1/manifests/x/content", "viewer"),
        (get(), "/v1/tokens", "viewer"),
        (post(), "/v1/tokens", "operator"),
        (delete(), "/v1/tokens/none", "operator"),
        (post(), "/v1/nodes/none/revoke", "operator"),
        (put(), "/v1/groups/web", "operator"),
        (put(), "/v1/manifests/x", "operator"),
        (delete(), "/v1/manifests/x", "operator"),
        (post(), "/v1/operators", "admin"),
        (delete(), "/v1/operators/none", "admin"),
        (delete(), "/v1/nodes/none", "operator"),
        (delete(), "/v1/groups/none", "admin"),
    ]
}

#[tokio::test]
async fn every_route_lets_through_whom_it_says() {
    with_collector(async |bench| {
        let roles = ["viewer", "operator", "admin"];
        let mut tokens = Vec::new();
        for role in roles {
            tokens.push(bench.operator(&format!("a {role}"), role).await);
        }
        for (method, path, needed) in routes() {
            let (status, _) = bench.ask(method.clone(), path, None, vec![]).await;
            assert_eq!(status, 401, "{method} {path} without a token");
            let needed = roles.iter().position(|role| *role == needed).unwrap();
            for (at, token) in tokens.iter().enumerate() {
                let (status, answer) = bench.send(token, method.clone(), path, &json!({})).await;
                let shown = format!("{method} {path} as {}: {status} {answer}", roles[at]);
                if at < needed {
                    assert_eq!((status, &answer["code"]), (403, &json!("role-too-low")), "{shown}");
                } else {
                    assert!(status != 401 && status != 403 && status < 500, "{shown}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn operators_come_and_go_and_the_audit_says_who_and_why() {
    with_collector(async |bench| {
        let ops = "/v1/operators";
        let alice = bench.operator("alice", "admin").await;
        let bob = json!({ "name": "bob", "role": "viewer", "expires_at": "2199-01-01T00:00:00Z" });
        let (status, created) = bench.send(&alice, Method::POST, ops, &bob).await;
        assert_eq!((status, &created["created_by"]), (201, &json!("alice")));
        let token = created["token"].as_str().unwrap();
        assert_eq!(bench.ask(Method::GET, "/v1/nodes", Some(token), vec![]).await.0, 200);
        // Twice is as once.
        for _ in 0..2 {
            let (status, gone) = bench.send(&alice, Method::DELETE, "/v1/operators/bob", &json!({})).await;
            assert_eq!((status, &gone["revoked_by"]), (200, &json!("alice")));
        }
        let (status, refusal) = bench.refusal(Method::GET, "/v1/nodes", Some(token), vec![]).await;
        assert!(status == 401 && refusal.message.contains("\"bob\" was revoked"), "{refusal:?}");
        assert_eq!(
            bench.audit().await,
            [
                "alice operator-revoked operator bob",
                "alice operator-created operator bob",
                "config operator-created operator alice"
            ]
        );
        let first = &bench.get("/v1/audit?limit=1").await;
        assert_eq!((&first["audit"][0]["reason"], &first["truncated"]), (&json!("a test"), &json!(true)));
        let before = bench.get(&format!("/v1/audit?before={}", first["audit"][0]["id"])).await;
        assert_eq!(before["audit"].as_array().unwrap().len(), 2);
        let shown = bench.get(ops).await;
        let names: Vec<_> = shown["operators"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["config", "alice", "bob"]);
        assert!(!shown.to_string().contains("token"), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn what_changes_nothing_says_what_is_wrong() {
    with_collector(async |bench| {
        bench.operator("alice", "viewer").await;
        let ops = "/v1/operators";
        for (body, status, code) in [
            (json!({ "name": "alice", "role": "admin" }), 409, "operator-exists"),
            (json!({ "name": "config", "role": "viewer" }), 409, "declared-in-configuration"),
            (json!({ "name": "a/b", "role": "viewer" }), 422, "operator-refused"),
            (json!({ "name": "", "role": "viewer" }), 422, "operator-refused"),
            (
                json!({ "name": "eve", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z" }),
                422,
                "operator-refused",
            ),
            (json!({ "name": "eve", "role": "root" }), 400, "bad-body"),
            (json!({ "name": "eve", "role": "viewer", "rle": 1 }), 400, "bad-body"),
        ] {
            let (answered, answer) = bench.send("operator-token", Method::POST, ops, &body).await;
            assert_eq!((answered, &answer["code"]), (status, &json!(code)), "{body}: {answer}");
        }
        let revoke = |name: &str| format!("{ops}/{name}");
        for (name, status) in [("config", 409), ("none", 404)] {
            let (answered, _) = bench.send("operator-token", Method::DELETE, &revoke(name), &json!({})).await;
            assert_eq!(answered, status, "{name}");
        }
        let token = Some("operator-token");
        let (status, refusal) = bench.refusal(Method::DELETE, &revoke("alice"), token, vec![]).await;
        assert_eq!((status, refusal.code.as_str()), (400, "reason-missing"));
        assert!(refusal.message.contains("Congruent-Reason"), "{}", refusal.message);
        assert_eq!(bench.audit().await, ["config operator-created operator alice"]);
    })
    .await;
}

#[tokio::test]
async fn refused_calls_are_counted_in_one_row() {
    with_collector(async |bench| {
        let viewer = bench.operator("eve", "viewer").await;
        for name in ["a", "b", "c"] {
            let path = format!("/v1/operators/{name}");
            assert_eq!(bench.send(&viewer, Method::DELETE, &path, &json!({})).await.0, 403);
        }
        let audit = bench.get("/v1/audit").await;
        assert_eq!(bench.audit().await[0], "eve refused DELETE /v1/operators/{name}");
        let row = &audit["audit"][0];
        assert_eq!((&row["count"], &row["detail"]["needed"]), (&json!(3), &json!("admin")));
        assert_eq!(audit["audit"].as_array().unwrap().len(), 2);
    })
    .await;
}
