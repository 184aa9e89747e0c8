//! Lists of nodes: some of them, in the order of their names, a page at a time.
//!
//! A page is what follows a name, not what follows so many others: nodes that come
//! and go between two pages leave none out and bring none twice. Which nodes are
//! meant is found in an index alone; rows are read only of those that are listed.

use congruent_protocol::decision::Verdict;
use congruent_protocol::verification::State;
use jiff::Timestamp;

use super::columns::Word;
use super::listed::{ListedSubject, select};
use super::sql::{Param, Row, Value, params};
use super::{StoreError, View};

/// Which nodes are meant. Whoever is enrolled, unless said otherwise.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeFilter {
    /// Those whose enrolment was revoked, and no others.
    pub(crate) is_revoked: bool,
    /// The one of this name.
    pub(crate) node: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) state: Option<State>,
    /// What the decision that stands asks for.
    pub(crate) verdict: Option<Verdict>,
    /// How their names begin.
    pub(crate) prefix: Option<String>,
    /// What their names are like.
    pub(crate) name: Option<NamePattern>,
    /// Those that the store has not heard of since.
    pub(crate) seen_before: Option<Timestamp>,
}

/// What names are like: `*` stands for anything, `?` for one character; without
/// either it may stand anywhere in a name. Large and small letters of ASCII are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePattern(String);

impl NamePattern {
    /// Takes a pattern as people write it.
    pub(crate) fn new(text: &str) -> Self {
        let is_glob = text.contains(['*', '?']);
        let mut like = String::new();
        for letter in text.chars() {
            match letter {
                '*' => like.push('%'),
                '?' => like.push('_'),
                '%' | '_' | '\\' => like.extend(['\\', letter]),
                letter => like.push(letter.to_ascii_lowercase()),
            }
        }
        if is_glob { Self(like) } else { Self(format!("%{like}%")) }
    }
}

impl View<'_> {
    /// The first `limit` nodes that are meant and whose names follow `after`.
    pub(crate) fn list_nodes(
        &self,
        filter: &NodeFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ListedSubject>, StoreError> {
        let mut meant = Conditions::of(filter);
        meant.all(filter);
        // What the index does not have is looked for in the rows as they lie: to go to
        // each from the index would take ten times as long.
        let name = if filter.seen_before.is_some() { "coalesce(node, '')" } else { "node" };
        if let Some(after) = after {
            meant.add(&format!("{name} > "), text(after));
        }
        meant.values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        let sql = format!(
            "{} JOIN (SELECT node AS listed FROM subjects WHERE {} ORDER BY {name} LIMIT ?{}) AS page \
             ON page.listed = subjects.node WHERE subjects.container = '' ORDER BY subjects.node",
            select(),
            meant.sql,
            meant.values.len()
        );
        self.rows("list the nodes", &sql, &meant.values(), ListedSubject::from_row)
    }

    /// A node as it would be listed, enrolled or revoked; none where it never enrolled, or
    /// was forgotten.
    pub(crate) fn listed_node(&self, node: &str) -> Result<Option<ListedSubject>, StoreError> {
        let sql = format!("{} WHERE subjects.node = ?1 AND subjects.container = ''", select());
        self.row("read a node", &sql, params![node], ListedSubject::from_row)
    }

    /// How many nodes there are in each state, of the group that is asked for or of all.
    pub(crate) fn count_nodes(&self, filter: &NodeFilter) -> Result<Vec<(State, u64)>, StoreError> {
        let (is_revoked, group) = (filter.is_revoked, filter.group.clone());
        let filter = NodeFilter { is_revoked, group, ..NodeFilter::default() };
        let mut meant = Conditions::of(&filter);
        meant.all(&filter);
        let sql = format!("SELECT state, count(*) FROM subjects WHERE {} GROUP BY state", meant.sql);
        let read = |row: &Row<'_>| Ok((row.get::<_, Word<State>>(0)?.0, row.get(1)?));
        self.rows("count the nodes", &sql, &meant.values(), read)
    }
}

/// What rows must be like, and the values in that. Names of columns are ours; all
/// that comes from outside is a value.
struct Conditions {
    sql: String,
    values: Vec<Value<'static>>,
}

impl Conditions {
    fn of(filter: &NodeFilter) -> Self {
        let standing = match (filter.is_revoked, filter.seen_before) {
            (true, _) => "container = '' AND group_name IS NULL",
            (false, None) => "container = '' AND group_name IS NOT NULL",
            // No index is for that.
            (false, Some(_)) => "container = '' AND coalesce(group_name, '') <> ''",
        };
        Self { sql: standing.to_owned(), values: Vec::new() }
    }

    fn values(&self) -> Vec<&dyn Param> {
        self.values.iter().map(|value| value as &dyn Param).collect()
    }

    /// Adds a comparison, which ends in the value.
    fn add(&mut self, comparison: &str, value: Value<'static>) {
        self.values.push(value);
        self.sql.push_str(&format!(" AND {comparison}?{}", self.values.len()));
    }

    fn all(&mut self, filter: &NodeFilter) {
        if let Some(state) = filter.state {
            self.add("state = ", text(state.name()));
        }
        if let Some(node) = &filter.node {
            self.add("node = ", text(node));
        }
        if let Some(group) = &filter.group {
            self.add("group_name = ", text(group));
        }
        if let Some(verdict) = filter.verdict {
            self.add("verdict = ", text(verdict.name()));
        }
        if let Some(prefix) = &filter.prefix {
            self.add("node >= ", text(prefix));
            if let Some(end) = end_of_prefix(prefix) {
                self.add("node < ", Value::Text(end.into()));
            }
        }
        if let Some(NamePattern(like)) = &filter.name {
            self.add("lower(node) LIKE ", text(like));
            self.sql.push_str(" ESCAPE '\\'");
        }
        if let Some(time) = filter.seen_before {
            self.add("coalesce(last_seen, 0) < ", Value::Integer(time.as_microsecond()));
        }
    }
}

fn text(value: &str) -> Value<'static> {
    Value::Text(value.to_owned().into())
}

/// The first text after all that begin with `prefix`; none where there is none.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
#[path = "node_list_tests.rs"]
mod tests;
