//! Rights: what modes, owners, capabilities and device numbers give away.

use congruent_protocol::entry::{Device, Node};

use super::{Hit, Lint, Look, add};

const SETUID: u16 = 0o4000;
const SETGID: u16 = 0o2000;
const STICKY: u16 = 0o1000;
const GROUP_WRITES: u16 = 0o020;
const ANYONE_WRITES: u16 = 0o002;

/// Where shells and services look for programs by default.
const PATH: [&[u8]; 9] = [
    b"/bin",
    b"/sbin",
    b"/usr/bin",
    b"/usr/sbin",
    b"/usr/local/bin",
    b"/usr/local/sbin",
    b"/usr/games",
    b"/usr/local/games",
    b"/snap/bin",
];
/// Whoever may write to these may put another directory in the place of one in
/// PATH, but where the sticky bit forbids it.
const ABOVE_PATH: [&[u8]; 4] = [b"/", b"/usr", b"/usr/local", b"/snap"];

/// The nodes that installers put into /dev of every system, with their numbers:
/// of no use to anyone who could not make them.
const ORDINARY_DEVICES: [(&[u8], u32, u32); 8] = [
    (b"/dev/console", 5, 1),
    (b"/dev/full", 1, 7),
    (b"/dev/null", 1, 3),
    (b"/dev/ptmx", 5, 2),
    (b"/dev/random", 1, 8),
    (b"/dev/tty", 5, 0),
    (b"/dev/urandom", 1, 9),
    (b"/dev/zero", 1, 5),
];

pub(super) fn look(look: Look<'_>, hits: &mut Vec<Hit>) {
    let entry = look.entry;
    match &entry.node {
        Node::File { .. } => {
            program(look, hits);
            if entry.mode & ANYONE_WRITES != 0 {
                add(hits, Lint::WorldWritable, format!("file, mode {:04o}", entry.mode));
            }
            if parent(look.path).is_some_and(|parent| PATH.contains(&parent)) {
                path_place(look, "program", hits);
            }
        }
        Node::Directory => {
            if entry.mode & (ANYONE_WRITES | STICKY) == ANYONE_WRITES {
                add(hits, Lint::WorldWritable, format!("directory, mode {:04o}", entry.mode));
            }
            let is_above = ABOVE_PATH.contains(&look.path) && entry.mode & STICKY == 0;
            if is_above || PATH.contains(&look.path) {
                path_place(look, "directory", hits);
            }
        }
        Node::Fifo if entry.mode & ANYONE_WRITES != 0 => {
            add(hits, Lint::WorldWritable, format!("pipe, mode {:04o}", entry.mode));
        }
        Node::CharDevice(device) => device_node(look, "character", *device, hits),
        Node::BlockDevice(device) => device_node(look, "block", *device, hits),
        // Anyone may write to a link's or a socket's inode; it means nothing.
        Node::Fifo | Node::Socket | Node::Symlink { .. } => {}
    }
}

fn program(look: Look<'_>, hits: &mut Vec<Hit>) {
    let entry = look.entry;
    let capable = entry.xattrs.iter().any(|(name, _)| name == b"security.capability");
    let grants: Vec<String> = [
        (entry.mode & SETUID != 0).then(|| format!("setuid, owner {}", entry.uid)),
        (entry.mode & SETGID != 0).then(|| format!("setgid, group {}", entry.gid)),
        capable.then(|| "file capabilities".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !grants.is_empty() {
        add(hits, Lint::Setuid, grants.join("; "));
    }
}

fn path_place(look: Look<'_>, what: &str, hits: &mut Vec<Hit>) {
    let entry = look.entry;
    let detail = if entry.mode & ANYONE_WRITES != 0 {
        format!("{what}, anyone may write to it")
    } else if entry.mode & GROUP_WRITES != 0 {
        format!("{what}, group {} may write to it", entry.gid)
    } else if entry.uid != 0 {
        format!("{what}, owner {} may write to it", entry.uid)
    } else {
        return;
    };
    add(hits, Lint::WritablePath, detail);
}

fn device_node(look: Look<'_>, what: &str, device: Device, hits: &mut Vec<Hit>) {
    let Device { major, minor } = device;
    let is_character = matches!(look.entry.node, Node::CharDevice(_));
    if !(is_character && ORDINARY_DEVICES.contains(&(look.path, major, minor))) {
        let mode = look.entry.mode;
        add(hits, Lint::Device, format!("{what} device {major}:{minor}, mode {mode:04o}"));
    }
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    memchr::memrchr(b'/', path).map(|at| &path[..at])
}
