//! The containers of a host, for people and programs.

use std::io::{self, Write};
use std::path::Path;

use congruent_protocol::path::{WireBytes, escape};
use serde_json::{Map, Value, json};

use crate::container::{Container, Found, IdRange, LayerOnDisk, MountKind, MountSurface};

/// The version of the JSON page.
const SCHEMA: u32 = 1;
/// How much of an id is enough to tell containers apart in a list.
const SHORT_ID: usize = 12;
/// The heads of the list's columns; the image comes last, since it may be long.
const HEADS: [&str; 7] = ["ID", "NAME", "RUNTIME", "STATE", "LAYERS", "WRITABLE", "IMAGE"];

/// A line for each container, and what is missing.
pub(crate) fn list(out: &mut impl Write, found: &Found) -> io::Result<()> {
    if found.containers.is_empty() {
        writeln!(out, "no containers found")?;
        looked(out, found)?;
        return gaps(out, "", &found.gaps);
    }
    let rows: Vec<_> = found.containers.iter().map(row).collect();
    let mut widths = HEADS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(out, &HEADS.map(str::to_owned), &widths)?;
    for (row, container) in rows.iter().zip(&found.containers) {
        line(out, row, &widths)?;
        gaps(out, "  ", &container.gaps)?;
    }
    gaps(out, "", &found.gaps)
}

/// All about each container.
pub(crate) fn details(out: &mut impl Write, found: &Found) -> io::Result<()> {
    for container in &found.containers {
        detail(out, container)?;
    }
    gaps(out, "", &found.gaps)
}

fn row(container: &Container) -> [String; 7] {
    let id: String = container.id.chars().take(SHORT_ID).collect();
    [
        text(&id),
        text(container.name.as_deref().unwrap_or("-")),
        container.runtime.name().to_owned(),
        container.state.name().to_owned(),
        container.layers.len().to_string(),
        writable(container),
        text(container.image.as_deref().unwrap_or("-")),
    ]
}

/// What may be written to, in few words.
fn writable(container: &Container) -> String {
    let count = container.mounts.iter().filter(|mount| is_surface(mount)).count();
    let root = (container.root_writable != Some(false)).then_some("root".to_owned());
    let mounts = (count > 0).then(|| super::counted(count as u64, "mount", "mounts"));
    let parts: Vec<_> = root.into_iter().chain(mounts).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// Whether it may be written, and is not what every container has of the kernel.
fn is_surface(mount: &MountSurface) -> bool {
    mount.writable && mount.kind != MountKind::Kernel
}

fn line(out: &mut impl Write, cells: &[String; 7], widths: &[usize; 7]) -> io::Result<()> {
    let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    writeln!(out, "{}", padded.join("  ").trim_end())
}

fn detail(out: &mut impl Write, container: &Container) -> io::Result<()> {
    let name = container.name.as_deref().unwrap_or("(no name)");
    writeln!(out, "{}  {}  {}", text(name), container.runtime.name(), container.state.name())?;
    writeln!(out, "  id        {}", text(&container.id))?;
    writeln!(out, "  image     {}", text(container.image.as_deref().unwrap_or("unknown")))?;
    if let Some(digest) = container.config_digest {
        writeln!(out, "  config    {digest}")?;
    }
    if let Some(pid) = container.pid {
        writeln!(out, "  pid       {pid}")?;
    }
    for LayerOnDisk { diff_id, directory, .. } in &container.layers {
        let digest = diff_id.map_or_else(|| "no digest".to_owned(), |digest| digest.to_string());
        writeln!(out, "  layer     {digest}\n            {}", shown(directory))?;
    }
    if let Some(init) = &container.init {
        writeln!(out, "  init      {}", shown(init))?;
    }
    if let Some(upper) = &container.upper {
        let read_only = if container.root_writable == Some(false) { "  (read-only)" } else { "" };
        writeln!(out, "  writes    {}{read_only}", shown(upper))?;
    }
    for mount in container.mounts.iter().filter(|mount| mount.kind != MountKind::Kernel) {
        let access = match (mount.writable, mount.exec) {
            (true, true) => "writable, exec",
            (true, false) => "writable",
            (false, true) => "exec",
            (false, false) => "neither writable nor exec",
        };
        let (path, source) = (shown(&mount.path), shown(&mount.source));
        writeln!(out, "  mounted   {path}  {} of {source}  ({access})", mount.kind.name())?;
    }
    gaps(out, "  ", &container.gaps)
}

fn looked(out: &mut impl Write, found: &Found) -> io::Result<()> {
    writeln!(
        out,
        "looked at processes, and at {}",
        match &found.looked[..] {
            [] => "no runtime's data root, since none is at a usual place".to_owned(),
            roots => roots.iter().map(|root| shown(root)).collect::<Vec<_>>().join(", "),
        }
    )
}

fn gaps(out: &mut impl Write, indent: &str, gaps: &[String]) -> io::Result<()> {
    gaps.iter().try_for_each(|gap| writeln!(out, "{indent}gap: {}", text(gap)))
}

fn text(foreign: &str) -> String {
    escape(foreign.as_bytes()).into_owned()
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes()).into_owned()
}

