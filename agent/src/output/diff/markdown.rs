//! A diff in Markdown, for merge requests and change boards.
//!
//! Names come from images that nobody has approved yet. Each stands in `<code>`
//! with everything that could be markup, a link or a mention as a character
//! reference, so that no name can end its cell, its table or its element.

use std::io::{self, Write};

use congruent_protocol::path::escape;

use super::{
    Page, Side, contract_lines, counts_in_words, finding, package, packages_in_words, undeclared_words,
    versions, why_no_packages, with_architecture, word_line,
};
use crate::diff::{Changed, PackageChanges, places};
use crate::output::counted;

/// How many changes that belong to no package are listed; forges cut longer comments.
const SHOWN: usize = 300;

pub(crate) fn markdown(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let diff = page.diff;
    writeln!(out, "## {} → {}\n", code(&page.old.title()), code(&page.new.title()))?;
    writeln!(out, "| | root | signatures |\n|---|---|---|")?;
    for (which, side) in [("old", &page.old), ("new", &page.new)] {
        writeln!(out, "| {which} | {} | {} |", code(&side.predicate().root.to_string()), signers(side))?;
    }
    let summary =
        if diff.is_empty() { "Nothing changed.".to_owned() } else { counts_in_words(diff.counts()) };
    writeln!(out, "\n**Entries:** {summary}")?;
    judged(out, page)?;
    match (&diff.packages, why_no_packages(page)) {
        (Some(packages), _) => by_package(out, page, packages)?,
        (None, Some(why)) => writeln!(out, "\n**Packages:** {why}, so changes are told by directory.")?,
        (None, None) => {}
    }
    by_directory(out, page)?;
    let contract = contract_lines(diff);
    if !contract.is_empty() {
        writeln!(out, "\n### Contract\n\n| change | what |\n|---|---|")?;
    }
    for (how, line) in contract {
        writeln!(out, "| {how} | {} |", code(&line))?;
    }
    if !diff.origin.is_empty() {
        writeln!(out, "\n### Origin\n\n| word | change |\n|---|---|")?;
    }
    for word in &diff.origin {
        writeln!(out, "| {} | {} |", word.name.replace('_', " "), code(&word_line(word)))?;
    }
    Ok(())
}

fn signers(side: &Side<'_>) -> String {
    let signed_by = side.manifest.signed_by();
    if side.was_checked {
        let keys: Vec<_> = signed_by.verified.iter().map(|key| code(&key.to_string())).collect();
        return format!("checked: {}", keys.join(", "));
    }
    match signed_by.claimed.len() as u64 {
        0 => "none".to_owned(),
        claimed => format!("{} not checked", counted(claimed, "signature", "signatures")),
    }
}

fn judged(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let Some(judgement) = page.judgement else { return Ok(()) };
    if judgement.undeclared.is_empty() {
        writeln!(out, "\n**All that changed was declared.**")?;
    } else {
        let count = counted(judgement.undeclared.len() as u64, "change", "changes");
        writeln!(out, "\n### Not declared: {count}\n\n| change | what |\n|---|---|")?;
    }
    for undeclared in &judgement.undeclared {
        let (how, what) = undeclared_words(page.diff, *undeclared);
        writeln!(out, "| {how} | {} |", code(&what))?;
    }
    if !judgement.unused.is_empty() {
        writeln!(out, "\n**Declared, and nothing changed:**\n")?;
    }
    for unused in &judgement.unused {
        writeln!(out, "- {}", code(unused))?;
    }
    Ok(())
}

fn by_package(out: &mut impl Write, page: &Page<'_>, packages: &PackageChanges) -> io::Result<()> {
    let PackageChanges { manager, changes, .. } = packages;
    let outside = page.diff.outside();
    if !outside.is_empty() {
        writeln!(out, "\n### Changed outside their package's version\n")?;
        writeln!(out, "| package | change | path | what |\n|---|---|---|---|")?;
    }
    for (one, entries) in outside {
        for changed in entries {
            writeln!(out, "| {} | {}", code(&package(one)), cells(changed))?;
        }
    }
    writeln!(out, "\n### Packages: {} by {}", packages_in_words(changes), code(manager))?;
    if !changes.is_empty() {
        writeln!(out, "\n| package | change | version | entries |\n|---|---|---|---|")?;
    }
    for change in changes {
        let name = with_architecture(&change.name, &change.architecture);
        let (kind, entries) = (change.kind().name(), counts_in_words(change.entries));
        writeln!(out, "| {} | {kind} | {} | {entries} |", code(&name), code(&versions(change)))?;
    }
    Ok(())
}

fn by_directory(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let places = places(page.diff);
    if places.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### In no package\n\n| directory | entries |\n|---|---|")?;
    for place in &places {
        let whole = place.whole().map(|change| format!(" ({} with all in it)", change.name()));
        let directory = code(&place.directory.to_string());
        let entries = counts_in_words(place.counts());
        writeln!(out, "| {directory} | {entries}{} |", whole.unwrap_or_default())?;
    }
    let total: usize = places.iter().map(|place| place.changes.len()).sum();
    let count = counted(total as u64, "entry", "entries");
    writeln!(out, "\n<details><summary>{count} in no package</summary>\n")?;
    writeln!(out, "| change | path | what |\n|---|---|---|")?;
    for changed in places.iter().flat_map(|place| &place.changes).take(SHOWN) {
        writeln!(out, "| {}", cells(changed))?;
    }
    if total > SHOWN {
        writeln!(out, "\nAnd {} more: <code>--format json</code> has all.", total - SHOWN)?;
    }
    writeln!(out, "\n</details>")
}

/// The cells that say how an entry differs.
fn cells(changed: &Changed) -> String {
    let what = finding::differences(&changed.finding()).join("; ");
    format!("{} | {} | {} |", changed.change.name(), code(&changed.path.to_string()), code(&what))
}

/// Text from outside as it stands, and as nothing else.
fn code(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = "<code>".to_owned();
    let mut before = ' ';
    for c in escape(text.as_bytes()).chars() {
        let is_text = c.is_alphanumeric() || matches!(c, '/' | '-' | '+' | ',' | '=' | '→' | '…');
        // Spaces are kept but not at an edge or twice, and a dot makes a link of `www`.
        let is_text = is_text || (c == ' ' && before != ' ') || (c == '.' && !matches!(before, 'w' | 'W'));
        if is_text {
            out.push(c);
        } else {
            let _ = write!(out, "&#{};", u32::from(c));
        }
        before = c;
    }
    out.push_str("</code>");
    out
}
