//! What a policy's rules call, found before anything is evaluated.
//!
//! Refuses two things that the engine itself would take: functions that call
//! each other in a circle or too deep, where it runs out of stack and takes the
//! process with it, and functions that give equal input unequal outcomes, which
//! no replay could reproduce.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Module, Ref, Rule, RuleHead, Span};

use super::error::PolicyError;
use super::syntax::{self, Call};

/// Functions whose outcome is not a matter of their arguments, with how many
/// arguments they have.
pub(super) const IMPURE: [(&str, u8); 2] = [("time.now_ns", 0), ("rand.intn", 2)];
/// The most functions that may be under way within each other.
const MAX_DEPTH: usize = 100;

/// Functions by full path, each with the calls that its bodies make.
type Functions<'a> = BTreeMap<String, Vec<(String, &'a Span)>>;

/// Checks the calls of all rules.
pub(super) fn check(modules: &[Ref<Module>]) -> Result<(), PolicyError> {
    let functions = functions(modules);
    for (module, rule) in
        modules.iter().flat_map(|module| module.policy.iter().map(move |rule| (module, rule)))
    {
        for call in syntax::calls(rule) {
            refuse_impure(&resolve(&call, module), call.span)?;
        }
    }
    let mut sound = BTreeSet::new();
    functions.keys().try_for_each(|name| descend(name, &functions, &mut Vec::new(), &mut sound))
}

fn functions(modules: &[Ref<Module>]) -> Functions<'_> {
    let mut functions = Functions::new();
    for module in modules {
        for rule in &module.policy {
            let Rule::Spec { head: RuleHead::Func { refr, .. }, .. } = rule.as_ref() else { continue };
            let calls = syntax::calls(rule).into_iter().map(|call| (resolve(&call, module), call.span));
            let name = format!("{}.{}", syntax::package(module), syntax::path(refr));
            functions.entry(name).or_default().extend(calls);
        }
    }
    functions
}

/// The full path of what is called: through an import's alias, or in the
/// package itself, where it begins with neither `data` nor an import.
fn resolve(call: &Call<'_>, module: &Module) -> String {
    let (first, rest) = call.path.split_once('.').unwrap_or((&call.path, ""));
    let import = module.imports.iter().find(|import| {
        let path = syntax::path(&import.refr);
        first == import.r#as.as_ref().map_or(path.rsplit('.').next().unwrap_or(&path), |alias| alias.text())
    });
    match import {
        Some(import) if !rest.is_empty() => format!("{}.{rest}", syntax::path(&import.refr)),
        Some(import) => syntax::path(&import.refr),
        None if first == "data" || IMPURE.iter().any(|(name, _)| *name == call.path) => call.path.clone(),
        None => format!("{}.{}", syntax::package(module), call.path),
    }
}

fn refuse_impure(name: &str, span: &Span) -> Result<(), PolicyError> {
    if !IMPURE.iter().any(|(impure, _)| *impure == name) {
        return Ok(());
    }
    let message = format!(
        "{name} is not for policies: equal input has to give equal decisions; take times from the input"
    );
    Err(PolicyError::Compile { place: syntax::place(span), message })
}

/// Follows the calls of the function `name`, which the functions `above` led to.
fn descend<'a>(
    name: &'a str,
    functions: &'a Functions<'_>,
    above: &mut Vec<&'a str>,
    sound: &mut BTreeSet<&'a str>,
) -> Result<(), PolicyError> {
    let Some(calls) = functions.get(name) else { return Ok(()) };
    above.push(name);
    for (callee, span) in calls {
        let refuse = |message| Err(PolicyError::Compile { place: syntax::place(span), message });
        if above.contains(&callee.as_str()) {
            return refuse(format!("{name} calls {callee}, which leads back to it; Rego has no recursion"));
        }
        if above.len() == MAX_DEPTH {
            return refuse(format!("functions call each other over {MAX_DEPTH} deep, from {}", above[0]));
        }
        if !sound.contains(callee.as_str()) {
            descend(callee, functions, above, sound)?;
        }
    }
    above.pop();
    sound.insert(name);
    Ok(())
}
