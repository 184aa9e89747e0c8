//! Reports: every one that was acknowledged, with its bytes.

use super::sql::{Row, SqlResult, params};
use congruent_protocol::decision::Verdict;
use congruent_protocol::digest::Digest;
use congruent_protocol::report::{ContainerIdentity, Report, Sealed, SetChange};
use congruent_protocol::verification::{ManifestId, State, SweepMode};
use jiff::Timestamp;
use serde::Deserialize;

use super::actions::ActionRow;
use super::bodies::Body;
use super::columns::{Json, Micros, Word};
use super::{StoreError, Tx, View};
use crate::packed::unpack;
use crate::subject::SubjectId;

/// A report to be stored.
#[derive(Debug, Clone)]
pub(crate) struct NewReport {
    pub(crate) node: String,
    /// The container that it is about; none where it is the node itself.
    pub(crate) container: Option<String>,
    pub(crate) chain: u64,
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
    pub(crate) boot: String,
    /// The chain's id, as the agent made it.
    pub(crate) chain_id: String,
    pub(crate) agent_version: String,
    pub(crate) reported_at: Timestamp,
    pub(crate) received_at: Timestamp,
    pub(crate) state: State,
    pub(crate) note: Option<String>,
    pub(crate) late: bool,
    pub(crate) sweep: Option<SweepMode>,
    /// When the sweep began and ended, by the node's clock.
    pub(crate) swept: Option<(Timestamp, Timestamp)>,
    pub(crate) conditional: bool,
    pub(crate) manifest: Option<ManifestId>,
    pub(crate) observed_root: Option<Digest>,
    pub(crate) findings_total: u64,
    pub(crate) findings_digest: Digest,
    /// Of a container: the digest of what was found beside its merged tree.
    pub(crate) beside: Option<Digest>,
}

/// A stored report, without its body.
#[derive(Debug, Clone)]
pub(crate) struct ReportRow {
    pub(crate) id: i64,
    pub(crate) report: NewReport,
    pub(crate) verdict: Option<Verdict>,
}

/// The end of a node's reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndRow {
    pub(crate) chain: u64,
    /// The chain's id, as the agent made it.
    pub(crate) chain_id: String,
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
}

const COLUMNS: &str = "id, node, container, chain, sequence, digest, boot, chain_id, agent_version, reported_at, received_at, state, \
     note, late, sweep, sweep_began_at, sweep_ended_at, conditional, manifest, observed_root, findings_total, findings_digest, verdict, beside";

impl NewReport {
    /// What it is about.
    pub(crate) fn subject(&self) -> SubjectId {
        SubjectId { node: self.node.clone(), container: self.container.clone() }
    }
}

impl ReportRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let time = |column| row.get::<_, Option<Micros>>(column).map(|time| time.map(|time| time.0));
        let SubjectId { node, container } = SubjectId::from_row(row)?;
        let report = NewReport {
            node,
            container,
            chain: row.get("chain")?,
            sequence: row.get("sequence")?,
            digest: row.get::<_, Word<_>>("digest")?.0,
            boot: row.get("boot")?,
            chain_id: row.get("chain_id")?,
            agent_version: row.get("agent_version")?,
            reported_at: row.get::<_, Micros>("reported_at")?.0,
            received_at: row.get::<_, Micros>("received_at")?.0,
            state: row.get::<_, Word<_>>("state")?.0,
            note: row.get("note")?,
            late: row.get("late")?,
            sweep: row.get::<_, Option<Word<_>>>("sweep")?.map(|word| word.0),
            swept: time("sweep_began_at")?.zip(time("sweep_ended_at")?),
            conditional: row.get("conditional")?,
            manifest: row.get::<_, Option<Json<_>>>("manifest")?.map(|json| json.0),
            observed_root: row.get::<_, Option<Word<_>>>("observed_root")?.map(|word| word.0),
            findings_total: row.get("findings_total")?,
            findings_digest: row.get::<_, Word<_>>("findings_digest")?.0,
            beside: row.get::<_, Option<Word<_>>>("beside")?.map(|word| word.0),
        };
        let verdict = row.get::<_, Option<Word<_>>>("verdict")?.map(|word| word.0);
        Ok(Self { id: row.get("id")?, report, verdict })
    }
}

