//! Orders on their way to a platform.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::columns::{Micros, Packed};
use super::error::to;
use super::{StoreError, Tx, View};

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
        let sql = "SELECT min(next_attempt_at) FROM outbox JOIN actions ON actions.id = action_id \
             WHERE state = 'proposed' AND in_flight = 0";
        self.0
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, Option<Micros>>(0)))
            .map(|time| time.map(|time| time.0))
            .map_err(to("look for deliveries"))
    }

    /// The order of an action: the bytes that are delivered.
    pub(crate) fn order(&self, action_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0
            .prepare_cached("SELECT body FROM outbox WHERE action_id = ?1")
            .and_then(|mut statement| {
                statement.query_row([action_id], |row| row.get::<_, Packed<Vec<u8>>>(0)).optional()
            })
            .map(|body| body.map(|body| body.0))
            .map_err(to("read an order"))
    }

    /// The tries to deliver an action's order, in order.
    pub(crate) fn deliveries(&self, action_id: &str) -> Result<Vec<DeliveryRow>, StoreError> {
        let failed = to("read the deliveries of an action");
        let sql = "SELECT attempt, at, outcome FROM deliveries WHERE action_id = ?1 ORDER BY id";
        let mut statement = self.0.prepare_cached(sql).map_err(&failed)?;
        let rows = statement.query_map([action_id], |row| {
            Ok(DeliveryRow { attempt: row.get(0)?, at: row.get::<_, Micros>(1)?.0, outcome: row.get(2)? })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }
}

impl Tx<'_> {
    /// Puts an order in, to be delivered from `at` on.
    pub(crate) fn insert_order(
        &self,
        action_id: &str,
        webhook: &str,
        body: &[u8],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO outbox (action_id, webhook, body, attempts, in_flight, next_attempt_at) \
             VALUES (?1, ?2, ?3, 0, 0, ?4)";
        self.0
            .0
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.execute(params![action_id, webhook, Packed(body), Micros(at)])
            })
            .map(drop)
            .map_err(to("put an order into the outbox"))
    }

    /// Takes back an order that is not under way.
    pub(crate) fn remove_order(&self, action_id: &str) -> Result<(), StoreError> {
        self.0
            .0
            .prepare_cached("DELETE FROM outbox WHERE action_id = ?1")
            .and_then(|mut statement| statement.execute([action_id]))
            .map(drop)
            .map_err(to("take back an order"))
    }

    /// Takes the deliveries that are due, and notes that they are under way
    /// before anything is sent.
    pub(crate) fn begin_deliveries(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let failed = to("begin deliveries");
        let sql = "UPDATE outbox SET attempts = attempts + 1, in_flight = 1 WHERE action_id IN \
             (SELECT action_id FROM outbox JOIN actions ON actions.id = action_id \
              WHERE state = 'proposed' AND in_flight = 0 AND next_attempt_at <= ?1 \
              ORDER BY next_attempt_at LIMIT ?2) \
             RETURNING action_id, webhook, body, attempts";
        let mut statement = self.0.0.prepare_cached(sql).map_err(&failed)?;
        let rows = statement.query_map(params![Micros(now), limit], |row| {
            Ok(DueDelivery {
                action_id: row.get(0)?,
                webhook: row.get(1)?,
                body: row.get::<_, Packed<Vec<u8>>>(2)?.0,
                attempt: row.get(3)?,
            })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// Ends a try; the next may begin at `next`.
    pub(crate) fn end_delivery(
        &self,
        delivery: &DueDelivery,
        at: Timestamp,
        outcome: &str,
        next: Timestamp,
    ) -> Result<(), StoreError> {
        let failed = to("record a delivery");
        self.0
            .0
            .prepare_cached("UPDATE outbox SET in_flight = 0, next_attempt_at = ?2 WHERE action_id = ?1")
            .and_then(|mut statement| statement.execute(params![delivery.action_id, Micros(next)]))
            .map_err(&failed)?;
        let sql = "INSERT INTO deliveries (action_id, attempt, at, outcome) VALUES (?1, ?2, ?3, ?4)";
        self.0
            .0
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.execute(params![delivery.action_id, delivery.attempt, Micros(at), outcome])
            })
            .map(drop)
            .map_err(failed)
    }

    /// At start: what was under way when the collector ended is due again,
    /// under the same id; whether it arrived is not known.
    pub(crate) fn resume_deliveries(&self) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET in_flight = 0, attempts = attempts - 1 WHERE in_flight = 1";
        self.0.0.execute(sql, []).map(drop).map_err(to("resume deliveries"))
    }
}
