//! Lists: how many, and of what.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use serde::Deserialize;

use super::answer::Problem;

/// How many items a list has, unless said otherwise.
const DEFAULT_LIMIT: usize = 100;
/// How many it has at most.
const MAX_LIMIT: usize = 1000;

/// What a list is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
    /// Only of this node.
    pub(super) node: Option<String>,
    /// Only of this group.
    pub(super) group: Option<String>,
}

impl ListQuery {
    /// Takes a query, or says what is wrong with it; gives the limit with it.
    pub(super) fn check(query: Result<Query<Self>, QueryRejection>) -> Result<(Self, usize), Problem> {
        let refuse = |message: String| Problem::new(StatusCode::BAD_REQUEST, "bad-query", message);
        let Query(query) = query.map_err(|rejection| refuse(rejection.body_text()))?;
        match query.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok((query, limit)),
            limit => Err(refuse(format!("limit is {limit}; it goes from 1 to {MAX_LIMIT}"))),
        }
    }
}

/// Cuts a list that was read one item over its limit; says whether it was longer.
pub(super) fn cut<T>(items: &mut Vec<T>, limit: usize) -> bool {
    let is_longer = items.len() > limit;
    items.truncate(limit);
    is_longer
}
