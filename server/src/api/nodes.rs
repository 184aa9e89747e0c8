//! `GET /v1/nodes`: nodes at a glance, filtered, in pages.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use congruent_protocol::decision::{Severity, Verdict};
use congruent_protocol::verification::{ManifestId, Protected, State as NodeState};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{DEFAULT_LIMIT, check_limit, check_query, cut, refuse};
use super::refusals::BadRequest;
use crate::config::{Accepted, Config, Group, Mode};
use crate::liveness::Liveness;
use crate::store::{ListedSubject, NamePattern, NodeFilter, StoreError, View};

/// The longest name, part of one or pattern that is looked for, in bytes.
const MAX_TEXT_BYTES: usize = 800;

/// Which nodes are asked for: those to which all of it applies.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NodesQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = json!(DEFAULT_LIMIT))]
    limit: Option<usize>,
    /// Only what follows this name: `next` of the page before.
    after: Option<String>,
    /// Only the node of this name.
    node: Option<String>,
    /// Only of this group.
    group: Option<String>,
    /// Only those in this state.
    #[param(inline)]
    state: Option<NodeState>,
    /// What the decision that stands asks for.
    #[param(inline)]
    verdict: Option<Verdict>,
    /// How the name begins.
    prefix: Option<String>,
    /// What the name is like, such as `web-*`; without `*` and `?`, a part of it.
    name: Option<String>,
    /// Only those that nothing was heard of for so long, such as `10m`. What the
    /// pattern does not show, such as `1h 30m`, is taken too.
    #[param(value_type = Option<String>, pattern = "^([1-9][0-9]{0,2}h|[1-9][0-9]{0,4}m|[1-9][0-9]{0,6}s)$")]
    silent_for: Option<SignedDuration>,
    /// Those whose enrolment was revoked, instead of those that are enrolled.
    #[serde(default)]
    revoked: bool,
}

/// A page of nodes, in the order of their names.
#[derive(Serialize, ToSchema)]
pub(super) struct Nodes {
    schema_version: u32,
    nodes: Vec<NodeSummary>,
    /// Of the group that was asked for, or of all; null after the first page.
    totals: Option<Totals>,
    /// What the next page is to be `after`; null on the last.
    next: Option<String>,
    truncated: bool,
}

/// How many nodes there are in each state.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Totals {
    all: u64,
    congruent: u64,
    divergent: u64,
    incomplete: u64,
    silent: u64,
    unknown: u64,
}

/// A node at a glance.
#[derive(Serialize, ToSchema)]
pub(super) struct NodeSummary {
    id: String,
    /// Whether it may report; false where its enrolment was revoked.
    enrolled: bool,
    group: String,
    environment: String,
    mode: Mode,
    state: NodeState,
    note: Option<String>,
    since: Option<Timestamp>,
    /// When anything was heard of it last: a report, or a sign of life.
    last_seen: Option<Timestamp>,
    /// When its newest report came.
    reported_at: Option<Timestamp>,
    /// When the last full sweep arrived that found it congruent.
    verified_at: Option<Timestamp>,
    manifest: Option<ManifestId>,
    /// How much of the tree the manifest's contract protects; none where the
    /// manifest is not accepted.
    protected: Option<Protected>,
    findings_total: u64,
    verdict: Option<Verdict>,
    severity: Option<Severity>,
    policy_error: Option<String>,
}

