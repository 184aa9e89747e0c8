//! The audit: who changed what, when and why, in the transaction of the change.

use super::sql::{Row, SqlResult, params};
use jiff::Timestamp;
use serde_json::Value;

use super::columns::{Json, Micros, Word};
use super::{StoreError, Tx, View};
use crate::identity::{Author, Operator, Role};

/// The action word of what was not let through.
const REFUSED: &str = "refused";
/// For how long equal refusals are counted in one row, in microseconds.
const COUNTED_WITHIN: i64 = 24 * 3600 * 1_000_000;

/// A change, or what was refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    pub(crate) operator: String,
    pub(crate) role: Role,
    /// Such as `operator-created`.
    pub(crate) action: String,
    /// Such as `operator alice`.
    pub(crate) object: String,
    /// None where the call was refused.
    pub(crate) reason: Option<String>,
    pub(crate) detail: Value,
    /// How often, and when last; more than once only for refusals.
    pub(crate) count: u64,
    pub(crate) last_at: Timestamp,
}

impl AuditRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            id: row.get("id")?,
            at: row.get::<_, Micros>("at")?.0,
            operator: row.get("operator")?,
            role: row.get::<_, Word<_>>("role")?.0,
            action: row.get("action")?,
            object: row.get("object")?,
            reason: row.get("reason")?,
            detail: row.get::<_, Json<_>>("detail")?.0,
            count: row.get("count")?,
            last_at: row.get::<_, Micros>("last_at")?.0,
        })
    }
}

impl View<'_> {
    /// The newest of the audit before the row `before`, the newest first.
    pub(crate) fn audit(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let sql = "SELECT * FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
        let values = params![before.unwrap_or(i64::MAX), limit];
        self.rows("read the audit", sql, values, AuditRow::from_row)
    }
}

impl View<'_> {
    /// The audit from `from` until before `until`, in order.
    pub(crate) fn audit_between(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let sql = "SELECT * FROM audit WHERE last_at >= ?1 AND at < ?2 ORDER BY id";
        self.rows("read a period's audit", sql, params![Micros(from), Micros(until)], AuditRow::from_row)
    }
}

impl Tx<'_> {
    /// Records a change: `action` is its word, such as `operator-created`, and
    /// `object` names what was changed, such as `operator alice`.
    pub(crate) fn audit_change(
        &self,
        author: &Author,
        at: Timestamp,
        action: &'static str,
        object: &str,
        detail: &Value,
    ) -> Result<(), StoreError> {
        let Author { operator: Operator { name, role }, reason } = author;
        let sql = "INSERT INTO audit (at, operator, role, action, object, reason, detail, count, last_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?1)";
        let values = params![Micros(at), name, Word(*role), action, object, reason, Json(detail)];
        self.execute("record a change in the audit", sql, values).map(drop)
    }

    /// Records that an operator's role did not let a call through. `route` is
    /// that of the API, not the path as it was called, and equal ones within a
    /// day are counted, so that who tries again and again does not fill the disk.
    pub(crate) fn audit_refusal(
        &self,
        operator: &Operator,
        at: Timestamp,
        route: &str,
        needed: Role,
    ) -> Result<(), StoreError> {
        let action = "record a refused call in the audit";
        let sql = "UPDATE audit SET count = count + 1, last_at = ?3 WHERE action = 'refused' AND id = \
             (SELECT max(id) FROM audit WHERE action = 'refused' AND operator = ?1 AND object = ?2 AND at > ?4)";
        let since = at.as_microsecond() - COUNTED_WITHIN;
        if self.execute(action, sql, params![operator.name, route, Micros(at), since])? > 0 {
            return Ok(());
        }
        let detail = serde_json::json!({ "needed": needed });
        let sql = "INSERT INTO audit (at, operator, role, action, object, detail, count, last_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?1)";
        let values = params![Micros(at), operator.name, Word(operator.role), REFUSED, route, Json(detail)];
        self.execute(action, sql, values).map(drop)
    }
}
