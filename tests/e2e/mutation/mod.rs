//! The mutation table: one row per way to change a tree, over a real Debian root,
//! each with the exact findings that a verify must print.
//!
//! Every row copies the baked root, changes the copy, and holds the whole outcome
//! to what the row says: findings, exit code, state, root, coverage. Nothing more
//! may be found and nothing less.

mod acls;
pub(crate) mod check;
mod content;
mod contract;
mod deep;
mod kinds;
mod metadata;
mod million;
mod mounts;
mod names;
pub(crate) mod row;
mod unreadable;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;
use congruent_tests::debian;
use congruent_tests::sandbox::Sandbox;

use check::check;
use row::{Baked, Row};

/// As many rows at once as CI's machine has cores.
const WORKERS: usize = 2;

/// The default contract with a place to try each kind of rule in.
const CONTRACT: &str = r#"
    [[rule]]
    path = "/opt/extras/scratch/**"
    class = "ephemeral"

    [[rule]]
    path = "/opt/extras/scratch/**/keep"
    class = "immutable"

    [[mount]]
    path = "/opt/extras"
    content = "verify"

    [[mount]]
    path = "/opt/extras/twin"
    content = "verify"
"#;

#[test]
fn every_change_is_found_and_nothing_else() -> Result<()> {
    let rows: Vec<Row> = [
        content::rows(),
        metadata::rows(),
        acls::rows(),
        kinds::rows(),
        names::rows(),
        deep::rows(),
        mounts::rows(),
        contract::rows(),
        unreadable::rows(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let sandbox = Sandbox::for_trees()?;
    let baked = Baked::bake(debian::root()?, CONTRACT, &sandbox)?;
    let faults = run(&rows, &baked, &sandbox);
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
    Ok(())
}

/// Runs all rows on a few threads; gives what is wrong, by row.
fn run(rows: &[Row], baked: &Baked, sandbox: &Sandbox) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (next, faults) = (&next, &faults);
            scope.spawn(move || {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = sandbox.path(format!("worker-{worker}"));
                    if let Err(error) = check(row, baked, &folder) {
                        faults.lock().unwrap().push(format!("- {}: {error:#}", row.name));
                    }
                }
            });
        }
    });
    faults.into_inner().unwrap()
}
