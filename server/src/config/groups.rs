//! The groups as they stand now. Those of the configuration stay as they are;
//! those of the store change while the collector runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Group;

/// Groups by name, at one time.
type Snapshot = Arc<BTreeMap<String, Arc<Group>>>;

/// Every group. Readers take a snapshot, and keep what they took while others
/// change it.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    now: RwLock<Snapshot>,
    /// Whose nodes are to be judged anew.
    changed: Mutex<BTreeSet<String>>,
}

impl Groups {
    /// Those that the configuration declares.
    pub(super) fn declared(groups: BTreeMap<String, Group>) -> Self {
        let groups = groups.into_iter().map(|(name, group)| (name, Arc::new(group))).collect();
        Self { now: RwLock::new(Arc::new(groups)), changed: Mutex::default() }
    }

    /// All of them, by name, as they stand now.
    pub(crate) fn all(&self) -> Snapshot {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The group of this name, as it stands now.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Group>> {
        self.all().get(name).map(Arc::clone)
    }

    /// Puts a version of a group in the place of an older one. Whatever comes
    /// late does not displace a newer one, nor one that the configuration declares.
    pub(crate) fn put(&self, group: Arc<Group>) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let is_older = |known: &Arc<Group>| known.version.is_none() || known.version >= group.version;
        if now.get(&group.name).is_some_and(is_older) {
            return;
        }
        Arc::make_mut(&mut now).insert(group.name.clone(), group);
    }

    /// The names of those of the store.
    pub(crate) fn stored(&self) -> BTreeSet<String> {
        let of_store = |(name, group): (&String, &Arc<Group>)| group.version.is_some().then(|| name.clone());
        self.all().iter().filter_map(of_store).collect()
    }

    /// Takes out a group that was deleted.
    pub(crate) fn remove(&self, name: &str) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut now).remove(name);
    }

    /// Notes that the nodes of a group are to be judged anew.
    pub(crate) fn mark_changed(&self, name: &str) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// The groups whose nodes are to be judged anew; they are now the caller's.
    pub(crate) fn take_changed(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
