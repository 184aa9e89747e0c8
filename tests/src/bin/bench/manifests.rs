//! Loading manifests, and checking contracts against them: time and peak memory of
//! the whole process, as the kernel accounts for it.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use congruent_protocol::contract::{Contract, Terms};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::entry::{Entry, Node, Timestamp};
use congruent_protocol::key::SecretKey;
use congruent_protocol::manifest::{
    Baked, EntriesWriter, ManifestKind, Origin, PackedSection, Predicate, write_manifest,
};
use congruent_protocol::path::TreePath;
use congruent_protocol::tree::{Contribution, TreeHasher};
use congruent_tests::agent;
use congruent_tests::sandbox::Sandbox;

use super::measure::Program;
use super::options::Options;
use super::race::{Racer, as_it_is, race, table as race_table};
use super::section::Section;
use super::tell;

/// Entries in a directory, about as in a real /usr.
const BRANCHING: usize = 12;
const RULES: usize = 500;

pub(crate) fn section(options: &Options) -> Result<Section> {
    let sandbox = Sandbox::new()?;
    let key = SecretKey::from_seed([7; 32]);
    let trust = sandbox.write("bench.pub.pem", key.public().to_pem())?;
    let small = write_tree(&sandbox, &key, 130_000)?;
    let large = write_tree(&sandbox, &key, 1_000_000)?;
    let contract = sandbox.write("rules.toml", rules())?;
    let mut programs = Vec::new();
    for (entries, manifest) in [("130,000", &small), ("1,000,000", &large)] {
        let mut show = agent::command(&["show"])?;
        show.arg(manifest).arg("--trust").arg(&trust);
        let name = format!("load, signature, entries and root of {entries} entries");
        programs.push(Program::new(name, &show));
    }
    let mut check = agent::command(&["contract", "check"])?;
    check.arg(&contract).arg(&small);
    programs.push(Program::new(format!("contract check with {RULES} rules on 130,000 entries"), &check));
    // Once for the page cache.
    programs.iter().try_for_each(|program| program.run().map(drop))?;
    let mut racers: Vec<Racer> =
        programs.into_iter().map(|program| Racer::new(program, options.rounds)).collect();
    race(&mut racers, as_it_is)?;
    let bytes = fs::metadata(&small)?.len() as f64 / 130_000.0;
    let text = format!(
        "Whole process, page cache warm, alternating rounds; {bytes:.0} bytes an entry (every digest is another).\n\n{}",
        race_table(&racers, &[])
    );
    Ok(Section { title: "Manifests", text, picture: None })
}

/// A signed manifest of a made-up tree.
fn write_tree(sandbox: &Sandbox, key: &SecretKey, count: usize) -> Result<PathBuf> {
    tell(&format!("writing a manifest of {count} entries"));
    let section = tempfile::tempfile_in(sandbox.folder()).context("cannot make a file")?;
    let mut writer = EntriesWriter::new(section, Algorithm::Blake3)?;
    let mut hasher = TreeHasher::new(Algorithm::Blake3);
    let mut push = |path: &TreePath, entry: &Entry| -> Result<()> {
        hasher.push(path, Contribution::of(entry, Terms::immutable()))?;
        Ok(writer.push(path, entry)?)
    };
    let folder = Entry { mode: 0o755, ..Entry::empty() };
    push(&TreePath::root(), &folder)?;
    let mut written = 1;
    'tree: for top in 0.. {
        let top = TreePath::new(format!("/usr-{top:06}"))?;
        push(&top, &folder)?;
        written += 1;
        for middle in 0..BRANCHING {
            let middle = top.join(format!("share-{middle:02}").as_bytes())?;
            push(&middle, &folder)?;
            written += 1;
            for leaf in 0..BRANCHING {
                let path = middle.join(format!("some-file-{leaf:02}.so").as_bytes())?;
                push(&path, &file(written))?;
                written += 1;
                if written >= count {
                    break 'tree;
                }
            }
        }
    }
    let root = hasher.finish();
    let (mut section, entries) = writer.finish()?;
    let (length, word) = (section.stream_position()?, || "bench".to_owned());
    section.rewind()?;
    let predicate = Predicate {
        name: word(),
        version: "1".to_owned(),
        kind: ManifestKind::Base,
        root,
        entries,
        layers: Vec::new(),
        contract: Contract::linux(),
        reserved: Predicate::reserved_for("bench")?.to_vec(),
        baked: Baked { at: jiff::Timestamp::now(), by: word(), on: word(), with: word() },
        expires: None,
        origin: Origin::default(),
        packages: None,
        lint: None,
    };
    let path = sandbox.path(format!("{count}.manifest"));
    let mut out = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    write_manifest(
        &mut out,
        predicate,
        std::slice::from_ref(key),
        vec![PackedSection::new(&mut section, length)],
    )?;
    out.flush()?;
    Ok(path)
}

fn file(number: usize) -> Entry {
    let content = Some(Algorithm::Blake3.digest(&number.to_le_bytes()));
    Entry {
        node: Node::File { size: (number as u64 * 7919) % 100_000, content },
        mode: 0o644,
        mtime: Timestamp { seconds: 1_700_000_000 + number as i64 % 1000, nanoseconds: 0 },
        ..Entry::empty()
    }
}

/// Rules of every shape that people write.
fn rules() -> String {
    let rule = |at: usize| {
        let path = match at % 5 {
            0 => format!("/usr-{at:06}/**"),
            1 => format!("/usr-{at:06}/share-01/some-file-01.so"),
            2 => format!("/usr-{at:06}/*/some-*.so"),
            3 => format!("/**/cache-{at}"),
            _ => format!("/usr-{at:06}/**/some-file-0[0-3].so"),
        };
        // What begins anywhere would loosen the floor.
        let class = if path.starts_with("/**") { "immutable" } else { "ephemeral" };
        format!("[[rule]]\npath = '{path}'\nclass = '{class}'\n")
    };
    (0..RULES).map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_a_contract() {
        assert!(Contract::from_toml(&rules()).is_ok_and(|contract| contract.rules().len() > RULES));
    }
}
