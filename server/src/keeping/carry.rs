//! Carrying blobs from one place to another, beside a copy of the database that names them.

use std::collections::BTreeSet;

use super::backup::{named, put};
use super::record::KeepingError;
use crate::blobs::{BlobSettings, Blobs};
use crate::store::Database;

/// What was carried.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) count: u64,
    /// What neither place has, by name.
    pub(super) missing: Vec<String>,
}

impl Carried {
    /// A line for the operator.
    pub(super) fn told(&self) -> String {
        let mut told = match self.count {
            1 => "1 manifest or large report was not in its new place, and is now".to_owned(),
            count => format!("{count} manifests and large reports were not in their new place, and are now"),
        };
        for name in &self.missing {
            told.push_str(&format!("\nmissing, and not copied: {name}"));
        }
        told
    }
}

/// Copies the blobs that the database names, where they are not in the other place yet.
pub(super) fn carry(
    database: &Database,
    from: &BlobSettings,
    to: &BlobSettings,
) -> Result<Carried, KeepingError> {
    let (named, mut carried) = (named(database)?, Carried::default());
    if named.is_empty() {
        return Ok(carried);
    }
    let runtime = tokio::runtime::Runtime::new().map_err(KeepingError::Runtime)?;
    runtime.block_on(async {
        let (from, to) = (Blobs::open(from)?, Blobs::open(to)?);
        let there: BTreeSet<_> = to.list().await?.into_iter().collect();
        for (_, name) in named.into_iter().filter(|(_, name)| !there.contains(name)) {
            match from.get(name).await {
                Ok(file) => put(&to, name, &file).await?,
                Err(error) if error.is_lost() => {
                    carried.missing.push(name.to_string());
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            carried.count += 1;
        }
        Ok(carried)
    })
}
