//! A node, for people: what matters first. What comes from outside is escaped.

use serde_json::Value;

use super::output::cell;
use crate::count::counted;

/// How many findings, and of each other kind of record, are shown.
const FINDINGS: usize = 20;
const RECENT: usize = 5;
/// States of an action that is not over.
const OPEN: [&str; 3] = ["held", "proposed", "dispatched"];

/// A node, as the API gives it.
pub(super) fn node(node: &Value) -> String {
    let mut page = Page::default();
    page.line("node", &cell(&node["id"]));
    push_state(&mut page, node);
    let (group, environment, mode) = (cell(&node["group"]), cell(&node["environment"]), cell(&node["mode"]));
    page.line("group", &format!("{group}, environment {environment}, mode {mode}"));
    page.line("last seen", &cell(&node["last_seen"]));
    push_report(&mut page, node);
    push_containers(&mut page, node);
    push_findings(&mut page, node);
    push_decision(&mut page, node);
    push_actions(&mut page, node, |action| {
        let container = &action["container"];
        (!container.is_null()).then(|| format!("for its container {}", cell(container)))
    });
    push_enrolment(&mut page, &node["enrolment"]);
    push_history(&mut page, node);
    page.0
}

/// A container, as the API gives it.
pub(super) fn container(container: &Value) -> String {
    let mut page = Page::default();
    page.line("container", &cell(&container["id"]));
    page.line("name", &cell(&container["name"]));
    page.line("node", &cell(&container["node"]));
    push_state(&mut page, container);
    push_over(&mut page, container);
    page.line("image", &format!("{}, {}", cell(&container["image"]), cell(&container["config_digest"])));
    page.line("runtime", &cell(&container["runtime"]));
    push_report(&mut page, container);
    push_layers(&mut page, container);
    push_findings(&mut page, container);
    push_decision(&mut page, container);
    push_actions(&mut page, container, |action| {
        (action["target"] == "node").then(|| "of the whole node".to_owned())
    });
    push_history(&mut page, container);
    page.0
}

/// Labelled lines.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn line(&mut self, label: &str, text: &str) {
        self.0.push_str(&format!("{label:<12}  {text}\n"));
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn push_state(page: &mut Page, subject: &Value) {
    let note = subject["note"].as_str().map(|_| format!(": {}", cell(&subject["note"])));
    let state = format!("{} since {}", cell(&subject["state"]), cell(&subject["since"]));
    page.line("state", &(state + &note.unwrap_or_default()));
}

/// Of what is over: what it was, and that all else is as it was seen last.
fn push_over(page: &mut Page, container: &Value) {
    if container["state"] != "over" {
        return;
    }
    if !container["last_state"].is_null() {
        let since = cell(&container["states"][1]["at"]);
        page.line("last state", &format!("{} since {since}", cell(&container["last_state"])));
    }
    match &container["report_lost"] {
        Value::Null => page.line("", "what follows is as it was seen last"),
        why => page.line("", &format!("what was seen of it last is lost: {}", cell(why))),
    }
}

fn push_containers(page: &mut Page, node: &Value) {
    let counts = node["containers"].as_object().into_iter().flatten();
    let counts: Vec<_> = counts.map(|(state, count)| format!("{} {state}", cell(count))).collect();
    if !counts.is_empty() {
        page.line("containers", &counts.join(", "));
    }
}

/// The layers, lowest first; what is damaged is to be purged.
fn push_layers(page: &mut Page, container: &Value) {
    for (at, layer) in items(&container["layers"]).iter().enumerate() {
        let label = if at == 0 { "layers" } else { "" };
        let method = match &layer["method"] {
            Value::Null => "not verified".to_owned(),
            method => format!("by {}", cell(method)),
        };
        page.line(label, &format!("{} {}, {method}", cell(&layer["diff_id"]), cell(&layer["state"])));
        if layer["state"] == "divergent" {
            let containers = items(&layer["shared_by"]).len();
            let directory = cell(&layer["directory"]);
            page.line(
                "",
                &format!(
                    "  damaged at {directory}, beneath {containers} of the node's containers: purge it before \
                     anything is started anew"
                ),
            );
            push_list(page, &layer["findings"], "  ");
        }
    }
}

