//! What containers came to, for people and programs.

use std::io::{self, Write};
use std::iter;
use std::path::Path;

use congruent_protocol::drift::Finding;
use congruent_protocol::path::escape;
use congruent_protocol::verification::{ManifestId, State, SweepMode};
use serde::Serialize;
use serde::ser::{Error as _, SerializeSeq};

use super::counted;
use super::kept::Kept;
use super::text::line;
use crate::container::verify::{
    CheckedLower, Coverage, Method, PartGap, Roots, SharedBy, Verdict, Writable, damaged_layers,
};
use crate::container::{MountKind, MountSurface};
use crate::findings::Findings;
use crate::layer::writable::Changes;
use crate::weight::gravest;

/// The version of the JSON page.
const SCHEMA: u32 = 1;
/// How many findings of one layer people are shown; programs get all of them.
const SHOWN_FINDINGS: usize = 100;
/// How many gaps of one container.
const SHOWN_GAPS: usize = 20;
/// How much of an id tells containers apart.
const SHORT_ID: usize = 12;

#[derive(Serialize)]
struct Page<'a> {
    schema_version: u32,
    containers: Vec<WireContainer<'a>>,
}

#[derive(Serialize)]
struct WireContainer<'a> {
    id: &'a str,
    name: Option<&'a str>,
    runtime: &'static str,
    image: Option<&'a str>,
    config_digest: Option<String>,
    manifest: Option<ManifestId>,
    state: State,
    #[serde(flatten)]
    roots: Option<Roots>,
    lower: WireLower<'a>,
    upper: WireUpper<'a>,
    mounts: WireMounts<'a>,
    coverage: &'a Coverage,
}

#[derive(Serialize)]
struct WireLower<'a> {
    state: State,
    method: Option<Method>,
    layers: Vec<WireLayer<'a>>,
}

#[derive(Serialize)]
struct WireLayer<'a> {
    diff_id: Option<String>,
    directory: String,
    state: State,
    method: Option<Method>,
    #[serde(flatten)]
    roots: Option<Roots>,
    shared_by: &'a [String],
    findings: Listed<'a>,
}

#[derive(Serialize)]
struct WireUpper<'a> {
    state: State,
    changes: Changes,
    findings: Merged<'a>,
}

#[derive(Serialize)]
struct WireMounts<'a> {
    state: State,
    findings: &'a [Finding],
    surface: Vec<WireSurface>,
}

#[derive(Serialize)]
struct WireSurface {
    path: String,
    kind: &'static str,
    source: String,
    writable: bool,
    exec: bool,
}

/// Findings that are perhaps not there.
struct Listed<'a>(Option<&'a Findings>);

impl Serialize for Listed<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(findings) => Kept(findings).serialize(serializer),
            None => serializer.serialize_seq(Some(0))?.end(),
        }
    }
}

/// The findings of a writable layer, and those of the runtime's own layer below it.
struct Merged<'a>(&'a Writable);

impl Merged<'_> {
    fn len(&self) -> usize {
        self.0.findings.as_ref().map_or(0, Findings::len) + self.0.runtime_layer.len()
    }

    /// All of them, in tree order.
    fn iter(&self) -> io::Result<impl Iterator<Item = io::Result<Finding>>> {
        let mut below = self.0.runtime_layer.iter().cloned().peekable();
        let own = self.0.findings.as_ref().map(Findings::iter).transpose()?;
        let mut own = own.into_iter().flatten().peekable();
        Ok(iter::from_fn(move || {
            let is_before = |below: &Finding| match own.peek() {
                Some(Ok(own)) => below.path < own.path,
                Some(Err(_)) => false,
                None => true,
            };
            match below.next_if(is_before) {
                Some(below) => Some(Ok(below)),
                None => own.next(),
            }
        }))
    }
}

impl Serialize for Merged<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.runtime_layer.is_empty() {
            return Listed(self.0.findings.as_ref()).serialize(serializer);
        }
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for finding in self.iter().map_err(S::Error::custom)? {
            list.serialize_element(&finding.map_err(S::Error::custom)?)?;
        }
        list.end()
    }
}

