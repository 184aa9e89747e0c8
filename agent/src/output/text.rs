//! A verification, for people.

use std::fmt::Write as _;
use std::io::{self, Write};

use congruent_protocol::contract::Class;
use congruent_protocol::drift::{Attributes, Change, Field, Finding, HeldTo};
use congruent_protocol::entry::Kind;
use congruent_protocol::verification::{
    Coverage, DirectReads, Gap, Hidden, MountTreatment, Protected, SweepMode, Unchecked, Verification,
};

use super::counted;
use crate::findings::Findings;

/// Prints the verdict, each finding on a line, and what could not be verified.
pub(crate) fn verification(out: &mut impl Write, v: &Verification<Findings>) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    writeln!(out, "{}: {} {}", v.state.name(), v.manifest.name, v.manifest.version)?;
    for add_on in &v.add_ons {
        writeln!(out, "  with     {} {}", add_on.name, add_on.version)?;
    }
    writeln!(out, "  baked    {}", v.baked_root)?;
    let conditional = if v.conditional { " (conditional: not everything was verified)" } else { "" };
    writeln!(out, "  observed {}{conditional}", v.observed_root)?;
    match &v.manifest.signed_by[..] {
        [] => writeln!(out, "  signed   not checked (--insecure-unsigned)")?,
        signers => writeln!(out, "  signed   by {}", signers.join(", "))?,
    }
    let Protected { entries, of } = v.protected;
    writeln!(out, "  protects {entries} of {of} entries, {:.1} %", v.protected.percent())?;
    if !v.findings.is_empty() {
        writeln!(out, "\n{}:", counted(v.findings.len() as u64, "finding", "findings"))?;
        v.findings.iter()?.try_for_each(|finding| writeln!(out, "  {}", line(&finding?)))?;
    }
    coverage(&mut out, &v.coverage)?;
    out.flush()
}

/// One finding on one line.
pub(crate) fn line(finding: &Finding) -> String {
    let mut text = format!("{:<12} {}", finding.change.name(), finding.path);
    for difference in differences(finding) {
        let _ = write!(text, "  {difference}");
    }
    let mut notes: Vec<String> = Vec::new();
    if finding.class != Class::Immutable {
        notes.push(finding.class.to_string());
    }
    notes.extend(finding.forbidden.iter().map(|forbidden| format!("{forbidden} is forbidden")));
    if finding.held_to == HeldTo::Ledger {
        notes.push("not the first value in the ledger".to_owned());
    }
    if !notes.is_empty() {
        let _ = write!(text, "  ({})", notes.join(", "));
    }
    text
}

/// What differs, in a few words each: every field that was modified, else what
/// was and what is.
pub(crate) fn differences(finding: &Finding) -> Vec<String> {
    match (&finding.expected, &finding.observed) {
        (Some(expected), Some(observed)) if finding.change == Change::Modified => {
            let shown = |field| format!("{field} {} → {}", value(expected, field), value(observed, field));
            finding.fields.iter().map(shown).collect()
        }
        (Some(expected), Some(observed)) => vec![format!("{} → {}", brief(expected), brief(observed))],
        (Some(one), None) | (None, Some(one)) => vec![brief(one)],
        (None, None) => Vec::new(),
    }
}

fn value(attributes: &Attributes, field: &Field) -> String {
    let shown = match field {
        Field::Content => attributes.content.map(|digest| short(&digest.to_string())),
        Field::Size => attributes.size.map(|size| size.to_string()),
        Field::Link => attributes.link.clone(),
        Field::Device => attributes.device.clone(),
        Field::Mode => attributes.mode.map(|mode| mode.to_string()),
        Field::Uid => attributes.uid.map(|uid| uid.to_string()),
        Field::Gid => attributes.gid.map(|gid| gid.to_string()),
        Field::Mtime => {
            attributes.modified_at.map(|at| at.to_string()).or(attributes.modified_at_unix.clone())
        }
        Field::Nlink => attributes.nlink.map(|links| links.to_string()),
        Field::Xattr(name) => {
            attributes.xattrs.iter().find(|xattr| xattr.name == *name).map(|xattr| short(&xattr.value))
        }
    };
    shown.unwrap_or_else(|| "none".to_owned())
}

/// An entry in a few words.
pub(super) fn brief(attributes: &Attributes) -> String {
    let mut text = attributes.kind.name().to_owned();
    if attributes.kind == Kind::Mount {
        let _ = write!(text, " of {}", attributes.filesystem.as_deref().unwrap_or("an unknown file system"));
        return text;
    }
    if let (Some(mode), Some(uid), Some(gid)) = (attributes.mode, attributes.uid, attributes.gid) {
        let _ = write!(text, " {mode} {uid}:{gid}");
    }
    if let Some(size) = attributes.size {
        let _ = write!(text, " {size} bytes");
    }
    if let Some(link) = &attributes.link {
        let _ = write!(text, " to {link}");
    }
    if let Some(device) = &attributes.device {
        let _ = write!(text, " {device}");
    }
    text
}

/// A digest or value, cut to what tells two apart at a glance.
fn short(value: &str) -> String {
    match value.char_indices().nth(20) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

fn coverage(out: &mut impl Write, coverage: &Coverage) -> io::Result<()> {
    let seconds = coverage.finished_at.duration_since(coverage.started_at).as_secs_f64();
    writeln!(
        out,
        "\ncoverage: {} entries seen, {} expected; {} bytes hashed in {seconds:.1} s",
        coverage.entries_seen, coverage.entries_expected, coverage.bytes_hashed
    )?;
    if coverage.mode == SweepMode::Quick {
        writeln!(out, "  quick       full sweeps alone verify; what cannot have changed was not looked at")?;
    }
    if coverage.entries_recalled > 0 {
        let entries = counted(coverage.entries_recalled, "entry", "entries");
        writeln!(out, "  recalled    {entries} with the stamp that an earlier look saw")?;
    }
    if let Some(DirectReads { files, through_cache }) = coverage.direct {
        let past = files.saturating_sub(through_cache);
        writeln!(
            out,
            "  direct      {past} of {files} files past the page cache, {through_cache} through it"
        )?;
    }
    gaps(out, "unreadable", &coverage.unreadable)?;
    gaps(out, "unstable", &coverage.unstable)?;
    for first in &coverage.first_seen {
        writeln!(out, "  first seen  {}  {}", first.path, brief(&first.attributes))?;
    }
    for Hidden { path, entries } in &coverage.hidden {
        writeln!(out, "  hidden      {path}  {} under a mount", counted(*entries, "entry", "entries"))?;
    }
    for place in &coverage.reserved {
        let entries = counted(place.entries, "entry", "entries");
        writeln!(out, "  reserved    {}  {entries}, outside the tree", place.path)?;
    }
    for Unchecked { what, reason, entries, .. } in &coverage.unchecked {
        let entries = counted(*entries, "entry", "entries");
        writeln!(out, "  unchecked   {what}  of {entries}: {reason}")?;
    }
    for mount in &coverage.mounts {
        let how = match mount.content {
            MountTreatment::Verify => "verified",
            MountTreatment::Hide => "expected, not looked into",
            MountTreatment::Unnamed => "not in the contract",
        };
        writeln!(
            out,
            "  mount       {}  {} {how}",
            mount.path,
            mount.filesystem.as_deref().unwrap_or("unknown")
        )?;
    }
    Ok(())
}

fn gaps(out: &mut impl Write, what: &str, gaps: &[Gap]) -> io::Result<()> {
    gaps.iter().try_for_each(|gap| writeln!(out, "  {what:<11} {}  {}", gap.path, gap.reason))
}
