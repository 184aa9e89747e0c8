//! Private keys: by their places, and by the forms that OpenSSL, OpenSSH, GnuPG,
//! PuTTY, Java, age and minisign write.
//!
//! A PEM key counts where its first line begins a line and base64 follows, so
//! that neither documents nor source code that speak of keys do. Encrypted keys
//! count as well, and are said to be so.

use congruent_protocol::entry::Node;
use memchr::{memchr, memmem, memrchr};

use super::places::{Place, When};
use super::scan::is_random;
use super::{Hit, Lint, Look, add};

/// The fewest characters of base64 that must follow: an Ed25519 key has 64.
const MIN_BODY: usize = 32;
/// How many lines of headers, such as `Proc-Type`, may stand before the base64.
const MAX_HEADERS: usize = 8;

const PLACE: &str = "where private keys lie";
const STORE: &str = "key store";

pub(super) const PLACES: &[Place] = &[
    Place::new(Lint::PrivateKey, "/etc/ssl/private/**", When::Filled, PLACE),
    Place::new(Lint::PrivateKey, "/etc/pki/tls/private/**", When::Filled, PLACE),
    Place::new(Lint::PrivateKey, "/etc/letsencrypt/accounts/**", When::Filled, PLACE),
    Place::new(
        Lint::PrivateKey,
        "/etc/wireguard/**",
        When::Holds(&["PrivateKey", "PresharedKey"]),
        "WireGuard key",
    ),
    Place::new(
        Lint::PrivateKey,
        "/etc/systemd/network/**",
        When::Holds(&["\nPrivateKey=", "\nPresharedKey="]),
        "WireGuard key",
    ),
    Place::new(
        Lint::PrivateKey,
        "/**/.ssh/id_{rsa,dsa,ecdsa,ed25519,ecdsa_sk,ed25519_sk}",
        When::Filled,
        PLACE,
    ),
    Place::new(Lint::PrivateKey, "/**/private-keys-v1.d/*.key", When::Filled, "GnuPG private key"),
    Place::new(Lint::PrivateKey, "/**/secring.gpg", When::Filled, "GnuPG private keys"),
    Place::new(Lint::PrivateKey, "/**/*.{p12,pfx}", When::Filled, STORE),
    Place::new(Lint::PrivateKey, "/**/*.kdbx", When::Filled, "password store"),
];

/// What stands in every key that is text, or in base64 of one: of `-----BEGIN `
/// and `PRIVATE KEY`, `RSA PRIVATE KEY`, `EC PRIVATE KEY`, `OPENSSH PRIVATE KEY`.
pub(super) const NEEDLES: &[&[u8]] = &[
    b"PRIVATE KEY",
    b"AGE-SECRET-KEY-1",
    b"LS0tLS1CRUdJTiBQUklWQVRFIEtFW",
    b"LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRV",
    b"LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFW",
    b"LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZ",
];

/// The forms that are known by how a file begins.
pub(super) fn look(look: Look<'_>, hits: &mut Vec<Hit>) {
    let head = look.head;
    let size = if let Node::File { size, .. } = look.entry.node { size } else { 0 };
    let form = match head {
        [0x30, ..] if is_der_key(head, size) => "private key in DER",
        [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] if java_store_has_key(head) => {
            "Java key store with a private key, encrypted"
        }
        [b'P', ..] if head.starts_with(b"PuTTY-User-Key-File-") => "PuTTY private key",
        [b'u', ..] if is_minisign_key(head) => "minisign or signify secret key",
        _ => return,
    };
    add(hits, Lint::PrivateKey, form);
}

