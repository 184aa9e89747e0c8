//! Reports on their way, and what they cost.

mod apart;
mod large;
mod ledger;
