//! What is removed since it is old enough: some rows at a time, so that those who write
//! need not wait for long.
//!
//! Never removed is what a node that is known stands on: its newest report, the last that
//! found it congruent, the last looks that plans are made from, its decision, what its
//! ledger was made of, and whatever a record that stays refers to. What was
//! removed is on record itself, so that a report about an earlier time says so.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::columns::{Micros, Word};
use super::sql::{Row, SqlResult, params};
use super::{StoreError, Tx, View};

/// How many rows are looked at in one transaction.
const CHUNK: i64 = 500;

/// What is removed together, each kind after its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RecordKind {
    /// Actions that are over, with their orders and deliveries.
    Actions,
    /// Decisions, with all that policy was asked.
    Decisions,
    /// Changes of nodes' states, and the notes on their chains of reports.
    States,
    /// Reports, with their bytes and their sets of findings.
    Reports,
    /// Reports that were refused.
    Refusals,
    /// What operators did, and what the collector was configured with.
    Audit,
}

/// What is looked at in the order of a number: all rows of a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shelf {
    pub(crate) kind: RecordKind,
    table: &'static str,
    /// The number, and the time that counts.
    number: &'static str,
    time: &'static str,
    /// Which rows may go, of those that are old enough: `this` is the row, `?3` the time.
    may_go: &'static str,
    /// What refers to a row and goes with it: table and column. Its `id` is referred to.
    with: &'static [(&'static str, &'static str)],
}

/// How far a shelf was looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cleared {
    /// How many rows went, without what went with them.
    pub(crate) removed: u64,
    /// After which number to go on; none where nothing that follows is old enough.
    pub(crate) next: Option<i64>,
}

/// What is gone of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RemovalRow {
    pub(crate) kind: RecordKind,
    /// What came before this may be gone.
    pub(crate) until: Timestamp,
    /// How many rows are.
    pub(crate) count: u64,
}

/// In this order, for what is referred to goes after what refers to it.
pub(crate) const SHELVES: &[Shelf] = &[
    Shelf {
        kind: RecordKind::Actions,
        table: "actions",
        number: "decision_id",
        time: "updated_at",
        // The newest of a node, and the newest that failed, are what its next is planned from.
        may_go: "this.state NOT IN ('held', 'proposed', 'dispatched') \
             AND (NOT EXISTS (SELECT 1 FROM subjects WHERE subjects.node = this.node AND subjects.container = this.container) \
              OR EXISTS (SELECT 1 FROM actions later WHERE later.node = this.node AND later.container = this.container \
                  AND (later.created_at, later.decision_id) > (this.created_at, this.decision_id)) \
               AND (this.state <> 'failed' OR EXISTS (SELECT 1 FROM actions later WHERE later.node = this.node AND later.container = this.container \
                  AND later.state = 'failed' AND later.updated_at > this.updated_at)))",
        with: &[("deliveries", "action_id"), ("action_history", "action_id"), ("outbox", "action_id")],
    },
    Shelf {
        kind: RecordKind::Decisions,
        table: "decisions",
        number: "id",
        time: "at",
        may_go: "NOT EXISTS (SELECT 1 FROM actions WHERE actions.decision_id = this.id) \
             AND NOT EXISTS (SELECT 1 FROM subjects WHERE subjects.node = this.node AND subjects.container = this.container AND subjects.decision_id = this.id)",
        with: &[],
    },
    Shelf {
        kind: RecordKind::States,
        table: "subject_states",
        number: "id",
        time: "at",
        // The last that is old enough is what a node was since then.
        may_go: "NOT EXISTS (SELECT 1 FROM subjects WHERE subjects.node = this.node AND subjects.container = this.container) \
             OR EXISTS (SELECT 1 FROM subject_states later WHERE later.node = this.node AND later.container = this.container AND later.id > this.id \
                 AND later.at >= this.at AND later.at < ?3)",
        with: &[],
    },
    Shelf {
        kind: RecordKind::States,
        table: "chain_notes",
        number: "id",
        time: "at",
        may_go: "TRUE",
        with: &[],
    },
    Shelf {
        kind: RecordKind::Reports,
        table: "reports",
        number: "id",
        time: "received_at",
        may_go: "this.judged \
             AND NOT EXISTS (SELECT 1 FROM decisions WHERE decisions.report_id = this.id) \
             AND NOT EXISTS (SELECT 1 FROM subject_states WHERE subject_states.report_id = this.id) \
             AND NOT EXISTS (SELECT 1 FROM first_values JOIN enrolments ON enrolments.id = first_values.chain_id \
                 WHERE first_values.report_id = this.id AND enrolments.revoked_at IS NULL) \
             AND (NOT EXISTS (SELECT 1 FROM subjects WHERE subjects.node = this.node AND subjects.container = this.container) \
              OR NOT EXISTS (SELECT 1 FROM subjects WHERE subjects.node = this.node AND subjects.container = this.container \
                  AND (subjects.report_id = this.id OR subjects.verified_report_id = this.id)) \
               AND (this.sweep IS NULL OR EXISTS (SELECT 1 FROM reports later WHERE later.node = this.node AND later.container = this.container \
                  AND (later.chain, later.sequence) > (this.chain, this.sequence) AND later.sweep IS NOT NULL)) \
               AND (this.sweep IS NULL OR this.sweep <> 'full' OR this.late \
                OR EXISTS (SELECT 1 FROM reports later WHERE later.node = this.node AND later.container = this.container \
                  AND (later.chain, later.sequence) > (this.chain, this.sequence) \
                  AND later.sweep = 'full' AND NOT later.late LIMIT 1 OFFSET 1)))",
        with: &[("report_bodies", "report_id"), ("first_values", "report_id")],
    },
    Shelf {
        kind: RecordKind::Refusals,
        table: "refusals",
        number: "id",
        time: "last_at",
        may_go: "TRUE",
        with: &[],
    },
    Shelf {
        kind: RecordKind::Audit,
        table: "audit",
        number: "id",
        time: "last_at",
        may_go: "TRUE",
        with: &[],
    },
    Shelf {
        kind: RecordKind::Audit,
        table: "scopes",
        number: "id",
        time: "at",
        may_go: "EXISTS (SELECT 1 FROM scopes later WHERE later.id > this.id AND later.at < ?3)",
        with: &[],
    },
];

