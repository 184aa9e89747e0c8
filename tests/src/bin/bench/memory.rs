//! Peak memory of verify over made-up trees of many entries, and where all of them
//! were removed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use congruent_tests::sandbox::Sandbox;

use super::options::Options;
use super::race::{Racer, as_it_is, race, table as race_table};
use super::section::Section;
use super::subject::Subject;
use super::target::{self, Target};
use super::tell;

/// One file in so many has content; more would need memory for its pages.
const FULL_ONE_IN: usize = 20;

/// A tree of directories with equally many files.
struct Shape {
    target: Target,
    directories: usize,
    files_each: usize,
    /// Whether to verify once more where nothing is left of it.
    removed: Option<Target>,
}

const SHAPES: [Shape; 3] = [
    Shape { target: Target::MEMORY_TYPICAL, directories: 10_000, files_each: 12, removed: None },
    Shape {
        target: Target::MEMORY_SPREAD,
        directories: 1_000,
        files_each: 999,
        removed: Some(Target::MEMORY_REMOVED),
    },
    Shape { target: Target::MEMORY_NAMES, directories: 1, files_each: 999_999, removed: None },
];

/// What verify ends with where something was found.
const FOUND: i32 = 1;

pub(crate) fn section(options: &Options) -> Result<Section> {
    let mut racers = Vec::new();
    let mut targets = Vec::new();
    for shape in &SHAPES {
        let sandbox = Sandbox::for_trees()?;
        let root = sandbox.path("root");
        tell(&format!("making a tree of {} files", shape.directories * shape.files_each));
        plant(&root, shape)?;
        let subject = Subject::bake(&root, &sandbox)?;
        let mut measured = |target: Target, code: i32| -> Result<()> {
            let program = subject.verify_with(target.what(), &[])?.ending_with(code);
            let mut racer = [Racer::new(program, options.rounds)];
            race(&mut racer, as_it_is)?;
            racers.extend(racer);
            targets.push(target);
            Ok(())
        };
        measured(shape.target, 0)?;
        if let Some(target) = shape.removed {
            uproot(&root)?;
            measured(target, FOUND)?;
        }
    }
    let figures: Vec<(Target, f64)> = targets
        .iter()
        .zip(&racers)
        .map(|(target, racer)| (*target, racer.peak_bytes() as f64 / 1e6))
        .collect();
    let text = format!(
        "Full verify of made-up trees, one file in {FULL_ONE_IN} with content; the peak is that of the greediest \
         round.\n\n{}\n{}",
        race_table(&racers, &[]),
        target::table(&figures)
    );
    Ok(Section { title: "Peak memory of verify", text, picture: None })
}

/// Makes the tree.
fn plant(root: &Path, shape: &Shape) -> Result<()> {
    let make = |path: &Path| fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()));
    make(root)?;
    for directory in 0..shape.directories {
        let directory = root.join(format!("directory-{directory:05}"));
        make(&directory)?;
        for file in 0..shape.files_each {
            let path = directory.join(format!("some-file-{file:06}"));
            let made = File::create(&path).and_then(|mut made| {
                if file % FULL_ONE_IN == 0 {
                    made.write_all(path.as_os_str().as_encoded_bytes())
                } else {
                    Ok(())
                }
            });
            made.with_context(|| format!("cannot make {}", path.display()))?;
        }
    }
    Ok(())
}

/// Leaves the root alone.
fn uproot(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", root.display()))?.path();
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_have_as_many_entries_as_their_rows_say() {
        let entries = SHAPES.map(|shape| shape.directories * (shape.files_each + 1));
        assert_eq!(entries, [130_000, 1_000_000, 1_000_000]);
    }

    #[test]
    fn what_was_planted_is_removed() {
        let sandbox = Sandbox::new().unwrap();
        let root = sandbox.path("root");
        let shape = Shape { target: Target::MEMORY_TYPICAL, directories: 3, files_each: 21, removed: None };
        plant(&root, &shape).unwrap();
        let names = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!((names(&root), names(&root.join("directory-00002"))), (3, 21));
        uproot(&root).unwrap();
        assert_eq!(names(&root), 0);
    }
}