/// One document for programs.
pub(crate) fn json(out: &mut impl Write, verdicts: &[Verdict<'_>], shared: &SharedBy) -> io::Result<()> {
    let containers = verdicts.iter().map(|verdict| wire(verdict, shared)).collect();
    super::json(out, &Page { schema_version: SCHEMA, containers })
}

fn wire<'a>(verdict: &'a Verdict<'_>, shared: &'a SharedBy) -> WireContainer<'a> {
    let container = verdict.container;
    let layer = |layer: &'a CheckedLower| WireLayer {
        diff_id: layer.diff_id.map(|digest| digest.to_string()),
        directory: shown(&layer.directory),
        state: layer.state,
        method: layer.method,
        roots: layer.roots.map(|(baked_root, observed_root)| Roots { baked_root, observed_root }),
        shared_by: sharers(shared, layer),
        findings: Listed(layer.findings.as_ref()),
    };
    let surface = container.mounts.iter().filter(|mount| mount.kind != MountKind::Kernel).map(surface);
    WireContainer {
        id: &container.id,
        name: container.name.as_deref(),
        runtime: container.runtime.name(),
        image: container.image.as_deref(),
        config_digest: container.config_digest.map(|digest| digest.to_string()),
        manifest: verdict.manifest(),
        state: verdict.state,
        roots: verdict.roots,
        lower: WireLower {
            state: verdict.lower.state,
            method: verdict.lower.method,
            layers: verdict.lower.layers.iter().map(|checked| layer(checked)).collect(),
        },
        upper: WireUpper {
            state: verdict.upper.state,
            changes: verdict.upper.changes,
            findings: Merged(&verdict.upper),
        },
        mounts: WireMounts {
            state: verdict.mounts.state,
            findings: &verdict.mounts.findings,
            surface: surface.collect(),
        },
        coverage: &verdict.coverage,
    }
}

fn sharers<'s>(shared: &'s SharedBy, layer: &CheckedLower) -> &'s [String] {
    shared.get(&layer.directory).map(Vec::as_slice).unwrap_or_default()
}

fn surface(mount: &MountSurface) -> WireSurface {
    WireSurface {
        path: shown(&mount.path),
        kind: mount.kind.name(),
        source: shown(&mount.source),
        writable: mount.writable,
        exec: mount.exec,
    }
}

