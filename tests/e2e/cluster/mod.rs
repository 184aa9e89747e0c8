//! Two collectors that share one PostgreSQL behind a balancer. Each prints what it saw.

mod leader;
mod shared;
mod started;
