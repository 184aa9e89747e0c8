mod containers;
mod described;
mod groups;
mod health;
mod nodes;
mod operators;
mod revoked;

use std::future::Future;
use std::sync::Arc;

use congruent_protocol::report::{Acknowledgement, Refusal, Report};
use reqwest::Method;
use serde_json::Value;

use super::Api;
use crate::clock::{self, Clock};
use crate::serve::{Collector, install_crypto};
use crate::testing::{Fixture, sealed, server_toml, sweep, tampered, wait_for};

struct Bench {
    url: String,
    http: reqwest::Client,
    api: Arc<Api>,
    fixture: Fixture,
}

/// Runs a collector, and `test` against it; then stops it.
async fn with_collector<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    with_collector_at(clock::system(), test).await;
}

/// The same, with a clock.
async fn with_collector_at<F: Future<Output = ()>>(clock: Clock, test: impl FnOnce(Bench) -> F) {
    let fixture = Fixture::new("report-only");
    let toml =
        server_toml("report-only").replacen("silent-after", "max-body-bytes = 100000\nsilent-after", 1);
    fixture.write("server.toml", toml.as_bytes());
    with_collector_of(fixture, clock, test).await;
}

/// The same, of a configured directory.
async fn with_collector_of<F: Future<Output = ()>>(
    fixture: Fixture,
    clock: Clock,
    test: impl FnOnce(Bench) -> F,
) {
    install_crypto();
    let collector = Collector::start(fixture.config(), clock).await.unwrap();
    let api = Arc::clone(&collector.api);
    let url = collector.url().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(collector.run_until(async move {
        let _ = stopped.await;
    }));
    test(Bench { url, http, api, fixture }).await;
    let _ = stop.send(());
    running.await.unwrap().unwrap();
}

impl Bench {
    async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: Vec<u8>) -> (u16, String) {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, Some("operator-token"), vec![]).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Takes a report, as from an enrolled node.
    async fn report(&self, report: &Report) -> Acknowledgement {
        let node = self.api.config.nodes.get(&report.node).unwrap();
        self.api.ingest.take(node, sealed(report)).await.unwrap()
    }

    async fn refusal(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> (u16, Refusal) {
        let (status, body) = self.ask(method, path, token, body).await;
        (status, serde_json::from_str(&body).unwrap())
    }
}

#[tokio::test]
async fn empty_states_give_empty_lists() {
    with_collector(async |bench| {
        for (path, list) in [("/v1/decisions?node=none", "decisions"), ("/v1/actions", "actions")] {
            let answer = bench.get(path).await;
            assert_eq!(answer[list], Value::Array(vec![]), "{path}");
            assert_eq!((&answer["schema_version"], &answer["truncated"]), (&1.into(), &false.into()));
        }
        let nodes = bench.get("/v1/nodes").await;
        assert_eq!(nodes["nodes"][0]["state"], "unknown");
        assert_eq!(nodes["nodes"][0]["note"], "it has never reported");
        assert_eq!(nodes["nodes"][0]["verified_at"], Value::Null);
        assert_eq!(bench.get("/healthz").await["status"], "ok");
        assert_eq!(bench.get("/readyz").await["status"], "ready");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_json() {
    with_collector(async |bench| {
        let (get, post) = (|| Method::GET, || Method::POST);
        let operator = Some("operator-token");
        for (method, path, token, body, status, code) in [
            (get(), "/v1/nodes", None, vec![], 401, "unauthorized"),
            (get(), "/v1/nodes", Some("web-1-token"), vec![], 401, "unauthorized"),
            (get(), "/v1/nodes/none", operator, vec![], 404, "not-found"),
            (get(), "/v1/decisions/x", operator, vec![], 404, "not-found"),
            (get(), "/v1/actions/act_0", operator, vec![], 404, "not-found"),
            (get(), "/v1/none", operator, vec![], 404, "not-found"),
            (get(), "/v1/nodes?limit=0", operator, vec![], 400, "bad-query"),
            (get(), "/v1/nodes?limt=1", operator, vec![], 400, "bad-query"),
            (Method::DELETE, "/v1/nodes", operator, vec![], 405, "method-not-allowed"),
            // Nodes report on a port of their own.
            (post(), "/v1/reports", operator, vec![], 404, "not-found"),
            (post(), "/v1/heartbeats", operator, vec![], 404, "not-found"),
        ] {
            let (answered, refusal) = bench.refusal(method, path, token, body).await;
            assert_eq!((answered, refusal.code.as_str()), (status, code), "{path}: {}", refusal.message);
        }
    })
    .await;
}

#[tokio::test]
async fn a_report_is_seen_everywhere() {
    with_collector(async |bench| {
        let answer = bench.report(&sweep("web-1", 1, vec![])).await;
        assert_eq!((answer.state.name(), answer.duplicate), ("congruent", false));
        bench.report(&sweep("web-1", 2, tampered())).await;
        let node = wait_for("the decision", || async {
            let node = bench.get("/v1/nodes/web-1").await;
            (node["decision_record"]["sequence"] == 2).then_some(node)
        })
        .await;
        assert_eq!((&node["state"], &node["findings_total"]), (&"divergent".into(), &1.into()));
        assert_eq!(node["findings"][0]["path"], "/bin/tool");
        assert_eq!(node["facts"]["host_name"], "web-1.example");
        assert_eq!(node["coverage"]["mode"], "full");
        assert_eq!(node["protected"]["entries"], 5);
        assert_eq!(node["states"].as_array().unwrap().len(), 3);
        assert_eq!(node["chain"][0]["sequence"], 2, "the fixture's reports name no predecessor");
        let decisions = bench.get("/v1/decisions?node=web-1&limit=1").await;
        assert_eq!(
            (&decisions["truncated"], &decisions["decisions"][0]["sequence"]),
            (&true.into(), &2.into())
        );
        let one = bench.get(&format!("/v1/decisions/{}", decisions["decisions"][0]["id"])).await;
        assert_eq!(one["input"]["state"], "divergent");
        let (_, lines) = bench.ask(Method::GET, "/v1/cmdb/items", Some("operator-token"), vec![]).await;
        let items: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(items.len(), 2);
        assert_eq!((&items[0]["state"], &items[0]["evidence"]["sequence"]), (&"divergent".into(), &1.into()));
        assert_eq!(items[0]["manifest"]["version"], "1.4.2");
        assert_eq!((&items[1]["verified_at"], &items[1]["facts"]), (&Value::Null, &Value::Null));
    })
    .await;
}
