//! A manifest's page, for people and programs.

use std::io::{self, Read, Write};

use congruent_protocol::contract::{ExpectedMount, MountContent, Rule, Terms};
use congruent_protocol::drift::Attributes;
use congruent_protocol::entry::Node;
use congruent_protocol::manifest::{EntriesReader, ListedEntry, Manifest, ManifestKind};
use congruent_protocol::path::{TreePath, escape};
use serde::Serialize;

use super::{counted, lint};

/// The version of the JSON page.
const SCHEMA: u32 = 1;

pub(crate) fn text<R: Read>(
    out: &mut impl Write,
    manifest: &Manifest,
    was_checked: bool,
    entries: Option<EntriesReader<R>>,
) -> anyhow::Result<()> {
    let predicate = manifest.predicate();
    let kind = match predicate.kind {
        ManifestKind::Base => "",
        ManifestKind::AddOn => " (add-on)",
    };
    writeln!(out, "{} {}{kind}", predicate.name, predicate.version)?;
    writeln!(out, "  root       {}", predicate.root)?;
    let summary = &predicate.entries;
    writeln!(out, "  entries    {}, {} bytes of content", summary.count, summary.content_bytes)?;
    let baked = &predicate.baked;
    let [by, on, with] = [&baked.by, &baked.on, &baked.with].map(|text| escape(text.as_bytes()));
    writeln!(out, "  baked      {} by {by} on {on} with {with}", baked.at)?;
    signers(out, manifest, was_checked)?;
    if let Some(expires) = predicate.expires {
        writeln!(out, "  expires    {expires}")?;
    }
    for (name, word) in predicate.origin.words() {
        writeln!(out, "  {:<10} {}", name.replace('_', " "), escape(word.as_bytes()))?;
    }
    if let Some(image) = &predicate.origin.image {
        let layers = counted(image.diff_ids.len() as u64, "layer", "layers");
        writeln!(out, "  image      {}, {layers}", image.config_digest)?;
    }
    if let Some(packages) = &predicate.packages {
        writeln!(out, "  packages   {} by {}", packages.list.len(), escape(packages.manager.as_bytes()))?;
    }
    for place in &predicate.reserved {
        writeln!(out, "  reserved   {place}: outside the tree")?;
    }
    writeln!(out, "\ncontract: immutable, but where the last matching rule says otherwise")?;
    for rule in predicate.contract.rules() {
        writeln!(out, "  {}", rule_line(rule))?;
    }
    for mount in predicate.contract.mounts() {
        writeln!(out, "  {}", mount_line(mount))?;
    }
    lint::counts(out, predicate.lint.as_ref())?;
    if let Some(entries) = entries {
        writeln!(out)?;
        for listed in entries {
            writeln!(out, "{}", entry_line(&listed?))?;
        }
    }
    Ok(())
}

/// A rule of the contract on one line.
pub(super) fn rule_line(rule: &Rule) -> String {
    let path = escape(rule.path.as_bytes());
    format!("{:<11} {path}{}", rule.terms.class.name(), more_terms(&rule.terms))
}

/// An expected mount on one line.
pub(super) fn mount_line(mount: &ExpectedMount) -> String {
    let how = match mount.content {
        MountContent::Verify => "verified like the rest",
        MountContent::Hide => "hides what was baked beneath",
    };
    let wishes = mount.filesystem.iter().chain(&mount.source).chain(&mount.flags);
    let wishes: String = wishes.map(|wish| format!(" {}", escape(wish.as_bytes()))).collect();
    format!("mount      {}{wishes}: {how}", escape(mount.path.as_bytes()))
}

/// What a rule says beside its class.
pub(super) fn more_terms(terms: &Terms) -> String {
    let Terms { forbid, mtime, xattrs, sensitive, .. } = terms;
    let mut words = Vec::new();
    if !forbid.is_empty() {
        let names: Vec<_> = forbid.iter().map(|forbidden| forbidden.name()).collect();
        words.push(format!("forbids {}", names.join(", ")));
    }
    if *mtime {
        words.push("with mtime".to_owned());
    }
    words.extend(xattrs.more.iter().map(|name| format!("with {}", escape(name.as_bytes()))));
    words.extend(xattrs.fewer.iter().map(|name| format!("without {}", escape(name.as_bytes()))));
    if *sensitive {
        words.push("sensitive".to_owned());
    }
    if words.is_empty() { String::new() } else { format!("  ({})", words.join("; ")) }
}

/// Who signed it, and whether that was checked.
pub(super) fn signers(out: &mut impl Write, manifest: &Manifest, was_checked: bool) -> io::Result<()> {
    let signed_by = manifest.signed_by();
    for key in &signed_by.verified {
        writeln!(out, "  signed     by {key}: checked")?;
    }
    let verified: Vec<String> = signed_by.verified.iter().map(ToString::to_string).collect();
    for key in signed_by.claimed.iter().filter(|key| !verified.contains(key)) {
        let why = if was_checked { "not a trusted key" } else { "not checked; give --trust PUB.pem" };
        writeln!(out, "  signed     by {}: {why}", escape(key.as_bytes()))?;
    }
    if signed_by.claimed.is_empty() {
        writeln!(out, "  signed     by nobody")?;
    }
    Ok(())
}

fn entry_line(listed: &ListedEntry) -> String {
    let ListedEntry { path, entry } = listed;
    let rest = match &entry.node {
        Node::File { size, content } => {
            format!("{size} {}", content.map(|d| d.to_string()).unwrap_or_default())
        }
        Node::Symlink { target } => format!("-> {}", escape(target)),
        Node::CharDevice(device) | Node::BlockDevice(device) => format!("{}:{}", device.major, device.minor),
        Node::Directory | Node::Fifo | Node::Socket => String::new(),
    };
    let kind = char::from(entry.node.kind().tag());
    format!("{kind} {:04o} {}:{} {path} {rest}", entry.mode, entry.uid, entry.gid).trim_end().to_owned()
}

#[derive(Serialize)]
struct Page<'a> {
    schema_version: u32,
    manifest: &'a congruent_protocol::manifest::Predicate,
    signed_by: Vec<String>,
    signatures_claimed: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<PageEntry>>,
}

#[derive(Serialize)]
struct PageEntry {
    #[serde(flatten)]
    path: TreePath,
    #[serde(flatten)]
    attributes: Attributes,
}

pub(crate) fn json<R: Read>(
    out: &mut impl Write,
    manifest: &Manifest,
    entries: Option<EntriesReader<R>>,
) -> anyhow::Result<()> {
    let entries = entries.map(|entries| {
        entries
            .map(|listed| listed.map(|l| PageEntry { attributes: Attributes::from(&l.entry), path: l.path }))
            .collect::<Result<Vec<_>, _>>()
    });
    let page = Page {
        schema_version: SCHEMA,
        manifest: manifest.predicate(),
        signed_by: manifest.signed_by().verified.iter().map(ToString::to_string).collect(),
        signatures_claimed: &manifest.signed_by().claimed,
        entries: entries.transpose()?,
    };
    Ok(super::json(out, &page)?)
}