fn push_report(page: &mut Page, node: &Value) {
    let (report, coverage) = (&node["report"], &node["coverage"]);
    if report.is_null() {
        let none = if node["state"] == "over" { "none is known any more" } else { "none yet" };
        page.line("last report", none);
    } else {
        let (sequence, received) = (cell(&report["sequence"]), cell(&report["received_at"]));
        page.line("last report", &format!("number {sequence}, {received}, boot {}", cell(&report["boot"])));
    }
    if !node["manifest"].is_null() {
        let root = cell(&node["manifest"]["root"]);
        page.line("manifest", &format!("{}, {root}", cell(&node["manifest"])));
    }
    if !node["protected"].is_null() {
        let of = number(&node["protected"]["of"], "entry", "entries");
        page.line("protected", &format!("{} of {of}", cell(&node["protected"]["entries"])));
    }
    if !coverage.is_null() {
        let hidden = items(&coverage["hidden"]).iter().filter_map(|gap| gap["entries"].as_u64()).sum::<u64>();
        let count = |key: &str| items(&coverage[key]).len();
        page.line(
            "coverage",
            &format!(
                "a {} sweep saw {}, where {}; {} unreadable, {} unstable, {hidden} hidden",
                cell(&coverage["mode"]),
                number(&coverage["entries_seen"], "entry", "entries"),
                number(&coverage["entries_expected"], "was baked", "were baked"),
                count("unreadable"),
                count("unstable"),
            ),
        );
    }
    page.line(
        "verified",
        &format!("{} (the last full sweep that found it congruent)", cell(&node["verified_at"])),
    );
    if !node["first_values"].is_null() {
        page.line("first values", &cell(&node["first_values"]));
    }
}

/// A number of the API's with its noun; one that is not there is not taken for a number.
fn number(value: &Value, one: &str, many: &str) -> String {
    value.as_u64().map_or_else(|| format!("{} {many}", cell(value)), |count| counted(count, one, many))
}

fn push_findings(page: &mut Page, node: &Value) {
    page.line("findings", &cell(&node["findings_total"]));
    for key in ["findings", "runtime_layer", "mounts"] {
        push_list(page, &node[key], "");
    }
}

fn push_list(page: &mut Page, findings: &Value, indent: &str) {
    let findings = items(findings);
    for finding in findings.iter().take(FINDINGS) {
        let fields = match items(&finding["fields"]) {
            [] => String::new(),
            _ => format!(" ({})", cell(&finding["fields"])),
        };
        let (change, path) = (cell(&finding["change"]), cell(&finding["path"]));
        page.line("", &format!("{indent}{change} {path}{fields}"));
    }
    if findings.len() > FINDINGS {
        page.line("", "… and more: --format json has them");
    }
}

fn push_decision(page: &mut Page, node: &Value) {
    if !node["policy_error"].is_null() {
        page.line("decision", &format!("policy failed: {}", cell(&node["policy_error"])));
    }
    let decision = &node["decision"];
    if decision.is_null() {
        return;
    }
    let at = cell(&node["decision_record"]["at"]);
    let (verdict, severity) = (cell(&decision["action"]), cell(&decision["severity"]));
    page.line("decision", &format!("{verdict}, severity {severity}, {at}"));
    for reason in items(&decision["reasons"]) {
        page.line("", &cell(reason));
    }
    if !items(&decision["controls"]).is_empty() {
        page.line("controls", &cell(&decision["controls"]));
    }
}

