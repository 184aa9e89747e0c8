//! Reports on their way, and what they cost.

mod large;
mod ledger;
