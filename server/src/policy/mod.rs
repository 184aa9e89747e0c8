//! Policy: from what is known of a subject to what is to happen to it.
//!
//! [`PolicyInput`] holds all that rules may know, [`Policy`] evaluates the Rego
//! in `policies/`, or in a folder that replaces it, and gives a
//! [`Decision`](congruent_protocol::decision::Decision). Pure but for
//! [`Policy::from_directory`]: no clock, no network, and equal input gives an
//! equal decision. What cannot be decided is a [`PolicyError`], never a verdict.
//! It orders nothing and stores nothing.

mod calls;
mod concern;
mod embedded;
mod engine;
mod error;
mod input;
mod outcome;
mod reads;
mod self_check;
mod source;
mod summary;
mod syntax;
#[cfg(test)]
mod tests;

pub(crate) use engine::Policy;
pub(crate) use error::PolicyError;
pub(crate) use input::{InputParts, PolicyInput, ReportFacts, Subject};
