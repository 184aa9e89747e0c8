//! One path explained, for people and programs.

use std::io::{self, Write};

use congruent_protocol::path::escape;
use serde::Serialize;

use super::manifest::more_terms;
use super::text::brief;
use crate::explanation::{BakedThere, Explanation, NumberedRule};

/// The version of the JSON page.
const SCHEMA: u32 = 1;

pub(crate) fn text(out: &mut impl Write, told: &Explanation) -> io::Result<()> {
    writeln!(out, "{}", told.path)?;
    writeln!(out, "  class      {}: {}", told.class, told.allows)?;
    match (&told.reserved, &told.decided_by) {
        (Some(place), _) => writeln!(out, "  reserved   in {}, whatever the rules say", place.path)?,
        (None, Some(rule)) => writeln!(out, "  decided by {}", in_words(rule))?,
        (None, None) => writeln!(out, "  decided by no rule: what none matches is immutable")?,
    }
    for rule in &told.overruled {
        writeln!(out, "  overruled  {}", in_words(rule))?;
    }
    for mount in &told.hiding_mounts {
        writeln!(out, "  mount      {} may hide it", escape(mount.path.as_bytes()))?;
    }
    let floor = told.floor.as_ref().map_or_else(
        || "not under it".to_owned(),
        |place| format!("under {}: no contract may loosen it", escape(place.as_bytes())),
    );
    writeln!(out, "  floor      {floor}")?;
    match &told.baked {
        Some(baked) => baked_there(out, baked),
        None => writeln!(out, "  expected   nothing: no manifest holds it"),
    }
}

fn in_words(NumberedRule { number, rule }: &NumberedRule) -> String {
    let path = escape(rule.path.as_bytes());
    format!("rule {number}: {} is {}{}", path, rule.terms.class, more_terms(&rule.terms))
}

fn baked_there(out: &mut impl Write, baked: &BakedThere) -> io::Result<()> {
    let BakedThere { manifest, version, package, entry, .. } = baked;
    writeln!(out, "  expected   {}", brief(entry))?;
    if let Some(content) = &entry.content {
        writeln!(out, "             {content}")?;
    }
    for xattr in &entry.xattrs {
        writeln!(out, "             xattr {} {}", xattr.name, xattr.value)?;
    }
    writeln!(out, "  held by    {manifest} {version}")?;
    package.iter().try_for_each(|package| writeln!(out, "  package    {}", escape(package.as_bytes())))
}

#[derive(Serialize)]
struct Page<'a> {
    schema_version: u32,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

pub(crate) fn json(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    super::json(out, &Page { schema_version: SCHEMA, explanation })
}
