//! Lists: how many, and of what.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use serde::Deserialize;

use super::answer::Problem;

/// How many items a list has, unless said otherwise.
pub(super) const DEFAULT_LIMIT: usize = 100;
/// How many it has at most.
const MAX_LIMIT: usize = 1000;

/// What a list is asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = json!(DEFAULT_LIMIT))]
    limit: Option<usize>,
    /// Only of this node.
    pub(super) node: Option<String>,
    /// Only of this group.
    pub(super) group: Option<String>,
}

impl ListQuery {
    /// Takes a query, or says what is wrong with it; gives the limit with it.
    pub(super) fn check(query: Result<Query<Self>, QueryRejection>) -> Result<(Self, usize), Problem> {
        let query = check_query(query)?;
        let limit = check_limit(query.limit)?;
        Ok((query, limit))
    }
}

/// Takes a query, or says what is wrong with it.
pub(super) fn check_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let Query(query) = query.map_err(|rejection| refuse(rejection.body_text()))?;
    Ok(query)
}

/// How many items a list is to have.
pub(super) fn check_limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        limit => Err(refuse(format!("limit is {limit}; it goes from 1 to {MAX_LIMIT}"))),
    }
}

pub(super) fn refuse(message: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-query", message)
}

/// Cuts a list that was read one item over its limit; says whether it was longer.
pub(super) fn cut<T>(items: &mut Vec<T>, limit: usize) -> bool {
    let is_longer = items.len() > limit;
    items.truncate(limit);
    is_longer
}
