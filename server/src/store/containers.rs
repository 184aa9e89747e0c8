//! Lists of containers, in the order of their nodes and ids, a page at a time.

use std::collections::BTreeMap;

use congruent_protocol::decision::Verdict;
use congruent_protocol::report::ContainerIdentity;
use congruent_protocol::verification::State;

use super::columns::{Json, Word};
use super::listed::{ListedSubject, select};
use super::sql::params;
use super::{StoreError, View};
use crate::subject::SubjectId;

/// Which containers are meant: those to which all of it applies.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContainerFilter {
    pub(crate) node: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) state: Option<State>,
    /// What the decision that stands asks for.
    pub(crate) verdict: Option<Verdict>,
}

impl View<'_> {
    /// The first `limit` containers that are meant and follow `after`, by node and id.
    pub(crate) fn list_containers(
        &self,
        filter: &ContainerFilter,
        after: Option<&SubjectId>,
        limit: usize,
    ) -> Result<Vec<ListedSubject>, StoreError> {
        let sql = format!(
            "{} WHERE subjects.container <> '' \
             AND (CAST(?1 AS TEXT) IS NULL OR subjects.node = ?1) \
             AND (CAST(?2 AS TEXT) IS NULL OR subjects.group_name = ?2) \
             AND (CAST(?3 AS TEXT) IS NULL OR subjects.state = ?3) \
             AND (CAST(?4 AS TEXT) IS NULL OR subjects.verdict = ?4) \
             AND (subjects.node, subjects.container) > (CAST(?5 AS TEXT), CAST(?6 AS TEXT)) \
             ORDER BY subjects.node, subjects.container LIMIT ?7",
            select()
        );
        let (node, container) = after.map_or(("", ""), |after| (&after.node, after.container_column()));
        let (state, verdict) = (filter.state.map(Word), filter.verdict.map(Word));
        let values = params![filter.node, filter.group, state, verdict, node, container, limit];
        self.rows("list the containers", &sql, values, ListedSubject::from_row)
    }

    /// A container as it would be listed; none where none of this id is known.
    pub(crate) fn listed_container(&self, subject: &SubjectId) -> Result<Option<ListedSubject>, StoreError> {
        let sql = format!(
            "{} WHERE subjects.node = ?1 AND subjects.container = ?2 AND subjects.container <> ''",
            select()
        );
        let values = params![subject.node, subject.container_column()];
        self.row("read a container", &sql, values, ListedSubject::from_row)
    }

    /// Which one each container is, where its node said that.
    pub(crate) fn identities(&self) -> Result<BTreeMap<SubjectId, ContainerIdentity>, StoreError> {
        let sql =
            "SELECT node, container, identity FROM subjects WHERE container <> '' AND identity IS NOT NULL";
        let rows = self.rows("read which containers there are", sql, params![], |row| {
            Ok((SubjectId::from_row(row)?, row.get::<_, Json<_>>("identity")?.0))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// How many containers of a node there are in each state.
    pub(crate) fn count_containers(&self, node: &str) -> Result<Vec<(State, u64)>, StoreError> {
        let sql = "SELECT state, count(*) FROM subjects WHERE node = ?1 AND container <> '' GROUP BY state";
        self.rows("count a node's containers", sql, params![node], |row| {
            Ok((row.get::<_, Word<_>>(0)?.0, row.get(1)?))
        })
    }
}
