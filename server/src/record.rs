//! How records stand in JSON, the same in the API and in the auditor's report.

use congruent_protocol::action::{ActionState, OrderTarget};
use congruent_protocol::decision::{Decision, Verdict};
use congruent_protocol::digest::Digest;
use congruent_protocol::verification::{ManifestId, State, SweepMode};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::identity::Role;
use crate::store::{
    ActionRow, AuditRow, ChainNoteRow, DecisionRow, DeliveryRow, RefusalRow, ReportRow, StateRow, StepRow,
    StoreError, View,
};

/// What policy said, or how it failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DecisionRecord {
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    pub(crate) node: String,
    /// The container on it that was judged; null where it was the node itself.
    pub(crate) container: Option<String>,
    pub(crate) group: String,
    pub(crate) state: State,
    /// The number of the report that it is about.
    pub(crate) sequence: Option<u64>,
    /// None where policy failed.
    pub(crate) decision: Option<Decision>,
    pub(crate) policy_error: Option<String>,
    pub(crate) policy_digest: Digest,
    pub(crate) engine: String,
    /// The digest of what policy was asked: with it the decision can be replayed.
    pub(crate) input_digest: Digest,
}

impl From<DecisionRow> for DecisionRecord {
    fn from(row: DecisionRow) -> Self {
        let DecisionRow { id, decision, sequence } = row;
        let (decided, policy_error) = match decision.outcome {
            Ok(decided) => (Some(decided), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            id,
            at: decision.at,
            node: decision.subject.node,
            container: decision.subject.container,
            group: decision.group,
            state: decision.state,
            sequence,
            decision: decided,
            policy_error,
            policy_digest: decision.policy_digest,
            engine: decision.engine,
            input_digest: decision.input_digest,
        }
    }
}

/// An action and its life.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ActionRecord {
    pub(crate) id: String,
    pub(crate) node: String,
    /// The container on it that it is about; null where it is the node itself.
    pub(crate) container: Option<String>,
    pub(crate) group: String,
    /// To what: to the container, where there is one, or to the whole node.
    pub(crate) target: OrderTarget,
    /// `replace` or `quarantine`.
    pub(crate) action: Verdict,
    pub(crate) state: ActionState,
    pub(crate) reason: String,
    pub(crate) decision_id: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) history: Vec<Step>,
    pub(crate) deliveries: Vec<Delivery>,
}

/// A step in an action's life.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ActionStep)]
pub(crate) struct Step {
    pub(crate) at: Timestamp,
    pub(crate) state: ActionState,
    pub(crate) reason: String,
}

/// A try to deliver an order.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Delivery {
    pub(crate) attempt: u32,
    pub(crate) at: Timestamp,
    pub(crate) outcome: String,
}

impl ActionRecord {
    /// Reads the rest of an action.
    pub(crate) fn read(view: &View<'_>, row: ActionRow) -> Result<Self, StoreError> {
        let step = |StepRow { at, state, reason }| Step { at, state, reason };
        let delivery = |DeliveryRow { attempt, at, outcome }| Delivery { attempt, at, outcome };
        Ok(Self {
            target: view.target_of(&row)?,
            history: view.action_history(&row.id)?.into_iter().map(step).collect(),
            deliveries: view.deliveries(&row.id)?.into_iter().map(delivery).collect(),
            id: row.id,
            node: row.subject.node,
            container: row.subject.container,
            group: row.group,
            action: row.verdict,
            state: row.state,
            reason: row.reason,
            decision_id: row.decision_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// A report, without findings, coverage and facts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ReportRecord {
    pub(crate) sequence: u64,
    /// Which of the node's chains of reports it belongs to.
    pub(crate) chain: u64,
    pub(crate) digest: Digest,
    pub(crate) boot: String,
    pub(crate) agent_version: String,
    pub(crate) reported_at: Timestamp,
    pub(crate) received_at: Timestamp,
    pub(crate) state: State,
    pub(crate) note: Option<String>,
    pub(crate) sweep: Option<SweepMode>,
    pub(crate) conditional: bool,
    pub(crate) manifest: Option<ManifestId>,
    pub(crate) observed_root: Option<Digest>,
    pub(crate) findings_total: u64,
    pub(crate) findings_digest: Digest,
}

impl From<ReportRow> for ReportRecord {
    fn from(row: ReportRow) -> Self {
        let report = row.report;
        Self {
            sequence: report.sequence,
            chain: report.chain,
            digest: report.digest,
            boot: report.boot,
            agent_version: report.agent_version,
            reported_at: report.reported_at,
            received_at: report.received_at,
            state: report.state,
            note: report.note,
            sweep: report.sweep,
            conditional: report.conditional,
            manifest: report.manifest,
            observed_root: report.observed_root,
            findings_total: report.findings_total,
            findings_digest: report.findings_digest,
        }
    }
}

/// A change of a subject's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Transition {
    pub(crate) at: Timestamp,
    pub(crate) state: State,
    pub(crate) note: Option<String>,
}

impl From<StateRow> for Transition {
    fn from(row: StateRow) -> Self {
        Self { at: row.at, state: row.state, note: row.note }
    }
}

/// The state of a container; what runs no more has none, and is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ContainerState {
    Congruent,
    Divergent,
    Incomplete,
    Silent,
    Unknown,
    /// It runs no more.
    Over,
}

impl From<State> for ContainerState {
    fn from(state: State) -> Self {
        match state {
            State::Congruent => Self::Congruent,
            State::Divergent => Self::Divergent,
            State::Incomplete => Self::Incomplete,
            State::Silent => Self::Silent,
            State::Unknown => Self::Unknown,
        }
    }
}

impl ContainerState {
    /// What a container came to.
    pub(crate) fn of(row: &StateRow) -> Self {
        if row.is_over { Self::Over } else { row.state.into() }
    }

    /// The word that it has in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Congruent => State::Congruent.name(),
            Self::Divergent => State::Divergent.name(),
            Self::Incomplete => State::Incomplete.name(),
            Self::Silent => State::Silent.name(),
            Self::Unknown => State::Unknown.name(),
            Self::Over => "over",
        }
    }
}

/// A change of a container's state, of which the last may be that it was over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ContainerTransition {
    pub(crate) at: Timestamp,
    pub(crate) state: ContainerState,
    pub(crate) note: Option<String>,
}

impl From<StateRow> for ContainerTransition {
    fn from(row: StateRow) -> Self {
        Self { at: row.at, state: ContainerState::of(&row), note: row.note }
    }
}

/// Equal refusals in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RefusalRecord {
    pub(crate) node: String,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) count: u64,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl From<RefusalRow> for RefusalRecord {
    fn from(row: RefusalRow) -> Self {
        let RefusalRow { node, first_at, last_at, count, code, message } = row;
        Self { node, first_at, last_at, count, code, message }
    }
}

/// Where a node's chain of reports does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ChainNote {
    pub(crate) at: Timestamp,
    pub(crate) sequence: u64,
    pub(crate) note: String,
}

impl From<ChainNoteRow> for ChainNote {
    fn from(row: ChainNoteRow) -> Self {
        Self { at: row.at, sequence: row.sequence, note: row.note }
    }
}

/// A change, or a call that was refused for want of a role.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AuditRecord {
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    pub(crate) operator: String,
    pub(crate) role: Role,
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Value,
    pub(crate) count: u64,
    pub(crate) last_at: Timestamp,
}

impl From<AuditRow> for AuditRecord {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at, operator, role, action, object, reason, detail, count, last_at } = row;
        Self { id, at, operator, role, action, object, reason, detail, count, last_at }
    }
}
