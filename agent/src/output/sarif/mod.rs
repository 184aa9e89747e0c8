//! A verification as SARIF 2.1.0, for code scanning and whoever reads it.
//!
//! A finding is a result of level error. A gap is a result of level warning under
//! a rule of its own, for those who look at results alone; it is also a
//! notification of level error, which in SARIF says that results are incomplete,
//! and the execution then counts as not successful. So `incomplete` never looks
//! clean. The verdict, both roots and the coverage are the run's properties.
//!
//! Large sets are written whole; who takes only so many results (GitHub: 25,000)
//! has to choose.

mod fingerprint;
mod log;
mod rules;
mod uri;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use congruent_protocol::drift::Finding;
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::verification::{Coverage, Gap, State, Verification};
use jiff::Timestamp;
use serde::ser::{Error as _, Serialize, SerializeSeq, Serializer};
use serde_json::Value;

use self::log::{
    ArtifactLocation, AutomationDetails, BaseLocation, Driver, Invocation, Level, Location, Log, Message,
    Notification, PhysicalLocation, Properties, Reference, ResultOf, Run, Text, Tool,
};
use self::rules::RULES;
use super::{Cause, gaps, text};
use crate::findings::Findings;

/// What paths are relative to.
const ROOT: &str = "ROOT";

/// What SARIF says of a run and a verification does not.
pub(crate) struct Execution<'a> {
    /// The absolute path of the root that was looked at.
    pub(crate) root: &'a [u8],
    /// What the process exits with.
    pub(crate) exit_code: u8,
}

/// Prints one log with one run.
pub(crate) fn verification(
    out: &mut impl Write,
    verification: Verification<Findings>,
    execution: &Execution,
) -> io::Result<()> {
    let (verification, findings) = verification.replace_findings(());
    let base = BaseLocation {
        uri: uri::of_directory(execution.root),
        description: Text::new("The root file system that was looked at."),
    };
    let run = Run {
        tool: Tool { driver: driver() },
        automation_details: automation(&verification),
        invocations: [invocation(&verification, execution.exit_code)],
        original_uri_base_ids: BTreeMap::from([(ROOT, base)]),
        results: Results { findings: &findings, coverage: &verification.coverage },
        properties: without_findings(&verification)?,
    };
    super::json(out, &Log { schema: log::SCHEMA, version: log::VERSION, runs: [run] })
}

fn driver() -> Driver {
    let version = env!("CARGO_PKG_VERSION");
    Driver {
        name: "congruent",
        full_name: format!("congruent verify {version}"),
        version,
        semantic_version: version,
        rules: RULES.iter().map(rules::Rule::descriptor).collect(),
    }
}

/// Runs of one image are of one category, which the trailing slash says.
fn automation(verification: &Verification<()>) -> AutomationDetails {
    let [name, version] = [&verification.manifest.name, &verification.manifest.version]
        .map(|text| escape(text.as_bytes()).replace('/', "-"));
    AutomationDetails {
        id: format!("congruent/{name}/"),
        description: Text::new(format!("Verification against the manifest {name} {version}.")),
    }
}

fn invocation(verification: &Verification<()>, exit_code: u8) -> Invocation<'_> {
    let coverage = &verification.coverage;
    let is_whole = matches!(verification.state, State::Congruent | State::Divergent) && !coverage.has_gaps();
    Invocation {
        execution_successful: is_whole,
        exit_code,
        exit_code_description: verification.state.name().to_owned(),
        start_time_utc: time(coverage.started_at),
        end_time_utc: time(coverage.finished_at),
        tool_execution_notifications: Notifications(coverage),
    }
}

/// To the millisecond: some readers take no more digits.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn notification(cause: Cause<'_>, gap: &Gap) -> Notification {
    let index = rules::of_gap(cause);
    Notification {
        level: Level::Error,
        message: Text::new(message(index, &gap.path, &gap.reason).text),
        locations: [location(&gap.path)],
        associated_rule: Reference { id: RULES[index].id, index },
    }
}

/// Everything found, and everything not verified, each made when it is written.
pub(super) struct Results<'a> {
    findings: &'a Findings,
    coverage: &'a Coverage,
}

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut results = serializer.serialize_seq(None)?;
        for finding in self.findings.iter().map_err(S::Error::custom)? {
            results.serialize_element(&result_of_finding(&finding.map_err(S::Error::custom)?))?;
        }
        for (cause, gap) in gaps(self.coverage) {
            results.serialize_element(&result_of_gap(cause, gap))?;
        }
        results.end()
    }
}

/// A notification of each gap.
pub(super) struct Notifications<'a>(&'a Coverage);

impl Serialize for Notifications<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(gaps(self.0).map(|(cause, gap)| notification(cause, &gap)))
    }
}

fn result_of_finding(finding: &Finding) -> ResultOf<'_> {
    let says = text::differences(finding).join("; ");
    let fingerprint = fingerprint::of_finding(finding);
    result(rules::of_change(finding.change), &finding.path, &says, fingerprint, Properties::Finding(finding))
}

fn result_of_gap<'a>(cause: Cause<'_>, gap: Cow<'a, Gap>) -> ResultOf<'a> {
    let fingerprint = fingerprint::of_gap(cause, &gap);
    let (index, path, reason) = (rules::of_gap(cause), gap.path.clone(), gap.reason.clone());
    result(index, &path, &reason, fingerprint, Properties::Gap(gap))
}

fn result<'a>(
    index: usize,
    path: &TreePath,
    says: &str,
    fingerprint: String,
    properties: Properties<'a>,
) -> ResultOf<'a> {
    ResultOf {
        rule_id: RULES[index].id,
        rule_index: index,
        level: RULES[index].level,
        message: message(index, path, says),
        locations: [location(path)],
        partial_fingerprints: BTreeMap::from([(fingerprint::KEY, fingerprint)]),
        properties,
    }
}

