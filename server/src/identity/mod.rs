//! Who acts on the collector: operators, their roles, and why they change what
//! they change. Plain values; `api/auth` finds out who asks.

mod author;
mod operator;

pub(crate) use author::{Author, ReasonError};
pub(crate) use operator::{CONFIGURED, Lapsed, Operator, Role, new_token};
