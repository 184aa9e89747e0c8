//! What is described is what is served: every route, every method, every role.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::with_collector;
use crate::api::{agents_json, operators_json};

/// Each path, and its methods.
type Routes = BTreeMap<String, BTreeSet<String>>;

fn operations(document: &str) -> Vec<(String, String, Value)> {
    let document: Value = serde_json::from_str(document).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    operations
}

fn described(document: &str) -> Routes {
    let mut routes = Routes::new();
    for (path, method, _) in operations(document) {
        routes.entry(path).or_default().insert(method);
    }
    routes
}

/// What axum keeps its fallback at, which is no route of ours.
const FALLBACK: [&str; 2] = ["/", "/{*__private__axum_fallback}"];

/// The paths that a router knows. It tells them to whoever debugs, and to nobody else.
fn served(router: &Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    let paths = text.split('"').filter(|part| part.starts_with('/') && !FALLBACK.contains(part));
    paths.map(str::to_owned).collect()
}

async fn ask(router: &Router, method: &str, path: &str) -> Response {
    let path = path.replace(['{', '}'], "");
    let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    let service = TowerToHyperService::new(router.clone());
    Service::call(&service, request.body(Body::empty()).unwrap()).await.unwrap()
}

/// The states that the schema of a component has.
fn states_of(component: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(operators_json()).unwrap();
    let schemas = &document["components"]["schemas"];
    let parts = schemas[component]["allOf"].as_array().unwrap();
    let state = parts.iter().find_map(|part| part["properties"].get("state")).unwrap();
    let name = state["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
    let words = schemas[name]["enum"].as_array().unwrap();
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn only_what_is_shown_by_itself_may_be_over() {
    let mut states = states_of("ListedContainer");
    assert_eq!(states, ["congruent", "divergent", "incomplete", "silent", "unknown"]);
    states.push("over".to_owned());
    assert_eq!(states_of("OneContainer"), states);
}

async fn check(router: &Router, document: &str) {
    let routes = described(document);
    let paths: BTreeSet<_> = routes.keys().cloned().collect();
    assert_eq!(served(router), paths);
    assert_eq!(ask(router, "GET", FALLBACK[0]).await.status(), StatusCode::NOT_FOUND);
    for (path, mut methods) in routes {
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            let answer = ask(router, method, &path).await;
            let status = answer.status();
            if methods.contains(method) {
                assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                continue;
            }
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let allowed = answer.headers()[header::ALLOW].to_str().unwrap();
            let allowed: BTreeSet<_> = allowed.split(',').map(|word| word.trim().to_owned()).collect();
            assert_eq!(allowed, methods, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn what_is_served_is_described_and_the_reverse() {
    with_collector(async |bench| {
        check(&bench.api.router(), operators_json()).await;
        check(&bench.api.agents_router(), agents_json()).await;
        for (path, document) in
            [("/v1/openapi.json", operators_json()), ("/v1/openapi-agents.json", agents_json())]
        {
            let (status, body) = bench.ask(Method::GET, path, None, vec![]).await;
            assert_eq!((status, body.as_str()), (200, document));
        }
    })
    .await;
}

#[test]
fn every_operation_says_who_may_and_every_change_why() {
    let open =
        ["/v1/enroll", "/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/v1/openapi-agents.json"];
    for (document, scheme) in [(operators_json(), "operator"), (agents_json(), "node")] {
        let mut ids = BTreeSet::new();
        for (path, method, operation) in operations(document) {
            let shown = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{shown}: its id is another's");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{shown}");
            let is_open = open.contains(&path.as_str());
            assert_eq!(operation["security"][0][scheme].is_array(), !is_open, "{shown}");
            let reason = operation["parameters"].as_array().into_iter().flatten();
            let reason = reason.filter(|parameter| parameter["name"] == "Congruent-Reason").count();
            let changes = scheme == "operator" && method != "GET" && !is_open;
            assert_eq!(reason, usize::from(changes), "{shown}");
        }
    }
}

/// Two types of one name would be described as one of them.
#[test]
fn every_reference_leads_somewhere() {
    for document in [operators_json(), agents_json()] {
        let value: Value = serde_json::from_str(document).unwrap();
        assert_eq!(value["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
        for reference in document.split("\"$ref\": \"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(value.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
