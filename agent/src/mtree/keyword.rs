//! One `keyword=value` of a spec, read into claims.

use congruent_protocol::contract::Terms;
use congruent_protocol::entry::{Device, Kind};
use congruent_protocol::path::escape;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

use super::claims::{Claims, Mtime, Reason, Sha2};
use super::vis::{VisError, decode};

/// The most keywords that are remembered of one path, and so of a `/set`.
const MAX_KEYWORDS: usize = 256;
/// The longest name of a keyword.
const MAX_KEYWORD_BYTES: usize = 512;
/// The longest value of an extended attribute, as in Linux.
const MAX_XATTR_BYTES: usize = 64 << 10;

/// Why a keyword is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeywordError {
    /// It cannot have that value.
    #[error("`{keyword}` cannot be {value:?}; it is {wanted}")]
    Value {
        /// The keyword.
        keyword: String,
        /// What stands there, escaped.
        value: String,
        /// What may stand there.
        wanted: &'static str,
    },
    /// It has no value.
    #[error("`{0}` is no keyword of its own, or lacks its value")]
    NoValue(String),
    /// It is not text, or too long.
    #[error("a keyword is not one: {0:?}")]
    NotAKeyword(String),
    /// Its value is not what vis(3) writes.
    #[error("cannot decode the value of `{keyword}`")]
    Escape {
        /// The keyword.
        keyword: String,
        /// What is wrong with it.
        #[source]
        source: VisError,
    },
    /// There are more than anyone needs.
    #[error("over {MAX_KEYWORDS} keywords are said of one path")]
    TooMany,
}

/// Takes one word of a line into `claims`; a later word stands over an earlier.
pub(super) fn take(claims: &mut Claims, word: &[u8]) -> Result<(), KeywordError> {
    let mut parts = word.splitn(2, |&b| b == b'=');
    let keyword = parts.next().unwrap_or_default();
    let keyword = std::str::from_utf8(keyword)
        .ok()
        .filter(|keyword| (1..=MAX_KEYWORD_BYTES).contains(&keyword.len()))
        .ok_or_else(|| KeywordError::NotAKeyword(shorten(keyword)))?;
    match parts.next() {
        Some(value) => take_value(claims, keyword, value)?,
        None => take_flag(claims, keyword)?,
    }
    if claims.xattrs.len() + claims.unsupported.len() > MAX_KEYWORDS {
        return Err(KeywordError::TooMany);
    }
    Ok(())
}

fn take_flag(claims: &mut Claims, keyword: &str) -> Result<(), KeywordError> {
    match keyword {
        "optional" => claims.optional = true,
        "ignore" => claims.ignore = true,
        "nochange" => claims.nochange = true,
        _ => return Err(KeywordError::NoValue(shorten(keyword.as_bytes()))),
    }
    Ok(())
}

fn take_value(claims: &mut Claims, keyword: &str, value: &[u8]) -> Result<(), KeywordError> {
    let wants = |wanted| move || refuse(keyword, value, wanted);
    match keyword {
        "type" => {
            let kind = kind_of(value).ok_or_else(wants("block, char, dir, fifo, file, link or socket"))?;
            claims.kind = Some(kind);
        }
        "mode" => take_mode(claims, value)?,
        "uid" => claims.uid = Some(number(value).ok_or_else(wants("a number"))?),
        "gid" => claims.gid = Some(number(value).ok_or_else(wants("a number"))?),
        "uname" => claims.uname = Some(unescape(keyword, value)?),
        "gname" => claims.gname = Some(unescape(keyword, value)?),
        "size" => claims.size = Some(number(value).ok_or_else(wants("a number of bytes"))?),
        "nlink" => claims.nlink = Some(number(value).ok_or_else(wants("a number of links"))?),
        "link" => claims.link = Some(unescape(keyword, value)?),
        "time" | "tar_time" => take_time(claims, keyword, value)?,
        "device" => take_device(claims, value)?,
        _ => match keyword.strip_prefix("xattr.").or(keyword.strip_prefix("xattrs.")) {
            Some(name) => take_xattr(claims, keyword, name, value)?,
            None => take_digest(claims, keyword, value)?,
        },
    }
    Ok(())
}

fn kind_of(value: &[u8]) -> Option<Kind> {
    Some(match value {
        b"block" => Kind::BlockDevice,
        b"char" => Kind::CharDevice,
        b"dir" => Kind::Directory,
        b"fifo" => Kind::Fifo,
        b"file" => Kind::File,
        b"link" => Kind::Symlink,
        b"socket" => Kind::Socket,
        _ => return None,
    })
}

/// A decimal number: digits alone, so that each has one form but for zeros.
fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    let digits = std::str::from_utf8(value).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn take_mode(claims: &mut Claims, value: &[u8]) -> Result<(), KeywordError> {
    claims.mode = None;
    claims.unsupported.remove("mode");
    if value.first().is_some_and(|first| b"ugoa+-=".contains(first)) {
        claims.unsupported.insert("mode".to_owned(), Reason::SymbolicMode);
        return Ok(());
    }
    let octal = std::str::from_utf8(value).ok().filter(|text| !text.starts_with('+'));
    let mode = octal.and_then(|text| u16::from_str_radix(text, 8).ok()).filter(|mode| *mode <= 0o7777);
    claims.mode = Some(mode.ok_or_else(|| refuse("mode", value, "at most 07777, in octal"))?);
    Ok(())
}

