//! Entries of every kind.

use arbitrary::{Result, Unstructured};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::entry::{Device, Entry, Node, Timestamp, Xattrs};

/// The extended attributes that entries have, in order.
pub const XATTRS: [&str; 4] = ["security.capability", "security.selinux", "user.\n\u{e9}", "user.a"];

/// One entry. Where `in_scope` refuses an extended attribute it has none of that
/// name, as after a look under such terms.
pub fn entry(bytes: &mut Unstructured<'_>, in_scope: impl Fn(&[u8]) -> bool) -> Result<Entry> {
    let node = match bytes.int_in_range(0..=9)? {
        0..=3 => file(bytes)?,
        4 | 5 => Node::Directory,
        6 => Node::Symlink { target: vec![1 + bytes.int_in_range(0..=254)?; bytes.int_in_range(1..=3)?] },
        7 => bytes.choose(&[Node::Fifo, Node::Socket])?.clone(),
        8 => Node::CharDevice(device(bytes)?),
        _ => Node::BlockDevice(device(bytes)?),
    };
    let mut xattrs = Xattrs::new();
    for name in XATTRS.map(str::as_bytes) {
        if bytes.ratio(1, 6)? && in_scope(name) {
            xattrs.push((name.to_vec(), vec![bytes.arbitrary()?]));
        }
    }
    Ok(Entry {
        node,
        mode: *bytes.choose(&[0o644, 0o755, 0o4755, 0o2644, 0o1777, 0o7777, 0])?,
        uid: *bytes.choose(&[0, 1, u32::MAX])?,
        gid: *bytes.choose(&[0, 1, u32::MAX])?,
        mtime: time(bytes)?,
        link_group: 0,
        xattrs,
        package: 0,
    })
}

fn file(bytes: &mut Unstructured<'_>) -> Result<Node> {
    let content: u8 = bytes.int_in_range(0..=3)?;
    let size = *bytes.choose(&[0, 1, 2, u64::MAX >> 1])?;
    Ok(Node::File { size, content: Some(Algorithm::Blake3.digest(&[content])) })
}

fn device(bytes: &mut Unstructured<'_>) -> Result<Device> {
    Ok(Device { major: *bytes.choose(&[0, 1, u32::MAX])?, minor: *bytes.choose(&[0, 3, u32::MAX])? })
}

/// Now and then one that no calendar has.
fn time(bytes: &mut Unstructured<'_>) -> Result<Timestamp> {
    let seconds = match bytes.int_in_range(0..=3)? {
        0 => bytes.arbitrary()?,
        near => near - 2,
    };
    Ok(Timestamp { seconds, nanoseconds: *bytes.choose(&[0, 1, 999_999_999])? })
}
