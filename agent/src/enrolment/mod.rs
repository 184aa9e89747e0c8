//! Who this node is to its collector: its key, its certificate, and how it gets
//! and renews them.
//!
//! The key is made here and never leaves. A node is enrolled exactly where
//! [`state`] says so; all before that can be interrupted and done again.

mod clock;
mod error;
mod join;
mod mutual;
mod pinned;
mod renewal;
mod request;
mod state;

pub(crate) use clock::{is_about_time, of_collector as collectors_time};
pub(crate) use error::EnrolError;
pub(crate) use join::{Joining, join};
pub(crate) use mutual::client as mutual_client;
pub(crate) use renewal::{Renewal, renew};
pub(crate) use state::{Enrolment, EnrolmentFiles, StateError};