impl View<'_> {
    /// The digest of the report with this number in the chain with this id.
    pub(crate) fn report_digest(
        &self,
        node: &str,
        chain_id: &str,
        sequence: u64,
    ) -> Result<Option<Digest>, StoreError> {
        let sql = "SELECT digest FROM reports WHERE node = ?1 AND chain_id = ?2 AND sequence = ?3";
        self.row("look for a report of the same number", sql, params![node, chain_id, sequence], |row| {
            Ok(row.get::<_, Word<Digest>>(0)?.0)
        })
    }

    /// The end of a node's reports: the one that no other came after.
    pub(crate) fn end_of_reports(&self, node: &str) -> Result<Option<EndRow>, StoreError> {
        let sql = "SELECT chain, chain_id, sequence, digest FROM reports WHERE node = ?1 \
             ORDER BY chain DESC, sequence DESC LIMIT 1";
        self.row("look for a node's newest report", sql, params![node], |row| {
            let digest = row.get::<_, Word<Digest>>(3)?.0;
            Ok(EndRow { chain: row.get(0)?, chain_id: row.get(1)?, sequence: row.get(2)?, digest })
        })
    }

    /// The report of `node` that no other came after.
    #[cfg(test)]
    pub(crate) fn newest_report(&self, node: &str) -> Result<Option<ReportRow>, StoreError> {
        let sql = select("node = ?1 ORDER BY chain DESC, sequence DESC LIMIT 1");
        self.row("look for a node's newest report", &sql, params![node], ReportRow::from_row)
    }

    /// The highest number in the chain with this id; 0 where there is none.
    pub(crate) fn end_of_chain(&self, node: &str, chain_id: &str) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(sequence), 0) FROM reports WHERE node = ?1 AND chain_id = ?2";
        let end = self.row("look for a chain's end", sql, params![node, chain_id], |row| row.get(0))?;
        Ok(end.unwrap_or(0))
    }

    /// The report with this number in the chain with this id.
    pub(crate) fn report_numbered(
        &self,
        node: &str,
        chain_id: &str,
        sequence: u64,
    ) -> Result<Option<ReportRow>, StoreError> {
        let sql = select("node = ?1 AND chain_id = ?2 AND sequence = ?3");
        self.row(
            "look for a report by its number",
            &sql,
            params![node, chain_id, sequence],
            ReportRow::from_row,
        )
    }

    /// The report with this id.
    pub(crate) fn report(&self, id: i64) -> Result<Option<ReportRow>, StoreError> {
        self.row("look for a report", &select("id = ?1"), params![id], ReportRow::from_row)
    }

    /// The newest report of a subject that was not late, also of one that is none any more.
    pub(crate) fn newest_report_of(&self, subject: &SubjectId) -> Result<Option<ReportRow>, StoreError> {
        let sql =
            select("node = ?1 AND container = ?2 AND NOT late ORDER BY received_at DESC, id DESC LIMIT 1");
        let values = params![subject.node, subject.container_column()];
        self.row("look for a subject's newest report", &sql, values, ReportRow::from_row)
    }

    /// When the last full look at a subject arrived that found it congruent, also at one that
    /// is none any more.
    pub(crate) fn verified_at(&self, subject: &SubjectId) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT max(received_at) FROM reports WHERE node = ?1 AND container = ?2 AND NOT late \
             AND state = 'congruent' AND sweep = 'full'";
        let values = params![subject.node, subject.container_column()];
        let at = self.row("look when a subject was verified", sql, values, |row| {
            Ok(row.get::<_, Option<Micros>>(0)?.map(|time| time.0))
        })?;
        Ok(at.flatten())
    }

    /// The first reports that policy was not asked about yet.
    pub(crate) fn unjudged_reports(&self, limit: usize) -> Result<Vec<ReportRow>, StoreError> {
        let sql = select("NOT judged ORDER BY id LIMIT ?1");
        self.rows("look for unjudged reports", &sql, params![limit], ReportRow::from_row)
    }

    /// Which of a node's chains has this id.
    pub(crate) fn chain_of(&self, node: &str, id: &str) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT chain FROM reports WHERE node = ?1 AND chain_id = ?2 LIMIT 1";
        self.row("look for a chain", sql, params![node, id], |row| row.get(0))
    }

    /// The newest full sweeps of a subject that were not late, the newest first.
    pub(crate) fn newest_full_sweeps(
        &self,
        subject: &SubjectId,
        limit: usize,
    ) -> Result<Vec<ReportRow>, StoreError> {
        let sql = select(
            "node = ?1 AND container = ?2 AND sweep = 'full' AND NOT late ORDER BY chain DESC, sequence DESC LIMIT ?3",
        );
        let values = params![subject.node, subject.container_column(), limit];
        self.rows("read a subject's full sweeps", &sql, values, ReportRow::from_row)
    }

    /// A subject's reports before `before` that found something, since an action of it began or
    /// since the report that its decision is about: of all that found the same, the newest.
    pub(crate) fn found_since(
        &self,
        action: &ActionRow,
        decided_on: i64,
        before: i64,
    ) -> Result<Vec<i64>, StoreError> {
        // What was judged when the action began is the newest that had come by then.
        let sql = "SELECT max(id) FROM reports WHERE node = ?1 AND container = ?2 AND NOT late \
             AND state = 'divergent' AND id < ?3 AND (id >= ?4 OR id >= (SELECT id FROM reports \
              WHERE node = ?1 AND container = ?2 AND NOT late AND received_at <= ?5 \
              ORDER BY received_at DESC, id DESC LIMIT 1)) \
             GROUP BY findings_digest, beside, manifest_root";
        let SubjectId { node, .. } = &action.subject;
        let container = action.subject.container_column();
        let values = params![node, container, before, decided_on, Micros(action.created_at)];
        self.rows("look for what was found of a subject", sql, values, |row| row.get(0))
    }

    /// A report with its whole set of findings.
    pub(crate) fn report_body(&self, id: i64) -> Result<Report, StoreError> {
        let malformed = |source| StoreError::Stored { what: "a report", source };
        let body = self.sealed_report(id)?;
        let Ok(sealed) = Sealed::parse(&body) else {
            // Before reports were sealed, they were kept whole.
            return serde_json::from_slice(&body).map_err(malformed);
        };
        let report: Report<SetChange> = serde_json::from_slice(sealed.payload()).map_err(malformed)?;
        report.try_map(|change| match change.count {
            0 => Ok(Vec::new()),
            _ => self.finding_set(&change.digest)?.ok_or(StoreError::NoSet(change.digest)),
        })
    }
}