/// The key whose needle stands at `at`, in words.
pub(super) fn at(head: &[u8], at: usize) -> Option<&'static str> {
    let rest = &head[at..];
    if rest.starts_with(b"AGE") {
        let body = rest["AGE-SECRET-KEY-1".len()..].get(..58)?;
        let is_key = body.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) && is_random(body);
        return is_key.then_some("age secret key");
    }
    if rest.starts_with(b"LS0t") {
        let body: &[u8] = &rest[..rest.iter().position(|&b| !is_base64(b)).unwrap_or(rest.len())];
        return (body.len() >= 100 && is_random(body)).then_some("private key in PEM in base64");
    }
    let line = &head[memrchr(b'\n', &head[..at]).map_or(0, |end| end + 1)..at];
    let begin = memmem::find(line, b"-----BEGIN ")?;
    let (before, label) = (&line[..begin], &line[begin + "-----BEGIN ".len()..]);
    if !label.iter().all(|&b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ') {
        return None;
    }
    let rest = &rest["PRIVATE KEY".len()..];
    let rest = rest.strip_prefix(b" BLOCK").unwrap_or(rest).strip_prefix(b"-----")?;
    match before {
        b"" | b"\xef\xbb\xbf" => pem(label, rest),
        // What Google's service accounts are handed out as.
        _ if memmem::find(before, b"\"private_key\"").is_some() => {
            let body = rest.strip_prefix(b"\\n")?;
            is_body(body).then_some("private key in JSON")
        }
        _ => None,
    }
}

/// The key whose first line ends before `rest`, if base64 follows.
fn pem(label: &[u8], rest: &[u8]) -> Option<&'static str> {
    let (end, mut rest) = rest.split_at(memchr(b'\n', rest)?);
    if !end.trim_ascii().is_empty() {
        return None;
    }
    let mut is_encrypted = label == b"ENCRYPTED ";
    for _ in 0..=MAX_HEADERS {
        rest = rest.get(1..)?;
        let line = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
        let text = line.trim_ascii();
        if text.is_empty() || memchr(b':', text).is_some() {
            is_encrypted |= text.starts_with(b"Proc-Type") && text.ends_with(b"ENCRYPTED");
            rest = &rest[line.len()..];
            continue;
        }
        if !is_body(text) {
            return None;
        }
        return Some(match label {
            b"TSS2 " => "private key in PEM, of use to one TPM only",
            b"PGP " => "OpenPGP private key",
            b"OPENSSH " if !is_open_openssh(text) => "OpenSSH private key, encrypted",
            b"OPENSSH " => "OpenSSH private key",
            _ if is_encrypted => "private key in PEM, encrypted",
            _ => "private key in PEM",
        });
    }
    None
}

fn is_body(text: &[u8]) -> bool {
    let body = &text[..text.iter().position(|&b| !is_base64(b)).unwrap_or(text.len())];
    // A placeholder ends in dots or brackets; JSON's line ends in `\n`.
    body.len() >= MIN_BODY && matches!(text.get(body.len()), None | Some(b'\\')) && is_random(body)
}

/// Whether an OpenSSH key names the cipher `none`:
/// <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key>.
fn is_open_openssh(body: &[u8]) -> bool {
    body.starts_with(b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU")
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Whether a file is one DER sequence that begins as PKCS#8 (RFC 5958), PKCS#1
/// (RFC 8017) or SEC 1 (RFC 5915) have it: a version, then an algorithm, a
/// modulus or a private value.
fn is_der_key(head: &[u8], size: u64) -> bool {
    let Some((length, header)) = der_length(&head[1..]) else { return false };
    if length + header + 1 != size {
        return false;
    }
    let [0x02, 1, version, rest @ ..] = &head[1 + header as usize..] else { return false };
    matches!(
        (version, rest),
        (0 | 1, [0x30, _, 0x06, ..]) | (0, [0x02, 0x81 | 0x82, ..]) | (1, [0x04, 28..=66, ..])
    )
}

/// A DER length and how many bytes it takes.
fn der_length(bytes: &[u8]) -> Option<(u64, u64)> {
    match *bytes {
        [short @ 0..=0x7f, ..] => Some((u64::from(short), 1)),
        [0x81, a, ..] => Some((u64::from(a), 2)),
        [0x82, a, b, ..] => Some((u64::from(u16::from_be_bytes([a, b])), 3)),
        _ => None,
    }
}

/// Whether a Java key store's first entry is a private key and no certificate:
/// magic, version 1 or 2, count, then the entry's tag.
fn java_store_has_key(head: &[u8]) -> bool {
    matches!(head.get(4..16), Some([0, 0, 0, 1 | 2, _, _, _, _, 0, 0, 0, 1 | 3]))
}

fn is_minisign_key(head: &[u8]) -> bool {
    let line = &head[..memchr(b'\n', head).unwrap_or(head.len())];
    line.starts_with(b"untrusted comment:") && memmem::find(line, b"secret key").is_some()
}
