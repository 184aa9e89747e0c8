//! Lint findings, for people: grouped and counted, since hundreds of lines are
//! not read.

use std::io::{self, Write};

use congruent_protocol::manifest::{LintFinding, LintReport};
use congruent_protocol::path::escape;

use super::counted;
use crate::lint::{Lint, Lints};

/// How many findings of one lint are shown where nothing was denied.
const SHOWN: usize = 5;

/// Tells what was found when all was baked nonetheless.
pub(crate) fn told(out: &mut impl Write, report: &LintReport) -> io::Result<()> {
    if !report.counts.is_empty() {
        let count = counted(total(report), "finding", "findings");
        writeln!(out, "lint: {count} that every copy of this image will share")?;
    }
    for (name, count) in &report.counts {
        group(out, report, name, *count, SHOWN)?;
    }
    if report.counts.values().any(|&count| count > SHOWN as u64) {
        writeln!(out, "  all are in the manifest: congruent show --format json")?;
    }
    allowed(out, report)
}

/// Tells what was found of the denied lints, each finding on a line, if anything
/// was; says whether.
pub(crate) fn denied(out: &mut impl Write, report: &LintReport, deny: &[Lints]) -> io::Result<bool> {
    let is_denied = |name: &str| Lint::named(name).is_some_and(|lint| deny.iter().any(|d| d.has(lint)));
    let found: Vec<_> = report.counts.iter().filter(|(name, _)| is_denied(name)).collect();
    if found.is_empty() {
        return Ok(false);
    }
    let count = counted(found.iter().map(|(_, count)| **count).sum(), "finding", "findings");
    writeln!(out, "congruent: not baked, nothing was written: lint has {count} of what --deny names")?;
    for (name, count) in found {
        group(out, report, name, *count, usize::MAX)?;
    }
    writeln!(out, "  mend the image; or allow what is meant so: --lint-allow LINT:PATH")?;
    allowed(out, report)?;
    Ok(true)
}

/// The counts alone, as part of a manifest's page.
pub(crate) fn counts(out: &mut impl Write, report: Option<&LintReport>) -> io::Result<()> {
    let Some(report) = report else {
        return writeln!(out, "\nlint: did not look when it was baked");
    };
    let count = counted(total(report), "finding", "findings");
    writeln!(out, "\nlint: {count} when it was baked")?;
    for (name, count) in &report.counts {
        head(out, name, *count)?;
    }
    for allowance in &report.allowed {
        let [lint, path] = [&allowance.lint, &allowance.path].map(|text| escape(text.as_bytes()));
        writeln!(out, "  allowed        {:>6}  {lint}:{path}", allowance.covered)?;
    }
    Ok(())
}

fn group(out: &mut impl Write, report: &LintReport, name: &str, count: u64, most: usize) -> io::Result<()> {
    head(out, name, count)?;
    let findings = || report.findings.iter().filter(|finding| finding.lint == name);
    let mut shown = 0;
    for LintFinding { path, detail, .. } in findings().take(most) {
        writeln!(out, "    {path}  {}", escape(detail.as_bytes()))?;
        shown += 1;
    }
    match count.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(out, "    and {more} more"),
    }
}

fn head(out: &mut impl Write, name: &str, count: u64) -> io::Result<()> {
    let about = Lint::named(name).map_or("a lint of another version", Lint::describe);
    writeln!(out, "  {:<14} {count:>6}  {about}", escape(name.as_bytes()))
}

/// Allowances that cover nothing are most likely mistyped, or not needed any more.
fn allowed(out: &mut impl Write, report: &LintReport) -> io::Result<()> {
    for allowance in report.allowed.iter().filter(|allowance| allowance.covered == 0) {
        let [lint, path] = [&allowance.lint, &allowance.path].map(|text| escape(text.as_bytes()));
        writeln!(out, "  nothing was found that {lint}:{path} allows")?;
    }
    Ok(())
}

fn total(report: &LintReport) -> u64 {
    report.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
}
