//! Nodes that are revoked.

use reqwest::Method;
use serde_json::Value;

use super::with_collector;
use crate::testing::{enrolment, fail_commits};

#[tokio::test]
async fn who_is_revoked_is_so_once_it_is_stored() {
    with_collector(async |bench| {
        for node in ["web-1", "web-2"] {
            let row = enrolment(node);
            bench.api.store.write("enrol", move |tx| tx.insert_enrolment(&row)).await.unwrap();
        }
        let revoke = async |node: &str| {
            let path = format!("/v1/nodes/{node}/revoke");
            bench.send("operator-token", Method::POST, &path, &Value::Null).await.0
        };
        assert_eq!(revoke("web-1").await, 200);
        assert!(!bench.api.config.nodes.contains("web-1"));
        fail_commits(&bench.api.config.database, "enrolments");
        assert_eq!(revoke("web-2").await, 503);
        assert!(bench.api.config.nodes.contains("web-2"));
    })
    .await;
}
