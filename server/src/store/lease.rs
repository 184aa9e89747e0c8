//! Who leads: one of the collectors that share a store looks for silence, judges, and
//! dispatches.
//!
//! The lease is a row. Its holder counts it up while it is well; whoever sees it stand
//! still for long enough by a clock of its own takes it over, so that no two clocks are
//! compared. Whoever takes it over counts its token up, and every write of a leader looks
//! at the token in its own transaction: one that was paused, and is a leader no more,
//! writes nothing.

use super::sql::params;
use super::{StoreError, Tx, View};

/// The lease, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    /// Nobody where it is empty.
    pub(crate) holder: String,
    pub(crate) token: i64,
    pub(crate) beat: i64,
}

impl LeaseRow {
    /// The lease as it stands; none where nobody ever led.
    pub(crate) fn standing(view: &View<'_>) -> Result<Option<Self>, StoreError> {
        let sql = "SELECT holder, token, beat FROM leases WHERE name = 'leader'";
        view.row("look who leads", sql, params![], |row| {
            Ok(Self { holder: row.get(0)?, token: row.get(1)?, beat: row.get(2)? })
        })
    }
}

impl View<'_> {
    /// Refuses what a leader began that leads no more.
    pub(super) fn check_lease(&self, token: i64) -> Result<(), StoreError> {
        match LeaseRow::standing(self)? {
            Some(lease) if lease.token == token => Ok(()),
            _ => Err(StoreError::Fenced),
        }
    }
}

impl Tx<'_> {
    /// Takes the lease over from what it was seen as; gives its new token, or nothing where
    /// it was not that any more.
    pub(crate) fn take_lease(
        &self,
        holder: &str,
        seen: Option<&LeaseRow>,
    ) -> Result<Option<i64>, StoreError> {
        if LeaseRow::standing(self)?.as_ref() != seen {
            return Ok(None);
        }
        let token = seen.map_or(0, |seen| seen.token) + 1;
        let sql = "INSERT INTO leases (name, holder, token, beat) VALUES ('leader', ?1, ?2, 0) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, beat = 0";
        self.execute("take the lead", sql, params![holder, token])?;
        Ok(Some(token))
    }

    /// Shows that the holder of a token is well; gives whether it still holds the lease.
    pub(crate) fn renew_lease(&self, token: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE leases SET beat = beat + 1 WHERE name = 'leader' AND token = ?1";
        Ok(self.execute("show that the leader is well", sql, params![token])? > 0)
    }

    /// Gives the lease back, so that another need not wait.
    pub(crate) fn release_lease(&self, token: i64) -> Result<(), StoreError> {
        let sql = "UPDATE leases SET holder = '', beat = beat + 1 WHERE name = 'leader' AND token = ?1";
        self.execute("give the lead back", sql, params![token]).map(drop)
    }
}
