//! The policy engine: regorus around a policy's sources. Nothing else knows regorus.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use congruent_protocol::decision::Decision;
use congruent_protocol::digest::Digest;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, LimitError, Value};

use super::error::PolicyError;
use super::input::PolicyInput;
use super::reads::{Given, Reads};
use super::source::{self, Source};
use super::{calls, embedded, outcome, self_check};

/// The engine and its version, as recorded with each decision. A test holds it
/// to the lock file.
pub(crate) const ENGINE: &str = "regorus 0.14.1";
/// The rule that is asked.
const ENTRY_POINT: &str = "data.congruent.decision";
/// How long one decision may take: hundreds of times what the shipped policy
/// needs at most, on a machine that is busy.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Steps between looks at the clock.
const CHECK_INTERVAL: NonZeroU32 = NonZeroU32::new(1000).expect("it is not zero");

/// A policy, ready to decide. Share it in an `Arc`: deciding takes `&self`.
#[derive(Debug)]
pub(crate) struct Policy {
    engine: Engine,
    digest: Digest,
    time_limit: Duration,
    reads: Reads,
    given: Given,
}

impl Policy {
    /// The policy that is shipped.
    ///
    /// # Errors
    /// None that tests let pass; as for [`Policy::from_directory`].
    pub(crate) fn embedded() -> Result<Self, PolicyError> {
        Self::from_sources(&embedded::sources(), TIME_LIMIT)
    }

    /// The policy in `folder`, which replaces the shipped one wholly: its
    /// `.rego` files but tests, and each `data.json` at its folder's place in `data`.
    ///
    /// # Errors
    /// When it cannot be read, is over the limits, is not Rego v1, does not
    /// compile, or does not decide for each state.
    pub(crate) fn from_directory(folder: &Path) -> Result<Self, PolicyError> {
        Self::from_sources(&source::read_folder(folder)?, TIME_LIMIT)
    }

    /// The digest over the sources, which names this policy in records.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The engine that evaluates it, and its version.
    pub(crate) fn engine(&self) -> &'static str {
        ENGINE
    }

    /// What is to happen. Equal input gives an equal decision.
    ///
    /// # Errors
    /// When the rules fail, take too long, or give no decision or another shape.
    pub(crate) fn decide(&self, input: &PolicyInput) -> Result<Decision, PolicyError> {
        if let Some(what) = input.contradiction() {
            return Err(PolicyError::Contradiction { node: input.subject().node.clone(), what });
        }
        let read = serde_json::to_value(input).expect("inputs always serialise");
        let ground = self.reads.digest(&read);
        if let Some(given) = ground.as_ref().and_then(|ground| self.given.on(ground)) {
            return Ok(given);
        }
        let decision = self.ask(input, read)?;
        if let Some(ground) = ground {
            self.given.keep(ground, &decision);
        }
        Ok(decision)
    }

    /// Asks the rules about an input, given also as JSON, whatever they said before.
    fn ask(&self, input: &PolicyInput, json: serde_json::Value) -> Result<Decision, PolicyError> {
        let value = self.evaluate(ENTRY_POINT, json.into())?;
        if value == Value::Undefined {
            let environment = input.subject().environment.clone();
            return Err(PolicyError::Undefined { state: input.state(), environment });
        }
        let shape = |message| PolicyError::Shape { message };
        let json = value.to_json_str().map_err(|error| shape(error.to_string()))?;
        outcome::decision(serde_json::from_str(&json).map_err(|error| shape(error.to_string()))?)
    }

    /// The value of `rule` for an input, on an engine of its own.
    fn evaluate(&self, rule: &str, input: Value) -> Result<Value, PolicyError> {
        let mut engine = self.engine.clone();
        engine.set_input(input);
        let outcome = engine.eval_rule(rule.to_owned());
        outcome.map_err(|error| match error.downcast_ref::<LimitError>() {
            Some(LimitError::TimeLimitExceeded { .. }) => PolicyError::TimeLimit { limit: self.time_limit },
            _ => {
                let (place, message) = place_and_message(&error.to_string());
                PolicyError::Evaluation { place, message }
            }
        })
    }

    pub(super) fn from_sources(sources: &[Source], time_limit: Duration) -> Result<Self, PolicyError> {
        let mut engine = new_engine(time_limit);
        for source in sources {
            add(&mut engine, source)?;
        }
        require_entry_point(&engine)?;
        calls::check(engine.get_modules())?;
        compile(&mut engine)?;
        let reads = Reads::of(engine.get_modules());
        let digest = source::digest(sources);
        let policy = Self { engine, digest, time_limit, reads, given: Given::default() };
        self_check::run(&policy)?;
        Ok(policy)
    }
}