/// What is to happen to a subject; `beside` says of an action what else it is about.
fn push_actions(page: &mut Page, subject: &Value, beside: impl Fn(&Value) -> Option<String>) {
    let is_open = |action: &&Value| OPEN.iter().any(|state| action["state"] == *state);
    let mut open = items(&subject["actions"]).iter().filter(is_open).peekable();
    if open.peek().is_none() {
        page.line("open action", "none");
    }
    for action in open {
        let (what, id) = (cell(&action["action"]), cell(&action["id"]));
        let (state, since) = (cell(&action["state"]), cell(&action["updated_at"]));
        let beside = beside(action).map(|beside| format!(", {beside}")).unwrap_or_default();
        page.line("open action", &format!("{what}, {state} since {since}, {id}{beside}"));
        page.line("", &cell(&action["reason"]));
    }
}

fn push_enrolment(page: &mut Page, enrolment: &Value) {
    if enrolment.is_null() {
        return page.line("enrolment", "none");
    }
    let (id, since, by) =
        (cell(&enrolment["id"]), cell(&enrolment["since"]), cell(&enrolment["admitted_by"]));
    page.line("enrolment", &format!("{id} since {since}, by join token {by}"));
    page.line("key", &cell(&enrolment["key"]));
    if !enrolment["revoked_at"].is_null() {
        let (at, by) = (cell(&enrolment["revoked_at"]), cell(&enrolment["revoked_by"]));
        page.line("revoked", &format!("{at} by {by}: {}", cell(&enrolment["revoked_why"])));
    }
}

