//! Accounts: empty passwords, and hashes of real ones, in the files that say who
//! may enter.
//!
//! An empty field in gshadow(5) or group(5) lets nobody in but the group's
//! members, and some distributions ship it so: it is no finding.

use congruent_protocol::path::escape;

use super::{Hit, Lint, Look, add};

/// How many accounts a finding names.
const NAMED: usize = 8;
/// The longest account name shown, in bytes.
const MAX_NAME_BYTES: usize = 32;

/// What a table of accounts or groups says by its second field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Passwords of accounts: an empty one lets everyone in.
    Accounts,
    /// Passwords of groups, or a copy that no login reads.
    Others,
}

/// Which table lies at a path, if one does.
pub(super) fn table(path: &[u8]) -> Option<Table> {
    let name = path.strip_prefix(b"/usr").unwrap_or(path).strip_prefix(b"/etc/")?;
    match name {
        b"passwd" | b"shadow" => Some(Table::Accounts),
        b"passwd-" | b"shadow-" | b"group" | b"group-" | b"gshadow" | b"gshadow-" => Some(Table::Others),
        _ => None,
    }
}

pub(super) fn look(look: Look<'_>, hits: &mut Vec<Hit>) {
    let Some(table) = table(look.path) else { return };
    let (mut empty, mut hashed) = (Vec::new(), Vec::new());
    for line in look.head.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b':');
        let (Some(name), Some(password)) = (fields.next(), fields.next()) else { continue };
        // The last line may be cut; one with two fields and no third says nothing.
        if is_comment(name) || fields.next().is_none() {
            continue;
        }
        match password {
            b"" if table == Table::Accounts => empty.push(name),
            _ if is_hash(password) => hashed.push(name),
            _ => {}
        }
    }
    if !empty.is_empty() {
        add(hits, Lint::EmptyPassword, format!("no password: {}", names(&empty)));
    }
    if !hashed.is_empty() {
        add(hits, Lint::Credential, format!("password hash: {}", names(&hashed)));
    }
}

/// Comments, and lines that bring in accounts from a name service.
fn is_comment(name: &[u8]) -> bool {
    matches!(name.first(), None | Some(b'#' | b'+' | b'-'))
}

/// Whether a password field is what crypt(3) makes. `x` points to the shadow
/// file; what begins with `!` or `*` is locked.
fn is_hash(password: &[u8]) -> bool {
    let is_crypt = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    match password {
        [b'$' | b'_', rest @ ..] => rest.len() >= 8,
        // The traditional form: two characters of salt, eleven of hash.
        _ => password.len() == 13 && password.iter().all(is_crypt),
    }
}

fn names(names: &[&[u8]]) -> String {
    let shown = names.iter().take(NAMED).map(|name| escape(&name[..name.len().min(MAX_NAME_BYTES)]));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    text
}
