//! Readiness and metrics, when all is well and when the store is not.

use futures_util::future::join_all;

use crate::testing::hold_writes;

use super::*;

/// The value of a series, as `/metrics` tells it.
async fn told(bench: &Bench, series: &str) -> f64 {
    let (status, text) = bench.ask(Method::GET, "/metrics", None, vec![]).await;
    assert_eq!(status, 200);
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn readiness_names_what_does_not_hold_and_comes_back() {
    with_collector(async |bench| {
        let write = |answer: &Value| {
            let checks = answer["checks"].as_array().unwrap().clone();
            checks.into_iter().find(|check| check["name"] == "store-write-milliseconds").unwrap()
        };
        let ready = bench.get("/readyz").await;
        assert_eq!((&ready["status"], &write(&ready)["ok"]), (&"ready".into(), &true.into()));
        assert_eq!(ready["checks"].as_array().unwrap().len(), 6, "{ready}");
        // Another program keeps the database to itself.
        let held = hold_writes(&bench.api.config.database);
        let unready = wait_for("it to be unready", || async {
            let (status, body) = bench.ask(Method::GET, "/readyz", None, vec![]).await;
            (status == 503).then(|| serde_json::from_str::<Value>(&body).unwrap())
        });
        let unready = unready.await;
        assert_eq!((&unready["code"], &write(&unready)["ok"]), (&"not-ready".into(), &false.into()));
        assert!(unready["message"].as_str().unwrap().starts_with("store-write-milliseconds: "), "{unready}");
        assert_eq!(told(&bench, "congruent_ready{check=\"store-write-milliseconds\"}").await, 0.0);
        assert_eq!(bench.get("/healthz").await["status"], "ok", "the process answers");
        drop(held);
        wait_for("it to be ready again", || async {
            let (status, _) = bench.ask(Method::GET, "/readyz", None, vec![]).await;
            (status == 200).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn who_asks_often_writes_no_more_often() {
    with_collector(async |bench| {
        let count = "congruent_store_transaction_duration_seconds_count";
        let before = told(&bench, count).await;
        let asking = (0..100).map(|_| bench.ask(Method::GET, "/readyz", None, vec![]));
        assert!(join_all(asking).await.iter().all(|(status, _)| *status == 200));
        let written = told(&bench, count).await - before;
        assert!(written <= 5.0, "{written} writes for 100 looks");
    })
    .await;
}

#[tokio::test]
async fn openmetrics_are_told_to_who_asks_for_them() {
    with_collector(async |bench| {
        for (accept, content_type, end) in [
            (
                "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
                "application/openmetrics-text",
                true,
            ),
            ("text/plain;version=0.0.4", "text/plain", false),
        ] {
            let request = bench.http.get(format!("{}/metrics", bench.url)).header("accept", accept);
            let response = request.send().await.unwrap();
            let said = response.headers()["content-type"].to_str().unwrap().to_owned();
            assert!(said.starts_with(content_type), "{said}");
            assert_eq!(response.text().await.unwrap().ends_with("# EOF\n"), end, "{accept}");
        }
    })
    .await;
}