impl View<'_> {
    /// Which container a subject is that is none any more, as its node said last before
    /// `until`. Reports whose bytes lie as blobs are not asked; none where no other is there,
    /// or the last cannot be read.
    pub(crate) fn identity_until(
        &self,
        subject: &SubjectId,
        until: Timestamp,
    ) -> Result<Option<ContainerIdentity>, StoreError> {
        #[derive(Deserialize)]
        struct Told {
            container: Option<ContainerIdentity>,
        }
        let sql = "SELECT body FROM reports JOIN report_bodies ON report_id = id \
             WHERE node = ?1 AND container = ?2 AND received_at < ?3 ORDER BY received_at DESC, id DESC LIMIT 1";
        let values = params![subject.node, subject.container_column(), Micros(until)];
        let packed: Option<Vec<u8>> =
            self.row("look for a container's report", sql, values, |row| row.get(0))?;
        let Some(body) = packed.and_then(|packed| unpack(&packed).ok()) else { return Ok(None) };
        // What was kept before reports were sealed was of nodes.
        let Ok(sealed) = Sealed::parse(&body) else { return Ok(None) };
        let told = serde_json::from_slice::<Told>(sealed.payload());
        Ok(told.ok().and_then(|told| told.container))
    }
}

fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM reports WHERE {condition}")
}

impl Tx<'_> {
    /// Stores a report and its bytes; gives its id. A late one is not judged.
    pub(crate) fn insert_report(&self, report: &NewReport, body: &Body) -> Result<i64, StoreError> {
        let action = "store a report";
        let sql = "INSERT INTO reports (node, chain, sequence, digest, boot, chain_id, agent_version, reported_at, \
             received_at, state, note, late, sweep, conditional, manifest, manifest_root, observed_root, \
             findings_total, findings_digest, judged, sweep_began_at, sweep_ended_at, container, beside) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?12, ?20, ?21, ?22, ?23)";
        let manifest = report.manifest.as_ref();
        let values = params![
            report.node,
            report.chain,
            report.sequence,
            Word(report.digest),
            report.boot,
            report.chain_id,
            report.agent_version,
            Micros(report.reported_at),
            Micros(report.received_at),
            Word(report.state),
            report.note,
            report.late,
            report.sweep.map(Word),
            report.conditional,
            manifest.map(Json),
            manifest.map(|manifest| Word(manifest.root)),
            report.observed_root.map(Word),
            report.findings_total,
            Word(report.findings_digest),
            report.swept.map(|(began, _)| Micros(began)),
            report.swept.map(|(_, ended)| Micros(ended)),
            report.container.as_deref().unwrap_or_default(),
            report.beside.map(Word),
        ];
        let id = self.insert(action, sql, values)?;
        self.insert_body(id, body)?;
        Ok(id)
    }

    /// Notes that policy was asked about a report, and what it said.
    pub(crate) fn mark_judged(&self, id: i64, verdict: Option<Verdict>) -> Result<(), StoreError> {
        let sql = "UPDATE reports SET judged = TRUE, verdict = ?2 WHERE id = ?1";
        self.execute("mark a report as judged", sql, params![id, verdict.map(Word)]).map(drop)
    }

    /// Marks the reports of a subject that nobody will judge.
    pub(crate) fn skip_reports(&self, subject: &SubjectId) -> Result<(), StoreError> {
        let sql = "UPDATE reports SET judged = TRUE WHERE node = ?1 AND container = ?2 AND NOT judged";
        let values = params![subject.node, subject.container_column()];
        self.execute("skip a subject's reports", sql, values).map(drop)
    }

    /// Marks the reports of a node, and of what ran on it, that nobody will judge.
    pub(crate) fn skip_all_reports(&self, node: &str) -> Result<(), StoreError> {
        let sql = "UPDATE reports SET judged = TRUE WHERE node = ?1 AND NOT judged";
        self.execute("skip a node's reports", sql, params![node]).map(drop)
    }
}
