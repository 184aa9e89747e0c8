//! Findings, decisions and orders in plain words, for the demo and for the
//! receiver that people try things with.

use congruent_protocol::action::Order;
use congruent_protocol::decision::Decision;
use congruent_protocol::drift::{Attributes, Change, Field, Finding};

use crate::receiver::Delivery;

/// A finding on one line.
pub fn finding(finding: &Finding) -> String {
    let path = &finding.path;
    match finding.change {
        Change::Added => format!("{path} is there, but was not baked"),
        Change::Removed => format!("{path} was baked, but is gone"),
        Change::Replaced => {
            format!("{path} was a {}, and is a {}", kind(&finding.expected), kind(&finding.observed))
        }
        Change::MountedOver => format!("{path} lies under a mount that the contract does not name"),
        Change::Modified => {
            let fields: Vec<String> = finding.fields.iter().map(|field| change(finding, field)).collect();
            format!("{path} has another {}", fields.join(", another "))
        }
    }
}

fn kind(attributes: &Option<Attributes>) -> &'static str {
    attributes.as_ref().map_or("thing", |attributes| attributes.kind.name())
}

fn change(finding: &Finding, field: &Field) -> String {
    let value = |attributes: &Option<Attributes>| {
        let attributes = attributes.as_ref()?;
        match field {
            Field::Mode => attributes.mode.map(|mode| mode.to_string()),
            Field::Uid => attributes.uid.map(|uid| uid.to_string()),
            Field::Gid => attributes.gid.map(|gid| gid.to_string()),
            Field::Size => attributes.size.map(|size| format!("{size} bytes")),
            Field::Link => attributes.link.clone(),
            Field::Device => attributes.device.clone(),
            Field::Mtime => attributes.modified_at.map(|at| at.to_string()),
            Field::Content | Field::Nlink | Field::Xattr(_) => None,
        }
    };
    match (value(&finding.expected), value(&finding.observed)) {
        (Some(was), Some(is)) => format!("{field} ({was} when baked, {is} now)"),
        _ => field.to_string(),
    }
}

/// A decision, one line for the verdict, one for each reason, one for the controls.
pub fn decision(decision: &Decision) -> Vec<String> {
    let mut lines = vec![format!("{}, severity {}", decision.action.name(), decision.severity.name())];
    lines.extend(decision.reasons.iter().map(|reason| format!("- {reason}")));
    if !decision.controls.is_empty() {
        lines.push(format!("bearing on {}", decision.controls.join(", ")));
    }
    lines
}

/// A delivery, as its receiver would tell it.
pub fn delivery(delivery: &Delivery) -> Vec<String> {
    let signature = match &delivery.fault {
        None => "VALID".to_owned(),
        Some(fault) => format!("NOT VALID: {fault}"),
    };
    let mut lines = vec![format!("webhook-id  {}", delivery.id), format!("signature   {signature}")];
    match delivery.order() {
        Ok(order) => lines.extend(self::order(&order)),
        Err(error) => lines.push(format!("body        {error:#}")),
    }
    lines
}

fn order(order: &Order) -> Vec<String> {
    let manifest = order.manifest.as_ref();
    let baked = manifest.map_or("no known manifest".to_owned(), |id| format!("{} {}", id.name, id.version));
    vec![
        format!("order       {}", order.order_type),
        format!("node        {} of group {} in {}", order.node, order.group, order.environment),
        format!("held to     {baked}, found {}", order.state.name()),
        format!("findings    {}, of which it carries {}", order.findings_total, order.findings.len()),
    ]
}