fn message(index: usize, path: &TreePath, says: &str) -> Message {
    let [path, says] = [path.to_string(), escape(says.as_bytes()).into_owned()].map(without_links);
    let text = format!("'{path}' {}: {says}.", RULES[index].happened);
    Message { text, id: "default", arguments: [path, says] }
}

/// In a message `[text](target)` is a link, and a name may look like one.
fn without_links(text: String) -> String {
    if text.contains("](") { text.replace("](", "]\\x28") } else { text }
}

fn location(path: &TreePath) -> Location {
    let artifact_location = ArtifactLocation { uri: uri::relative(path), uri_base_id: ROOT };
    Location { physical_location: PhysicalLocation { artifact_location } }
}

fn without_findings(verification: &Verification<()>) -> io::Result<Value> {
    let mut value = serde_json::to_value(verification)?;
    if let Value::Object(members) = &mut value {
        members.remove("findings");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{congruent, divergent, incomplete, kept, unchecked};
    use super::*;

    /// Checks how many results there are, and what stands at these JSON pointers
    /// into the run.
    fn check(given: Verification, exit_code: u8, results: usize, expected: &[(&str, Value)]) {
        let mut out = Vec::new();
        verification(&mut out, kept(given), &Execution { root: b"/srv/root", exit_code }).unwrap();
        let log: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert_eq!(run["results"].as_array().unwrap().len(), results);
        assert!(run["properties"].get("findings").is_none());
        for (pointer, value) in expected {
            assert_eq!(run.pointer(pointer), Some(value), "{pointer}");
        }
    }

    #[test]
    fn what_is_congruent_has_no_results() {
        check(
            congruent(),
            0,
            0,
            &[
                ("/automationDetails/id", json!("congruent/web/")),
                ("/invocations/0/executionSuccessful", json!(true)),
                ("/invocations/0/exitCode", json!(0)),
                ("/invocations/0/toolExecutionNotifications", json!([])),
                ("/invocations/0/endTimeUtc", json!("2026-11-25T14:00:01.500Z")),
                ("/originalUriBaseIds/ROOT/uri", json!("file:///srv/root/")),
                ("/properties/state", json!("congruent")),
                ("/properties/manifest/version", json!("1.4.2")),
            ],
        );
    }

    #[test]
    fn what_is_incomplete_does_not_look_clean() {
        check(
            incomplete(),
            3,
            2,
            &[
                ("/invocations/0/executionSuccessful", json!(false)),
                ("/invocations/0/exitCodeDescription", json!("incomplete")),
                ("/invocations/0/toolExecutionNotifications/0/level", json!("error")),
                (
                    "/invocations/0/toolExecutionNotifications/0/message/text",
                    json!("'/etc/shadow' could not be read: Permission denied."),
                ),
                (
                    "/invocations/0/toolExecutionNotifications/1/associatedRule",
                    json!({ "id": "CNG2002", "index": 6 }),
                ),
                ("/results/0/level", json!("warning")),
                ("/results/1/ruleId", json!("CNG2002")),
                ("/results/1/properties/path_bytes", json!("L3Zhci9sb2cvYQpi")),
            ],
        );
        check(
            unchecked(),
            3,
            1,
            &[
                ("/invocations/0/executionSuccessful", json!(false)),
                ("/results/0/ruleId", json!("CNG2003")),
                (
                    "/results/0/message/text",
                    json!("'/' was not held to all that the spec says: md5 (2 times): it is weak."),
                ),
            ],
        );
        let nothing_listed = Verification { state: State::Incomplete, ..congruent() };
        check(nothing_listed, 3, 0, &[("/invocations/0/executionSuccessful", json!(false))]);
    }

    #[test]
    fn a_finding_is_an_error_with_all_that_is_known_of_it() {
        let what = |n: usize, pointer: &str| format!("/results/{n}/{pointer}");
        let place = "locations/0/physicalLocation/artifactLocation";
        check(
            divergent(),
            1,
            3,
            &[
                ("/invocations/0/executionSuccessful", json!(true)),
                (&what(0, "ruleId"), json!("CNG1003")),
                (&what(0, "ruleIndex"), json!(2)),
                (&what(0, "level"), json!("error")),
                (
                    &what(0, "message/text"),
                    json!("'/etc/passwd' was modified: size 30 → 21; mode 0644 → 0666."),
                ),
                (&what(0, place), json!({ "uri": "etc/passwd", "uriBaseId": "ROOT" })),
                (&what(0, "properties/expected/size"), json!(30)),
                (&what(0, "properties/observed/size"), json!(21)),
                (&what(1, "ruleId"), json!("CNG1002")),
                (&what(1, "properties/observed"), Value::Null),
                // Nothing that a viewer would make a link of.
                (&what(2, "message/arguments/0"), json!("/srv/a\\x0a\\xff]\\x28x")),
                (&what(2, place), json!({ "uri": "srv/a%0A%FF%5D%28x", "uriBaseId": "ROOT" })),
                (&what(2, "properties/path_bytes"), json!("L3Nydi9hCv9dKHg=")),
            ],
        );
    }

    /// Each result names its rule by id and by place in the list.
    #[test]
    fn rules_stand_where_they_are_said_to() {
        for (place, id) in [
            (rules::of_change(congruent_protocol::drift::Change::MountedOver), "CNG1005"),
            (rules::of_gap(Cause::Unreadable), "CNG2001"),
            (rules::of_gap(Cause::Unstable), "CNG2002"),
            (rules::of_gap(Cause::Unchecked("md5")), "CNG2003"),
        ] {
            assert_eq!(RULES[place].id, id);
        }
    }
}
