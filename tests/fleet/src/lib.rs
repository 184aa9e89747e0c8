//! A fleet of simulated nodes that speak the real protocol to a real collector.
//!
//! Each has its own key, certificate and chain of reports; each report is signed,
//! sealed and has the root that the collector works out again. Only the looks are
//! made up: no file is read, and what a node finds is what its scenario says. Agents
//! and collectors are not known here, but for what they must agree on.

mod connection;
mod descriptors;
mod enrolment;
mod error;
mod herd;
mod kept;
mod node;
mod operator;
mod outcome;
mod process;
mod release;
mod retry;
mod run;
mod scenario;
mod tally;
mod turn;
mod way;

pub use descriptors::raise_limit;
pub use error::FleetError;
pub use operator::{Watch, join_token};
pub use outcome::{Arrivals, Latency, OfCollector, OfKind, OfReports, Outcome};
pub use process::Process;
pub use release::{Baking, Release};
pub use run::{Fleet, Length, Pace, Run};
pub use scenario::Scenario;
pub use way::{Http, Way};