/// `SECONDS.NANOSECONDS`. The second part is a number and no fraction: NetBSD
/// writes `5.7` for seven nanoseconds, and go-mtree `5.000000007`.
fn take_time(claims: &mut Claims, keyword: &str, value: &[u8]) -> Result<(), KeywordError> {
    let refuse = || refuse(keyword, value, "seconds, a dot and nanoseconds");
    let mut parts = value.splitn(2, |&b| b == b'.');
    let seconds = parts.next().unwrap_or_default();
    let (digits, sign) = seconds.strip_prefix(b"-").map_or((seconds, 1), |digits| (digits, -1));
    let seconds = number::<i64>(digits).ok_or_else(refuse)? * sign;
    let nanoseconds: u32 = parts.next().map_or(Some(0), number).ok_or_else(refuse)?;
    if nanoseconds >= 1_000_000_000 {
        return Err(refuse());
    }
    let is_finer = nanoseconds != 0 && keyword == "time";
    claims.mtime = Some(Mtime { seconds, nanoseconds: is_finer.then_some(nanoseconds) });
    Ok(())
}

/// `native,MAJOR,MINOR`, `linux,MAJOR,MINOR`, or Linux's own number of both.
fn take_device(claims: &mut Claims, value: &[u8]) -> Result<(), KeywordError> {
    let refuse = || refuse("device", value, "native,MAJOR,MINOR or one number");
    claims.device = None;
    claims.unsupported.remove("device");
    let fields: Vec<&[u8]> = value.split(|&b| b == b',').collect();
    match fields[..] {
        [packed] => claims.device = Some(unpack_device(any_base(packed).ok_or_else(refuse)?)),
        [b"native" | b"linux", major, minor] => {
            let part = |text| any_base(text).and_then(|part| u32::try_from(part).ok()).ok_or_else(refuse);
            claims.device = Some(Device { major: part(major)?, minor: part(minor)? });
        }
        [_, _, _] | [_, _, _, _] => {
            claims.unsupported.insert("device".to_owned(), Reason::ForeignDevice);
        }
        _ => return Err(refuse()),
    }
    Ok(())
}

/// makedev(3) undone.
fn unpack_device(packed: u64) -> Device {
    let major = ((packed >> 8) & 0xfff) | ((packed >> 32) & 0xffff_f000);
    let minor = (packed & 0xff) | ((packed >> 12) & 0xffff_ff00);
    Device { major: major as u32, minor: minor as u32 }
}

/// A number as strtoul(3) takes it: `0x` for hexadecimal, `0` for octal.
fn any_base(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.starts_with(['+', '-']))?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

fn take_xattr(claims: &mut Claims, keyword: &str, name: &str, value: &[u8]) -> Result<(), KeywordError> {
    let name = unescape(keyword, name.as_bytes())?;
    let decoded = BASE64.decode(value).ok().filter(|decoded| decoded.len() <= MAX_XATTR_BYTES);
    let decoded = decoded.ok_or_else(|| refuse(keyword, value, "base64 of at most 64 KiB"))?;
    if name.is_empty() || name.contains(&0) || !Terms::immutable().xattrs.contains(&name) {
        claims.unsupported.insert(shorten(keyword.as_bytes()), Reason::XattrOutOfScope);
    } else {
        claims.xattrs.insert(name, decoded);
    }
    Ok(())
}

fn take_digest(claims: &mut Claims, keyword: &str, value: &[u8]) -> Result<(), KeywordError> {
    let digits = value.strip_prefix(b"0x").unwrap_or(value);
    let bytes = HEXLOWER_PERMISSIVE.decode(digits).ok();
    let digest = match keyword.strip_suffix("digest").unwrap_or(keyword) {
        "sha256" => bytes.and_then(|bytes| bytes.try_into().ok()).map(Sha2::Sha256),
        "sha384" => bytes.and_then(|bytes| bytes.try_into().ok()).map(|b| Sha2::Sha384(Box::new(b))),
        "sha512" => bytes.and_then(|bytes| bytes.try_into().ok()).map(|b| Sha2::Sha512(Box::new(b))),
        _ => {
            take_unsupported(claims, keyword, value);
            return Ok(());
        }
    };
    let digest = digest.ok_or_else(|| refuse(keyword, value, "its digits in hexadecimal, all of them"))?;
    claims.digests.retain(|known| known.name() != digest.name());
    claims.digests.push(digest);
    Ok(())
}

fn take_unsupported(claims: &mut Claims, keyword: &str, value: &[u8]) {
    let reason = match keyword {
        "md5" | "md5digest" | "sha1" | "sha1digest" | "rmd160" | "rmd160digest" | "ripemd160digest"
        | "cksum" => Reason::WeakDigest,
        "tags" => Reason::Tags,
        // NetBSD's mtree writes it on Linux too, where it is true of every file.
        "flags" if value == b"none" => {
            claims.unsupported.remove("flags");
            return;
        }
        "flags" => Reason::Flags,
        _ => Reason::Unknown,
    };
    claims.unsupported.insert(shorten(keyword.as_bytes()), reason);
}

fn unescape(keyword: &str, value: &[u8]) -> Result<Vec<u8>, KeywordError> {
    decode(value).map_err(|source| KeywordError::Escape { keyword: shorten(keyword.as_bytes()), source })
}

fn refuse(keyword: &str, value: &[u8], wanted: &'static str) -> KeywordError {
    KeywordError::Value { keyword: shorten(keyword.as_bytes()), value: shorten(value), wanted }
}

/// Foreign bytes for a message: escaped, and not longer than one reads.
pub(super) fn shorten(bytes: &[u8]) -> String {
    let text = escape(&bytes[..bytes.len().min(80)]).into_owned();
    if bytes.len() > 80 { format!("{text}…") } else { text }
}
