//! Places that a sweep does not watch: outside the root, or reserved in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use congruent_protocol::normalise::is_reserved;
use congruent_protocol::path::TreePath;

use crate::sweep::Root;

/// Refuses `path`, which is given as `what`, where writing to it would be drift: what
/// sweeps a tree writes nothing to it.
pub(in crate::command) fn check(
    what: &str,
    path: &Path,
    root: &Root,
    reserved: &[TreePath],
) -> anyhow::Result<()> {
    let Some(inside) = place_in(&root.path, path)? else { return Ok(()) };
    if is_reserved(reserved, &inside) {
        return Ok(());
    }
    let places: Vec<_> = reserved.iter().map(ToString::to_string).collect();
    bail!(
        "{what} {inside} lies in the tree that is watched, so that it would be drift itself; \
         put it into a place that the manifest reserves ({}) or outside the root",
        places.join(", ")
    )
}

/// Where in the tree beneath `top` a path is, or will be when it is made; none where it
/// is not there.
pub(in crate::command) fn place_in(top: &Path, path: &Path) -> anyhow::Result<Option<TreePath>> {
    let resolve =
        |path: &Path| fs::canonicalize(path).with_context(|| format!("cannot resolve {}", path.display()));
    let absolute = std::path::absolute(path).with_context(|| format!("cannot resolve {}", path.display()))?;
    // What is not there yet will lie beneath what is.
    let there = absolute.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&absolute);
    let missing = absolute.strip_prefix(there).context("an ancestor is a prefix")?;
    let (place, top) = (resolve(there)?.join(missing), resolve(top)?);
    let Ok(inside) = place.strip_prefix(&top) else { return Ok(None) };
    Ok(Some(TreePath::new(Path::new("/").join(inside).as_os_str().as_encoded_bytes())?))
}
