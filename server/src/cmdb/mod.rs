//! What a CMDB may know: verified facts only.
//!
//! Manifest and facts of an item are those of its evidence, the last full sweep
//! that found the node congruent; where there never was one they are null, and
//! nothing that the node says of itself stands in for them.

use std::sync::Arc;

use congruent_protocol::digest::Digest;
use congruent_protocol::report::Facts;
use congruent_protocol::verification::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Config, Node};
use crate::store::{StoreError, SubjectRow, View};

/// The version of the JSON of items.
const ITEM_SCHEMA: u32 = 1;

/// A node, as a CMDB gets it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CmdbItem)]
pub(crate) struct Item {
    schema_version: u32,
    node: String,
    group: String,
    environment: String,
    manifest: Option<Manifest>,
    /// The root of the manifest.
    root: Option<Digest>,
    state: State,
    verified_at: Option<Timestamp>,
    evidence: Option<Evidence>,
    facts: Option<Facts>,
    /// The containers that run on it.
    containers: Vec<Container>,
}

/// A container; what of it is not null is of its evidence.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CmdbContainer)]
struct Container {
    id: String,
    state: State,
    name: Option<String>,
    runtime: Option<String>,
    config_digest: Option<Digest>,
    manifest: Option<Manifest>,
    verified_at: Option<Timestamp>,
    evidence: Option<Evidence>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CmdbManifest)]
struct Manifest {
    name: String,
    version: String,
    root: Digest,
}

/// The report that an item stands on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CmdbEvidence)]
struct Evidence {
    sequence: u64,
    report_digest: Digest,
}

/// These nodes, one line of JSON each.
pub(crate) fn ndjson(view: &View<'_>, config: &Config, nodes: &[Arc<Node>]) -> Result<Vec<u8>, StoreError> {
    let mut lines = Vec::new();
    for node in nodes {
        let item = item(view, config, node)?;
        serde_json::to_writer(&mut lines, &item)
            .map_err(|source| StoreError::Stored { what: "an item for a CMDB", source })?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn item(view: &View<'_>, config: &Config, node: &Node) -> Result<Item, StoreError> {
    let row = view.node(&node.id)?;
    let verified = row.as_ref().and_then(|row| row.verified_report_id);
    let verified = verified.map(|id| view.report(id)).transpose()?.flatten();
    let facts = verified.as_ref().map(|row| view.report_body(row.id)).transpose()?.map(|body| body.facts);
    let environment = config.groups.get(&node.group).map(|group| group.environment.clone());
    let report = verified.map(|row| row.report);
    let manifest = report.as_ref().and_then(|report| report.manifest.clone());
    Ok(Item {
        schema_version: ITEM_SCHEMA,
        node: node.id.clone(),
        group: node.group.clone(),
        environment: environment.unwrap_or_default(),
        root: manifest.as_ref().map(|manifest| manifest.root),
        manifest: manifest.map(|id| Manifest { name: id.name, version: id.version, root: id.root }),
        state: row.map_or(State::Unknown, |row| row.state),
        verified_at: report.as_ref().map(|report| report.received_at),
        evidence: report.map(|report| Evidence { sequence: report.sequence, report_digest: report.digest }),
        facts,
        containers: containers(view, &node.id)?,
    })
}

fn containers(view: &View<'_>, node: &str) -> Result<Vec<Container>, StoreError> {
    let subjects = view.subjects_of(node)?.into_iter();
    let containers = subjects.filter_map(|row| Some((row.id.container.clone()?, row)));
    containers.map(|(id, row)| container(view, id, &row)).collect()
}

fn container(view: &View<'_>, id: String, row: &SubjectRow) -> Result<Container, StoreError> {
    let verified = row.verified_report_id.map(|id| view.report(id)).transpose()?.flatten();
    let body = verified.as_ref().map(|row| view.report_body(row.id)).transpose()?;
    let identity = body.and_then(|body| body.container).map(|container| container.identity);
    let report = verified.map(|row| row.report);
    let manifest = report.as_ref().and_then(|report| report.manifest.clone());
    Ok(Container {
        id,
        state: row.state,
        name: identity.as_ref().and_then(|identity| identity.name.clone()),
        config_digest: identity.as_ref().and_then(|identity| identity.config_digest),
        runtime: identity.map(|identity| identity.runtime),
        manifest: manifest.map(|id| Manifest { name: id.name, version: id.version, root: id.root }),
        verified_at: report.as_ref().map(|report| report.received_at),
        evidence: report.map(|report| Evidence { sequence: report.sequence, report_digest: report.digest }),
    })
}
