//! A diff, for people at a terminal.

use std::io::{self, Write};

use congruent_protocol::path::escape;

use super::{
    Page, Side, contract_lines, counts_in_words, entry_line, package, packages_in_words, undeclared_words,
    versions, why_no_packages, with_architecture, word_line,
};
use crate::diff::{PackageChanges, Place, places};
use crate::output::{counted, manifest};

/// How many changes in one directory are shown.
const SHOWN: usize = 10;

pub(crate) fn text(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let diff = page.diff;
    side(out, "old", &page.old)?;
    side(out, "new", &page.new)?;
    if diff.is_empty() {
        writeln!(out, "\nnothing changed")?;
    } else {
        writeln!(out, "\nentries: {}", counts_in_words(diff.counts()))?;
    }
    match (&diff.packages, why_no_packages(page)) {
        (Some(packages), _) => by_package(out, page, packages)?,
        (None, Some(why)) => writeln!(out, "packages: {why}, so changes are told by directory")?,
        (None, None) => {}
    }
    let places = places(diff);
    if !places.is_empty() {
        writeln!(out, "\nin no package:")?;
        places.iter().try_for_each(|one| place(out, one))?;
    }
    let contract = contract_lines(diff);
    if !contract.is_empty() {
        writeln!(out, "\ncontract:")?;
    }
    for (how, line) in contract {
        writeln!(out, "  {how:<12} {line}")?;
    }
    if !diff.origin.is_empty() {
        writeln!(out, "\norigin:")?;
    }
    for word in &diff.origin {
        writeln!(out, "  {:<20} {}", word.name.replace('_', " "), word_line(word))?;
    }
    judged(out, page)
}

fn side(out: &mut impl Write, which: &str, side: &Side<'_>) -> io::Result<()> {
    writeln!(out, "{which}: {}", side.title())?;
    writeln!(out, "  root       {}", side.predicate().root)?;
    manifest::signers(out, side.manifest, side.was_checked)
}

fn by_package(out: &mut impl Write, page: &Page<'_>, packages: &PackageChanges) -> io::Result<()> {
    let PackageChanges { manager, changes, .. } = packages;
    let outside = page.diff.outside();
    if !outside.is_empty() {
        writeln!(out, "\nchanged outside their package's version:")?;
    }
    for (one, entries) in outside {
        writeln!(out, "  {}", package(one))?;
        entries.into_iter().try_for_each(|changed| writeln!(out, "    {}", entry_line(changed)))?;
    }
    writeln!(out, "\npackages ({}): {}", escape(manager.as_bytes()), packages_in_words(changes))?;
    for change in changes {
        let name = with_architecture(&change.name, &change.architecture);
        let entries = counts_in_words(change.entries);
        let kind = change.kind().name();
        writeln!(out, "  {kind:<12} {name}  {}  (entries: {entries})", versions(change))?;
    }
    Ok(())
}

fn place(out: &mut impl Write, place: &Place<'_>) -> io::Result<()> {
    let counts = place.counts();
    if let Some(whole) = place.whole() {
        let entries = counted(counts.total(), "entry", "entries");
        writeln!(out, "  {}  {} with all in it, {entries}", place.directory, whole.name())?;
    } else {
        writeln!(out, "  {}  {}", place.directory, counts_in_words(counts))?;
    }
    for changed in place.changes.iter().take(SHOWN) {
        writeln!(out, "    {}", entry_line(changed))?;
    }
    match place.changes.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "    and {more} more; --format json has all"),
    }
}

fn judged(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let Some(judgement) = page.judgement else { return Ok(()) };
    if judgement.undeclared.is_empty() {
        writeln!(out, "\nall that changed was declared")?;
    } else {
        let count = counted(judgement.undeclared.len() as u64, "change", "changes");
        writeln!(out, "\nnot declared: {count}")?;
    }
    for undeclared in &judgement.undeclared {
        let (how, what) = undeclared_words(page.diff, *undeclared);
        writeln!(out, "  {how:<12} {what}")?;
    }
    for unused in &judgement.unused {
        writeln!(out, "declared, and nothing changed: {}", escape(unused.as_bytes()))?;
    }
    Ok(())
}