impl RecordKind {
    /// Its word, in configuration, metrics and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Decisions => "decisions",
            Self::States => "states",
            Self::Reports => "reports",
            Self::Refusals => "refusals",
            Self::Audit => "audit",
        }
    }
}

impl Shelf {
    /// Which rows go, of those numbered over `?1` up to `?2`. The newest of a table stays,
    /// so that its number is not given again.
    fn condition(&self) -> String {
        let Self { table, number, time, may_go, .. } = self;
        format!(
            "this.{number} > ?1 AND this.{number} <= ?2 AND this.{time} < ?3 \
             AND this.{number} < (SELECT max({number}) FROM {table}) AND ({may_go})"
        )
    }
}

impl RemovalRow {
    /// What is gone, by kind.
    pub(crate) fn all(view: &View<'_>) -> Result<Vec<Self>, StoreError> {
        let sql = "SELECT * FROM removals ORDER BY kind";
        view.rows("look what was removed", sql, params![], Self::from_row)
    }

    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            kind: row.get::<_, Word<_>>("kind")?.0,
            until: row.get::<_, Micros>("until")?.0,
            count: row.get("count")?,
        })
    }
}

impl View<'_> {
    /// How many rows a table has.
    #[cfg(test)]
    pub(crate) fn count(&self, table: &str) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {table}");
        Ok(self.row("count", &sql, params![], |row| row.get(0))?.unwrap_or(0))
    }

    /// The last number of the next rows of a shelf, where one of them is old enough.
    fn chunk(&self, shelf: &Shelf, after: i64, before: Timestamp) -> Result<Option<i64>, StoreError> {
        let Shelf { table, number, time, .. } = shelf;
        let sql = format!(
            "SELECT max(number), min(at) FROM \
             (SELECT {number} AS number, {time} AS at FROM {table} WHERE {number} > ?1 ORDER BY {number} LIMIT ?2) AS chunk"
        );
        let found = self.row("look for old records", &sql, params![after, CHUNK], |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        let (last, oldest) = found.unwrap_or_default();
        Ok(last.filter(|_| oldest.is_some_and(|oldest| oldest < before.as_microsecond())))
    }
}

impl Tx<'_> {
    /// Removes what may go from the next rows of a shelf that came before `before`.
    pub(crate) fn clear(&self, shelf: &Shelf, after: i64, before: Timestamp) -> Result<Cleared, StoreError> {
        let Some(last) = self.chunk(shelf, after, before)? else {
            return Ok(Cleared { removed: 0, next: None });
        };
        let action = "remove old records";
        let (table, condition) = (shelf.table, shelf.condition());
        let values = params![after, last, Micros(before)];
        for (other, column) in shelf.with {
            let sql = format!(
                "DELETE FROM {other} WHERE {column} IN (SELECT this.id FROM {table} AS this WHERE {condition})"
            );
            self.execute(action, &sql, values)?;
        }
        if shelf.kind == RecordKind::Reports {
            let sql = format!(
                "UPDATE report_blobs SET report_id = NULL, at = 0 WHERE report_id IN \
                 (SELECT this.id FROM {table} AS this WHERE {condition})"
            );
            self.execute(action, &sql, values)?;
        }
        let delete = format!("DELETE FROM {table} AS this WHERE {condition}");
        let removed = if shelf.kind == RecordKind::Reports {
            let sets = self.rows(action, &format!("{delete} RETURNING findings_digest"), values, |row| {
                row.get::<_, String>(0)
            })?;
            self.remove_sets(&sets)?;
            sets.len() as u64
        } else {
            self.execute(action, &delete, values)? as u64
        };
        if removed > 0 {
            self.note_removal(shelf.kind, before, removed)?;
        }
        Ok(Cleared { removed, next: Some(last) })
    }

    /// Removes the sets of findings that no report names any more, of these.
    fn remove_sets(&self, digests: &[String]) -> Result<(), StoreError> {
        let distinct: std::collections::BTreeSet<&String> = digests.iter().collect();
        let sql = "DELETE FROM finding_sets WHERE digest = ?1 \
             AND NOT EXISTS (SELECT 1 FROM reports WHERE findings_digest = ?1 AND findings_total > 0)";
        for digest in distinct {
            self.execute("remove old sets of findings", sql, params![digest])?;
        }
        Ok(())
    }

    fn note_removal(&self, kind: RecordKind, until: Timestamp, count: u64) -> Result<(), StoreError> {
        let sql = "INSERT INTO removals (kind, until, count) VALUES (?1, ?2, ?3) ON CONFLICT (kind) DO UPDATE SET \
             until = CASE WHEN excluded.until > removals.until THEN excluded.until ELSE removals.until END, \
             count = removals.count + excluded.count";
        self.execute("note what was removed", sql, params![Word(kind), Micros(until), count]).map(drop)
    }

    /// Forgets the collectors that wrote nothing since `before`; gives how many.
    pub(crate) fn forget_writers(&self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "DELETE FROM writers WHERE at < ?1";
        Ok(self.execute("forget collectors that are gone", sql, params![Micros(before)])? as u64)
    }
}
