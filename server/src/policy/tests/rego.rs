//! Runs the tests that are written in Rego: every rule whose name begins with
//! `test_` in `**/*_test.rego` has to be true. `todo_test_` is left out.

use std::fs;
use std::path::{Path, PathBuf};

use regorus::unstable::{Rule, RuleHead};
use regorus::{Engine, Value};

use super::cases::folder;
use super::chain;
use crate::policy::engine::{TIME_LIMIT, add, new_engine};
use crate::policy::source::{self, Source};
use crate::policy::syntax;

/// All `_test.rego` files beneath `folder`.
fn tests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tests(&path));
        } else if path.to_string_lossy().ends_with("_test.rego") {
            found.push(path);
        }
    }
    found
}

/// The paths of all rules that are tests.
fn test_rules(engine: &mut Engine) -> Vec<String> {
    let mut rules: Vec<_> = engine
        .get_modules()
        .iter()
        .flat_map(|module| module.policy.iter().map(move |rule| (module, rule)))
        .filter_map(|(module, rule)| match rule.as_ref() {
            Rule::Spec { head: RuleHead::Compr { refr, .. }, .. } => {
                Some((syntax::package(module), syntax::path(refr)))
            }
            _ => None,
        })
        .filter(|(_, name)| name.starts_with("test_"))
        .map(|(package, name)| format!("{package}.{name}"))
        .collect();
    rules.sort();
    rules.dedup();
    rules
}

#[test]
fn every_test_rule_holds() {
    let folder = folder();
    let mut engine = new_engine(TIME_LIMIT);
    let tests = tests(&folder).into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        Source { path: path.display().to_string(), text }
    });
    for source in source::read_folder(&folder).unwrap().into_iter().chain(tests) {
        add(&mut engine, &source).unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    let rules = test_rules(&mut engine);
    let own = std::env::var_os("CONGRUENT_POLICY").is_some();
    assert!(own || rules.len() > 20, "only {} test rules were found", rules.len());
    let wrong: Vec<_> = rules
        .into_iter()
        .filter_map(|rule| match engine.clone().eval_rule(rule.clone()) {
            Ok(value) if value == Value::from(true) => None,
            Ok(value) => Some(format!("{rule} is {value}")),
            Err(error) => Some(format!("{rule}: {error}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
