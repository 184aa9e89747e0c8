//! The JSON Schemas in `policies/schemas`.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value as Json, json};

use super::{Shelf, read_json, shipped};
use crate::policy::input::{POLICY_FINDINGS, POLICY_GAPS};

static INPUT: LazyLock<Validator> = LazyLock::new(|| compile("input"));
static DECISION: LazyLock<Validator> = LazyLock::new(|| compile("decision"));

pub(super) fn input_schema() -> &'static Validator {
    &INPUT
}

pub(super) fn decision_schema() -> &'static Validator {
    &DECISION
}

fn read(name: &str) -> Json {
    read_json(&shipped().join(format!("schemas/{name}.schema.json")))
}

fn compile(name: &str) -> Validator {
    jsonschema::draft202012::new(&read(name)).unwrap()
}

pub(super) fn assert_valid(schema: &Validator, instance: &Json, name: &str) {
    let errors: Vec<_> =
        schema.iter_errors(instance).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {}", errors.join("; "));
}

/// Every object is closed, and every key described.
fn assert_strict(at: &str, schema: &Json) {
    if let Some(properties) = schema["properties"].as_object() {
        assert_eq!(schema["additionalProperties"], json!(false), "{at} is open");
        for (key, property) in properties {
            let described = property.get("description").is_some() || property.get("$ref").is_some();
            assert!(described, "{at}/{key} is not described");
        }
        assert!(schema["required"].is_array(), "{at} does not say what is required");
    }
    let inner = schema.as_object().into_iter().flatten().map(|(key, inner)| (key.clone(), inner));
    let items = schema.as_array().into_iter().flatten().enumerate().map(|(i, inner)| (i.to_string(), inner));
    inner.chain(items).for_each(|(key, inner)| assert_strict(&format!("{at}/{key}"), inner));
}

#[test]
fn schemas_are_strict() {
    for name in ["input", "decision"] {
        let schema = read(name);
        assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name}");
        assert_strict(name, &schema);
        let definitions = schema["$defs"].as_object().into_iter().flatten();
        definitions.for_each(|(key, it)| assert!(it["description"].is_string(), "{key} is not described"));
    }
}

#[test]
fn limits_are_those_of_the_code() {
    let schema = read("input");
    assert_eq!(schema["properties"]["findings"]["maxItems"], json!(POLICY_FINDINGS));
    for list in ["unreadable", "unstable", "hidden", "reserved", "mounts"] {
        let list = &schema["$defs"]["coverage"]["properties"][list];
        assert_eq!(list["maxItems"], json!(POLICY_GAPS));
    }
}

#[test]
fn what_is_not_an_input_is_refused() {
    let shelf = Shelf::open();
    let good = serde_json::to_value(shelf.given(&json!({}), &[]).input()).unwrap();
    assert_valid(input_schema(), &good, "the base");
    for (pointer, value) in [
        ("", json!({})),
        ("/schema_version", json!(2)),
        ("/state", json!("fine")),
        ("/subject/environment", json!(null)),
        ("/summary/bears_on/setuid", json!(-1)),
        ("/manifest/root", json!("blake3:00")),
        ("/report/reported_at", json!("yesterday")),
        ("/coverage/unreadable", json!([{"path": "relative", "reason": ""}])),
        ("/findings", json!([{}])),
        ("/facts/extra", json!(1)),
    ] {
        let mut bad = good.clone();
        match bad.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => bad["facts"]["extra"] = value,
        }
        assert!(!input_schema().is_valid(&bad), "{pointer}");
    }
}