/// What is out of order first, then how the state changed.
fn push_history(page: &mut Page, node: &Value) {
    for note in items(&node["chain"]).iter().take(RECENT) {
        let (at, number) = (cell(&note["at"]), cell(&note["sequence"]));
        page.line("chain", &format!("{at}, report {number}: {}", cell(&note["note"])));
    }
    for refusal in items(&node["refusals"]).iter().take(RECENT) {
        let (count, code, at) = (cell(&refusal["count"]), cell(&refusal["code"]), cell(&refusal["last_at"]));
        page.line("refused", &format!("{count} × {code}, last {at}: {}", cell(&refusal["message"])));
    }
    for (at, change) in items(&node["states"]).iter().take(RECENT).enumerate() {
        let label = if at == 0 { "history" } else { "" };
        page.line(label, &format!("{} {}", cell(&change["at"]), cell(&change["state"])));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{container, node};

    #[test]
    fn a_node_that_never_reported() {
        let shown = node(&json!({
            "id": "x\u{1b}[2J", "state": "unknown", "since": "2026-03-01T00:00:00Z",
            "note": "it has never reported", "group": "web", "environment": "prod", "mode": "report-only",
            "findings_total": 0,
            "enrolment": {
                "id": "enr_1", "since": "2026-03-01T00:00:00Z", "admitted_by": "jt_1", "key": "k",
                "revoked_at": "2026-03-02T00:00:00Z", "revoked_by": "alice", "revoked_why": "a\nb",
            },
        }));
        let expected = "\
node          x\\x1b[2J
state         unknown since 2026-03-01T00:00:00Z: it has never reported
group         web, environment prod, mode report-only
last seen     -
last report   none yet
verified      - (the last full sweep that found it congruent)
findings      0
open action   none
enrolment     enr_1 since 2026-03-01T00:00:00Z, by join token jt_1
key           k
revoked       2026-03-02T00:00:00Z by alice: a\\x0ab
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_damaged_layer_says_what_is_to_be_done() {
        let shown = container(&json!({
            "id": "c1", "node": "web-1", "state": "divergent", "since": "t", "findings_total": 1,
            "layers": [
                { "diff_id": "sha256:1", "state": "congruent", "method": "manifest" },
                {
                    "diff_id": "sha256:2", "state": "divergent", "method": "diff-id", "directory": "/l/2/diff",
                    "shared_by": ["c1", "c2"], "findings": [{ "change": "added", "path": "/evil", "fields": [] }],
                },
            ],
            "mounts": [{ "change": "mounted-over", "path": "/srv", "fields": [] }],
            "actions": [{
                "id": "act_1", "state": "held", "action": "replace", "reason": "why", "updated_at": "t",
                "container": "c1", "target": "node",
            }],
        }));
        for says in [
            "container     c1\n",
            "layers        sha256:1 congruent, by manifest\n              sha256:2 divergent, by diff-id\n",
            "damaged at /l/2/diff, beneath 2 of the node's containers: purge it before anything is started anew\n",
            "  added /evil\n",
            "mounted-over /srv\n",
            "open action   replace, held since t, act_1, of the whole node\n              why\n",
        ] {
            assert!(shown.contains(says), "{says:?} in {shown}");
        }
    }

    #[test]
    fn a_container_that_runs_no_more_is_over() {
        let shown = container(&json!({
            "id": "c1", "name": "shop", "node": "web-1", "state": "over", "since": "2026-03-02T00:00:00Z",
            "note": "the container runs no more", "last_state": "divergent", "image": "app:1",
            "config_digest": "sha256:1", "runtime": "docker", "findings_total": 1,
            "findings": [{ "change": "modified", "path": "/bin/tool", "fields": ["content"] }],
            "states": [
                { "at": "2026-03-02T00:00:00Z", "state": "over" },
                { "at": "2026-03-01T00:00:00Z", "state": "divergent" },
            ],
        }));
        let expected = "\
container     c1
name          shop
node          web-1
state         over since 2026-03-02T00:00:00Z: the container runs no more
last state    divergent since 2026-03-01T00:00:00Z
              what follows is as it was seen last
image         app:1, sha256:1
runtime       docker
last report   none is known any more
verified      - (the last full sweep that found it congruent)
findings      1
              modified /bin/tool (content)
open action   none
history       2026-03-02T00:00:00Z over
              2026-03-01T00:00:00Z divergent
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_lost_of_a_container_is_told() {
        let shown =
            container(&json!({ "state": "over", "findings_total": 1, "report_lost": "it is\nmissing" }));
        assert!(
            shown.contains("              what was seen of it last is lost: it is\\x0amissing\n"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_not_told_is_no_number() {
        let shown = node(&json!({
            "protected": { "entries": 1 }, "coverage": { "mode": "full", "entries_seen": 1 },
        }));
        for says in
            ["protected     1 of - entries\n", "a full sweep saw 1 entry, where - were baked; 0 unreadable"]
        {
            assert!(shown.contains(says), "{says:?} in {shown}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_node_is_seen() {
        let shown = node(&json!({
            "id": "web-1", "state": "divergent", "since": "t", "findings_total": 1,
            "manifest": { "name": "web", "version": "1", "root": "r" },
            "coverage": {
                "mode": "full", "entries_seen": 17, "entries_expected": 16, "unreadable": [{}], "unstable": [],
                "hidden": [{ "entries": 3 }],
            },
            "findings": [{ "change": "modified", "path": "/bin/tool", "fields": ["content"] }],
            "decision": { "action": "replace", "severity": "high", "reasons": ["why"], "controls": ["C-1"] },
            "decision_record": { "at": "t" },
            "actions": [
                {
                    "id": "act_3", "state": "proposed", "action": "replace", "reason": "it", "updated_at": "t",
                    "container": "c1", "target": "node",
                },
                { "id": "act_2", "state": "held", "action": "replace", "reason": "budget", "updated_at": "t" },
                { "id": "act_1", "state": "verified" },
            ],
            "chain": [{ "at": "t", "sequence": 2, "note": "a gap" }],
            "refusals": [{ "count": 3, "code": "malformed", "last_at": "t", "message": "m" }],
            "states": [{ "at": "t", "state": "divergent" }, { "at": "s", "state": "unknown" }],
        }));
        for says in [
            "manifest      web 1, r\n",
            "a full sweep saw 17 entries, where 16 were baked; 1 unreadable, 0 unstable, 3 hidden",
            "modified /bin/tool (content)",
            "decision      replace, severity high, t\n              why\n",
            "open action   replace, proposed since t, act_3, for its container c1\n              it\n",
            "open action   replace, held since t, act_2\n              budget\n",
            "chain         t, report 2: a gap",
            "refused       3 × malformed, last t: m",
            "history       t divergent\n              s unknown\n",
        ] {
            assert!(shown.contains(says), "{says:?} in {shown}");
        }
    }
}
