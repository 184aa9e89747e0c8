//! Every table, in one list: what is copied, backed up and compared.
//!
//! Those that others refer to stand before them. A test holds the list to the schemas.

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The columns of its primary key.
    pub(super) key: &'static [Key],
    /// Whether the database gives out `id`.
    pub(super) counts: bool,
    columns: &'static str,
}

/// A column of a primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Number(&'static str),
    /// Its order is that of its bytes, whatever the database's collation.
    Text(&'static str),
}

const ID: &[Key] = &[Key::Number("id")];
const NAME: &[Key] = &[Key::Text("name")];
const ID_TEXT: &[Key] = &[Key::Text("id")];
const DIGEST: &[Key] = &[Key::Text("digest")];

pub(super) const TABLES: &[Table] = &[
    counted("scopes", "id at scope"),
    counted(
        "reports",
        "id node container chain sequence digest boot chain_id agent_version reported_at received_at state note late sweep \
         sweep_began_at sweep_ended_at conditional manifest manifest_root observed_root findings_total \
         findings_digest verdict judged beside",
    ),
    table("report_bodies", &[Key::Number("report_id")], "report_id body"),
    table("report_blobs", NAME, "name report_id at"),
    counted(
        "decisions",
        "id node container group_name at report_id state decision error policy_digest engine input_digest input",
    ),
    table(
        "subjects",
        &[Key::Text("node"), Key::Text("container")],
        "node container generation state note since last_seen reported_at report_id verified_report_id \
         decision_id decision_key policy_error group_name verdict identity",
    ),
    counted("subject_states", "id node container at state note report_id is_over identity"),
    counted("chain_notes", "id node at sequence note"),
    counted("refusals", "id node first_at last_at count code message"),
    table(
        "actions",
        ID_TEXT,
        "id node container group_name verdict state reason decision_id created_at updated_at",
    ),
    counted("action_history", "id action_id at state reason"),
    table("outbox", &[Key::Text("action_id")], "action_id webhook body attempts in_flight next_attempt_at"),
    counted("deliveries", "id action_id attempt at outcome"),
    table("probe", ID, "id at"),
    table(
        "join_tokens",
        ID_TEXT,
        "id hash group_name created_at created_by reason expires_at is_reusable max_per_minute networks \
         revoked_at refused",
    ),
    table("join_uses", &[Key::Text("token_id"), Key::Text("key")], "token_id key node at"),
    table(
        "enrolments",
        ID_TEXT,
        "id node group_name key public_key seal_key enrolled_at admitted_by agent_version revoked_at revoked_by \
         revoked_why generation",
    ),
    table("operators", NAME, "name role token_hash created_at created_by expires_at revoked_at revoked_by"),
    counted("audit", "id at operator role action object reason detail count last_at"),
    table(
        "manifests",
        DIGEST,
        "digest root name version kind bytes entries claimed baked_at expires_at imported_at imported_by \
         withdrawn_at withdrawn_by",
    ),
    table(
        "group_versions",
        &[Key::Text("name"), Key::Number("version")],
        "name version at operator reason description is_deleted",
    ),
    table("finding_sets", DIGEST, "digest count body"),
    counted("first_values", "id chain_id root path value recorded_at report_id"),
    table("shared", ID, "id generation"),
    table("leases", NAME, "name holder token beat"),
    table("writers", ID_TEXT, "id batch at"),
    table("removals", &[Key::Text("kind")], "kind until count"),
];

const fn counted(name: &'static str, columns: &'static str) -> Table {
    Table { name, key: ID, counts: true, columns }
}

const fn table(name: &'static str, key: &'static [Key], columns: &'static str) -> Table {
    Table { name, key, counts: false, columns }
}

impl Table {
    /// The names of its columns, the same in every schema.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        self.columns.split_whitespace().collect()
    }
}

impl Key {
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Number(name) | Self::Text(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::sql::params;
    use super::super::{Database, Store, read_only};
    use super::*;
    use crate::testing::postgres;

    /// Of each table, its columns and those of its primary key.
    type Schema = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

    fn listed() -> Schema {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let of = |table: &Table| {
            let key = table.key.iter().map(|key| key.column()).collect();
            (table.name.to_owned(), (owned(table.columns()), owned(key)))
        };
        TABLES.iter().map(of).collect()
    }

    fn found(database: &Database, sql: &'static str) -> Schema {
        drop(Store::open(database).unwrap());
        let read = read_only(database, "read the schema", |view| {
            view.rows("read the schema", sql, params![], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?))
            })
        });
        let mut schema = Schema::new();
        for (table, column, is_key) in read.unwrap() {
            let (columns, key) = schema.entry(table).or_default();
            if is_key {
                key.insert(column.clone());
            }
            columns.insert(column);
        }
        schema
    }

    #[test]
    fn the_list_is_what_sqlite_has() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(dir.path().join("congruent.db"));
        let sql = "SELECT t.name, c.name, c.pk > 0 FROM sqlite_schema AS t, pragma_table_info(t.name) AS c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
        assert_eq!(found(&database, sql), listed());
    }

    #[test]
    fn the_list_is_what_postgresql_has() {
        let sql = "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT), EXISTS (SELECT 1 FROM \
             information_schema.table_constraints t JOIN information_schema.key_column_usage k \
             ON k.constraint_name = t.constraint_name AND k.table_schema = t.table_schema \
             WHERE t.constraint_type = 'PRIMARY KEY' AND t.table_schema = c.table_schema \
             AND k.table_name = c.table_name AND k.column_name = c.column_name) \
             FROM information_schema.columns c \
             WHERE c.table_schema = current_schema() AND c.table_name <> 'congruent_schema'";
        assert_eq!(found(&postgres(), sql), listed());
    }
}