/// The nodes, filtered and in the order of their names
#[utoipa::path(get, path = "/v1/nodes", operation_id = "list_nodes", tag = "nodes", params(NodesQuery),
    responses((status = 200, description = "A page of the nodes.", body = Nodes), BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<NodesQuery>, QueryRejection>,
) -> Result<Json<Nodes>, Problem> {
    let query = check_query(query)?;
    let (limit, after) = (check_limit(query.limit)?, query.after.clone());
    let filter = query.filter((api.clock)())?;
    let (config, liveness) = (Arc::clone(&api.config), Arc::clone(&api.ingest.arrived.liveness));
    let reading = api.store.read("read the nodes", move |view| {
        let totals = after.is_none().then(|| Totals::of(view, &filter)).transpose()?;
        let mut listed = view.list_nodes(&filter, after.as_deref(), limit + 1)?;
        let truncated = cut(&mut listed, limit);
        let next = listed.last().filter(|_| truncated).map(|last| last.subject.id.node.clone());
        let nodes = listed.into_iter().map(|row| NodeSummary::of(view, &config, &liveness, row));
        let mut nodes: Vec<_> = nodes.collect::<Result<_, _>>()?;
        // The store is told of signs of life later.
        nodes.retain(|node| filter.seen_before.is_none() || node.last_seen < filter.seen_before);
        Ok(Nodes { schema_version: API_SCHEMA, nodes, totals, next, truncated })
    });
    Ok(Json(reading.await?))
}

impl NodesQuery {
    fn filter(self, now: Timestamp) -> Result<NodeFilter, Problem> {
        let Self { after, node, group, state, verdict, prefix, name, silent_for, revoked, .. } = self;
        for (key, text) in
            [("after", &after), ("node", &node), ("group", &group), ("prefix", &prefix), ("name", &name)]
        {
            if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
                return Err(refuse(format!("{key} is over {MAX_TEXT_BYTES} bytes; no name is as long")));
            }
        }
        let seen_before = silent_for.map(|period| {
            let since = (!period.is_negative()).then(|| now.checked_sub(period).unwrap_or(Timestamp::MIN));
            since.ok_or_else(|| refuse("silent_for is a period such as 10m, and not negative".to_owned()))
        });
        Ok(NodeFilter {
            is_revoked: revoked,
            node,
            group,
            state,
            verdict,
            prefix,
            name: name.as_deref().map(NamePattern::new),
            seen_before: seen_before.transpose()?,
        })
    }
}

impl Totals {
    fn of(view: &View<'_>, filter: &NodeFilter) -> Result<Self, StoreError> {
        let mut totals = Self::default();
        for (state, count) in view.count_nodes(filter)? {
            let of_state = match state {
                NodeState::Congruent => &mut totals.congruent,
                NodeState::Divergent => &mut totals.divergent,
                NodeState::Incomplete => &mut totals.incomplete,
                NodeState::Silent => &mut totals.silent,
                NodeState::Unknown => &mut totals.unknown,
            };
            *of_state = count;
            totals.all += count;
        }
        Ok(totals)
    }
}

impl NodeSummary {
    /// A node as the store has it, and as it was heard of since.
    pub(super) fn of(
        view: &View<'_>,
        config: &Config,
        liveness: &Liveness,
        listed: ListedSubject,
    ) -> Result<Self, StoreError> {
        let ListedSubject { subject: node, manifest, findings_total, verified_at, decision, .. } = listed;
        let enrolled = node.group.is_some();
        let name = match node.group {
            Some(name) => name,
            None => view.newest_enrolment_of(&node.id.node)?.map(|last| last.group).unwrap_or_default(),
        };
        let group = config.groups.get(&name);
        let group: Option<&Group> = group.as_deref();
        let accepted = manifest.as_ref().zip(group).and_then(|(id, group)| group.accepted(id));
        Ok(Self {
            enrolled,
            environment: group.map(|group| group.environment.clone()).unwrap_or_default(),
            mode: group.map(|group| group.mode).unwrap_or_default(),
            group: name,
            state: node.state,
            note: node.note,
            since: Some(node.since),
            last_seen: node.last_seen.max(liveness.last(&node.id.node)),
            reported_at: node.reported_at,
            verified_at,
            protected: accepted.map(Accepted::protected),
            manifest,
            findings_total,
            verdict: decision.as_ref().map(|decision| decision.action),
            severity: decision.as_ref().map(|decision| decision.severity),
            policy_error: node.policy_error,
            id: node.id.node,
        })
    }
}