/// An engine as policies are evaluated on, without rules.
pub(super) fn new_engine(limit: Duration) -> Engine {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    // A policy's print goes nowhere: our standard error is a log for programs.
    engine.set_gather_prints(true);
    engine.set_execution_timer_config(ExecutionTimerConfig { limit, check_interval: CHECK_INTERVAL });
    for (name, arguments) in calls::IMPURE {
        // The check of calls finds these first; this holds where it does not look.
        let refuse = move |_| {
            Err(anyhow::anyhow!("{name} is not for policies: equal input has to give equal decisions"))
        };
        engine
            .add_extension(name.to_owned(), arguments, Box::new(refuse))
            .expect("each function is refused once");
    }
    engine
}

/// Adds a source to an engine.
pub(super) fn add(engine: &mut Engine, source: &Source) -> Result<(), PolicyError> {
    if source.is_data() {
        return add_data(engine, source);
    }
    engine.add_policy(source.path.clone(), source.text.clone()).map(drop).map_err(|error| {
        let (place, message) = place_and_message(&error.to_string());
        PolicyError::Parse { place, message }
    })
}

/// Puts a `data.json` where its folder stands: `a/b/data.json` is `data.a.b`.
fn add_data(engine: &mut Engine, source: &Source) -> Result<(), PolicyError> {
    let refuse = |message: String| PolicyError::Data { file: source.path.clone(), message };
    let mut data: serde_json::Value =
        serde_json::from_str(&source.text).map_err(|error| refuse(format!("not JSON: {error}")))?;
    if !data.is_object() {
        return Err(refuse("it has to hold an object".to_owned()));
    }
    for folder in source.path.split('/').rev().skip(1) {
        data = serde_json::json!({ folder: data });
    }
    engine.add_data_json(&data.to_string()).map_err(|error| refuse(error.to_string()))
}

fn require_entry_point(engine: &Engine) -> Result<(), PolicyError> {
    let packages = engine.get_policy_package_components().unwrap_or_default();
    let entry = packages
        .iter()
        .filter(|package| package.components == ["congruent"])
        .any(|package| engine.has_declared_rule_rooted_at(&package.source_file, "decision").unwrap_or(false));
    if entry { Ok(()) } else { Err(PolicyError::NoEntryPoint) }
}

/// Makes the engine analyse its rules now, so that each clone has them ready.
fn compile(engine: &mut Engine) -> Result<(), PolicyError> {
    let entry: regorus::Rc<str> = ENTRY_POINT.into();
    engine.compile_with_entrypoint(&entry).map(drop).map_err(|error| {
        let (place, message) = place_and_message(&error.to_string());
        PolicyError::Compile { place, message }
    })
}

/// Takes regorus' message apart. It draws the source:
///
/// ```text
///
/// --> rules/a.rego:4:1
///   |
/// 4 | allow {
///   | ^
/// error: unexpected …
/// ```
fn place_and_message(text: &str) -> (String, String) {
    let place = text.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
    let message = text.lines().find_map(|line| line.strip_prefix("error: "));
    let plain = |text: &str| congruent_protocol::path::escape(text.trim().as_bytes()).into_owned();
    (place.map_or_else(|| "an unknown place".to_owned(), plain), plain(message.unwrap_or(text)))
}