/// One document for programs.
pub(crate) fn json(out: &mut impl Write, found: &Found) -> io::Result<()> {
    let containers: Vec<_> = found.containers.iter().map(wire).collect();
    let looked: Vec<_> = found.looked.iter().map(|root| shown(root)).collect();
    let page = json!({
        "schema_version": SCHEMA,
        "containers": containers,
        "looked": looked,
        "gaps": found.gaps,
    });
    super::json(out, &page)
}

fn wire(container: &Container) -> Value {
    let mut writable = Map::from_iter([("root".to_owned(), json!(container.root_writable))]);
    put_path(&mut writable, "upper", container.upper.as_deref());
    let mut wire = Map::new();
    put_path(&mut wire, "init", container.init.as_deref());
    let members = json!({
        "id": container.id,
        "name": container.name,
        "runtime": container.runtime.name(),
        "image": container.image,
        "config_digest": container.config_digest,
        "state": container.state.name(),
        "pid": container.pid,
        "layers": container.layers.iter().map(wire_layer).collect::<Vec<_>>(),
        "writable": writable,
        "mounts": container.mounts.iter().map(wire_mount).collect::<Vec<_>>(),
        "uid_map": wire_ids(&container.uid_map),
        "gid_map": wire_ids(&container.gid_map),
        "gaps": container.gaps,
    });
    with(wire, members)
}

fn wire_layer(layer: &LayerOnDisk) -> Value {
    let mut wire = Map::new();
    put_path(&mut wire, "directory", Some(&layer.directory));
    put_path(&mut wire, "tar_split", layer.tar_split.as_deref());
    with(wire, json!({ "diff_id": layer.diff_id, "chain_id": layer.chain_id }))
}

fn wire_mount(mount: &MountSurface) -> Value {
    let mut wire = Map::new();
    put_path(&mut wire, "path", Some(&mount.path));
    put_path(&mut wire, "source", Some(&mount.source));
    let members = json!({
        "kind": mount.kind.name(),
        "filesystem": mount.filesystem,
        "writable": mount.writable,
        "exec": mount.exec,
    });
    with(wire, members)
}

fn wire_ids(ranges: &[IdRange]) -> Vec<Value> {
    let wire =
        |range: &IdRange| json!({ "inside": range.inside, "outside": range.outside, "count": range.count });
    ranges.iter().map(wire).collect()
}

/// A path as text, and in base64 beside it where the text is not all of it.
fn put_path(members: &mut Map<String, Value>, key: &str, path: Option<&Path>) {
    let wire = path.map(|path| WireBytes::from_bytes(path.as_os_str().as_encoded_bytes()));
    let (text, bytes) = wire.map(|wire| (wire.text, wire.bytes)).unzip();
    members.insert(key.to_owned(), json!(text));
    if let Some(bytes) = bytes.flatten() {
        members.insert(format!("{key}_bytes"), json!(bytes));
    }
}

fn with(mut members: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        members.extend(more);
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{ContainerState, Runtime};

    fn page(render: impl Fn(&mut Vec<u8>, &Found) -> io::Result<()>, found: &Found) -> String {
        let mut out = Vec::new();
        render(&mut out, found).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_host_without_containers_says_where_it_looked() {
        let nowhere = Found::default();
        let text = page(list, &nowhere);
        assert!(text.starts_with("no containers found\nlooked at processes, and at no runtime's"), "{text}");
        let looked = vec!["/var/lib/docker".into(), "/a\nb".into()];
        let somewhere = Found { looked, gaps: vec!["cannot open /x".to_owned()], ..Found::default() };
        let text = page(list, &somewhere);
        let expected = "no containers found\nlooked at processes, and at /var/lib/docker, /a\\x0ab\n\
                        gap: cannot open /x\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_foreign_does_no_harm() {
        let container = Container {
            name: Some("we\u{1b}[31mb".to_owned()),
            image: Some("app\n".to_owned()),
            state: ContainerState::Running,
            root_writable: Some(false),
            upper: Some("/up\u{202e}per".into()),
            gaps: vec!["bad \u{7}".to_owned()],
            ..Container::new(Runtime::Docker, "0123456789abcdef")
        };
        let found = Found { containers: vec![container], ..Found::default() };
        for text in [page(list, &found), page(details, &found)] {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text}");
            assert!(text.contains("we\\x1b[31mb") && text.contains("gap: bad \\x07"), "{text}");
        }
        assert!(page(list, &found).contains("0123456789ab  we"));
        assert!(page(list, &found).contains("nothing"));
        let json: Value = serde_json::from_str(&page(json, &found)).unwrap();
        let writable = &json["containers"][0]["writable"];
        assert_eq!((&writable["root"], &writable["upper_bytes"]), (&json!(false), &json!("L3Vw4oCucGVy")));
    }
}
