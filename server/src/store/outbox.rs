//! Orders on their way to a platform.

use super::sql::params;
use jiff::Timestamp;

use super::columns::{Micros, Packed};
use super::{StoreError, Tx, View};

/// What became of a try that was under way when the collector ended.
const CUT_OFF: &str = "cut off when the collector ended; the platform may have the order";

/// A delivery that may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DueDelivery {
    /// The action; what makes deliveries idempotent.
    pub(crate) action_id: String,
    pub(crate) webhook: String,
    /// The order, byte for byte the same at every try.
    pub(crate) body: Vec<u8>,
    /// Which try this is, from 1.
    pub(crate) attempt: u32,
}

/// A try to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryRow {
    pub(crate) attempt: u32,
    pub(crate) at: Timestamp,
    pub(crate) outcome: String,
}

impl View<'_> {
    /// When the next delivery is due; none where nothing is to be delivered.
    pub(crate) fn next_delivery_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT next_attempt_at FROM outbox JOIN actions ON actions.id = action_id \
             WHERE state = 'proposed' AND NOT in_flight ORDER BY next_attempt_at LIMIT 1";
        let next = self.row("look for deliveries", sql, params![], |row| row.get::<_, Micros>(0))?;
        Ok(next.map(|time| time.0))
    }

    /// The order of an action: the bytes that are delivered.
    pub(crate) fn order(&self, action_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT body FROM outbox WHERE action_id = ?1";
        let body =
            self.row("read an order", sql, params![action_id], |row| row.get::<_, Packed<Vec<u8>>>(0))?;
        Ok(body.map(|body| body.0))
    }

    /// The tries to deliver an action's order, in order.
    pub(crate) fn deliveries(&self, action_id: &str) -> Result<Vec<DeliveryRow>, StoreError> {
        let sql = "SELECT attempt, at, outcome FROM deliveries WHERE action_id = ?1 ORDER BY id";
        self.rows("read the deliveries of an action", sql, params![action_id], |row| {
            Ok(DeliveryRow { attempt: row.get(0)?, at: row.get::<_, Micros>(1)?.0, outcome: row.get(2)? })
        })
    }
}

impl Tx<'_> {
    /// Puts an order in, to be delivered from `at` on. One that is in already
    /// keeps its bytes: the platform may have them.
    pub(crate) fn insert_order(
        &self,
        action_id: &str,
        webhook: &str,
        body: &[u8],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO outbox (action_id, webhook, body, attempts, in_flight, next_attempt_at) \
             VALUES (?1, ?2, ?3, 0, FALSE, ?4) ON CONFLICT (action_id) DO UPDATE SET \
             webhook = excluded.webhook, attempts = 0, next_attempt_at = excluded.next_attempt_at";
        let values = params![action_id, webhook, Packed(body), Micros(at)];
        self.execute("put an order into the outbox", sql, values).map(drop)
    }

    /// Sends an order that is not under way to another webhook, as it is; gives
    /// whether it was bound for another.
    pub(crate) fn redirect_order(&self, action_id: &str, webhook: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE outbox SET webhook = ?2 WHERE action_id = ?1 AND webhook <> ?2 AND NOT in_flight";
        self.execute("redirect an order", sql, params![action_id, webhook]).map(|changed| changed > 0)
    }

    /// Takes back an order that is not under way.
    pub(crate) fn remove_order(&self, action_id: &str) -> Result<(), StoreError> {
        self.execute("take back an order", "DELETE FROM outbox WHERE action_id = ?1", params![action_id])
            .map(drop)
    }

    /// Takes the deliveries that are due, and notes that they are under way
    /// before anything is sent.
    pub(crate) fn begin_deliveries(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, in_flight = TRUE WHERE action_id IN \
             (SELECT action_id FROM outbox JOIN actions ON actions.id = action_id \
              WHERE state = 'proposed' AND NOT in_flight AND next_attempt_at <= ?1 \
              ORDER BY next_attempt_at LIMIT ?2) \
             RETURNING action_id, webhook, body, attempts";
        self.rows("begin deliveries", sql, params![Micros(now), limit], |row| {
            Ok(DueDelivery {
                action_id: row.get(0)?,
                webhook: row.get(1)?,
                body: row.get::<_, Packed<Vec<u8>>>(2)?.0,
                attempt: row.get(3)?,
            })
        })
    }

    /// Ends a try; the next may begin at `next`.
    pub(crate) fn end_delivery(
        &self,
        delivery: &DueDelivery,
        at: Timestamp,
        outcome: &str,
        next: Timestamp,
    ) -> Result<(), StoreError> {
        let (action, id) = ("record a delivery", &delivery.action_id);
        let sql = "UPDATE outbox SET in_flight = FALSE, next_attempt_at = ?2 WHERE action_id = ?1";
        self.execute(action, sql, params![id, Micros(next)])?;
        let sql = "INSERT INTO deliveries (action_id, attempt, at, outcome) VALUES (?1, ?2, ?3, ?4)";
        self.execute(action, sql, params![id, delivery.attempt, Micros(at), outcome]).map(drop)
    }

    /// At start: what was under way when the collector ended is due again,
    /// under the same id, and has lost no try. Whether it arrived is not known,
    /// which is recorded.
    pub(crate) fn resume_deliveries(&self, now: Timestamp) -> Result<(), StoreError> {
        let action = "resume deliveries";
        let sql = "INSERT INTO deliveries (action_id, attempt, at, outcome) \
             SELECT action_id, attempts, ?1, ?2 FROM outbox WHERE in_flight";
        self.execute(action, sql, params![Micros(now), CUT_OFF])?;
        let sql = "UPDATE outbox SET in_flight = FALSE, attempts = attempts - 1 WHERE in_flight";
        self.execute(action, sql, params![]).map(drop)
    }
}