/// A verdict for each container, and what damaged layers affect.
pub(crate) fn text(out: &mut impl Write, verdicts: &[Verdict<'_>], shared: &SharedBy) -> io::Result<()> {
    for verdict in verdicts {
        container(out, verdict)?;
    }
    for layer in damaged_layers(verdicts) {
        let affected = sharers(shared, layer);
        let digest = layer.diff_id.map_or_else(|| "without a digest".to_owned(), |digest| digest.to_string());
        let affected_ids: Vec<String> = affected.iter().map(|id| short(id)).collect();
        writeln!(
            out,
            "damaged layer {digest} at {}\n  affects {}: {}\n  purge the layer before a replacement: it would be \
             made of the same copy",
            shown(&layer.directory),
            counted(affected.len() as u64, "container", "containers"),
            affected_ids.join(", ")
        )?;
        if let Some(found) = &layer.findings {
            findings(out, found.iter()?, found.len())?;
        }
    }
    Ok(())
}

fn container(out: &mut impl Write, verdict: &Verdict<'_>) -> io::Result<()> {
    let container = verdict.container;
    let name = container.name.as_deref().unwrap_or("(no name)");
    let told = |text: &str| escape(text.as_bytes()).into_owned();
    writeln!(
        out,
        "{}: {} {} ({})",
        verdict.state.name(),
        container.runtime.name(),
        told(name),
        short(&container.id)
    )?;
    if !container.is_running() {
        writeln!(out, "  runs     no: it is {}, and was looked at as it was left", container.state.name())?;
    }
    writeln!(out, "  image    {}", told(container.image.as_deref().unwrap_or("unknown")))?;
    match verdict.manifest() {
        Some(manifest) => writeln!(out, "  held to  {} {}", manifest.name, manifest.version)?,
        None => writeln!(out, "  held to  no manifest: none that is accepted is of this image")?,
    }
    let method = match verdict.lower.method {
        Some(Method::Manifest) => ", by manifest",
        Some(Method::DiffId) => ", by diff_id",
        None => "",
    };
    let layers = counted(verdict.lower.layers.len() as u64, "layer", "layers");
    let (lower, upper) = (&verdict.lower, &verdict.upper);
    let again = not_again(lower.mode(), lower.layers.iter().map(|layer| layer.entries_recalled).sum());
    writeln!(out, "  lower    {}: {layers}{method}{again}", lower.state.name())?;
    let again = not_again(upper.mode, upper.entries_recalled);
    writeln!(out, "  upper    {}{}{again}", upper.state.name(), changes(&upper.changes))?;
    let surface: Vec<_> = container.mounts.iter().filter(|mount| is_surface(mount)).collect();
    let mounts = match surface.len() {
        0 => "no writable surface".to_owned(),
        count => counted(count as u64, "writable mount", "writable mounts"),
    };
    writeln!(out, "  mounts   {}: {mounts}", verdict.mounts.state.name())?;
    for mount in surface {
        let exec = if mount.exec { ", exec" } else { "" };
        writeln!(out, "    {}  {} of {}{exec}", shown(&mount.path), mount.kind.name(), shown(&mount.source))?;
    }
    let merged = Merged(upper);
    findings(out, merged.iter()?, merged.len())?;
    verdict.mounts.findings.iter().try_for_each(|finding| writeln!(out, "  {}", line(finding)))?;
    let gaps = &verdict.coverage.gaps;
    gaps.iter().take(SHOWN_GAPS).try_for_each(|gap| writeln!(out, "  gap: {}", gap_line(gap)))?;
    more(out, gaps.len(), SHOWN_GAPS)
}

fn gap_line(PartGap { part, layer, path, reason }: &PartGap) -> String {
    let path = path.as_ref().map(ToString::to_string);
    let places = [Some(part.name()), layer.as_deref(), path.as_deref(), Some(reason.as_str())];
    places.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// How much a quick look did not read.
fn not_again(mode: SweepMode, recalled: u64) -> String {
    match (mode, recalled) {
        (SweepMode::Full, _) => String::new(),
        (SweepMode::Quick, 0) => ", quick".to_owned(),
        (SweepMode::Quick, recalled) => {
            format!(", quick: {} not read again", counted(recalled, "entry", "entries"))
        }
    }
}

fn changes(changes: &Changes) -> String {
    let counts = [
        (changes.added, "added"),
        (changes.content, "with other content"),
        (changes.metadata, "with other metadata"),
        (changes.removed, "removed"),
    ];
    let told: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let mut text = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
    for (count, one, many) in [
        (
            changes.replaced_directories,
            "directory was put aside and made anew",
            "directories were put aside and made anew",
        ),
        (changes.renamed, "directory was renamed", "directories were renamed"),
    ] {
        if count > 0 {
            text += &format!("; {}", counted(count, one, many));
        }
    }
    text
}

fn findings(
    out: &mut impl Write,
    findings: impl Iterator<Item = io::Result<Finding>>,
    count: usize,
) -> io::Result<()> {
    for finding in gravest(findings, SHOWN_FINDINGS)? {
        writeln!(out, "  {}", line(&finding))?;
    }
    match count.checked_sub(SHOWN_FINDINGS) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "  and {more} more, none graver than these; all in --format json"),
    }
}

fn more(out: &mut impl Write, all: usize, shown: usize) -> io::Result<()> {
    match all.checked_sub(shown) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "  and {more} more, all in --format json"),
    }
}

/// Whether it may be written, and is not what the runtime or the kernel has in every
/// container.
fn is_surface(mount: &MountSurface) -> bool {
    mount.writable && !matches!(mount.kind, MountKind::Kernel | MountKind::Runtime)
}

fn short(id: &str) -> String {
    escape(id.chars().take(SHORT_ID).collect::<String>().as_bytes()).into_owned()
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use congruent_protocol::contract::Class;
    use congruent_protocol::entry::{Entry, Node};
    use congruent_protocol::path::TreePath;

    use super::*;

    #[test]
    fn many_findings_of_little_weight_hide_no_grave_one() {
        let found = (0..150).map(|number| {
            let mode = if number == 149 { 0o4755 } else { 0o644 };
            let entry = Entry { node: Node::File { size: 1, content: None }, mode, ..Entry::empty() };
            let path = TreePath::new(format!("/tmp/{number:03}")).unwrap();
            Ok(Finding::added(&path, Class::Immutable, (&entry).into()))
        });
        let mut out = Vec::new();
        findings(&mut out, found, 150).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("/tmp/149") && lines[1].contains("/tmp/000"), "{text}");
        assert_eq!(lines.len(), 101);
        assert_eq!(lines[100], "  and 50 more, none graver than these; all in --format json");
    }
}
