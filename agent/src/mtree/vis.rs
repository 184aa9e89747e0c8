//! The escapes of vis(3): bytes as words without white space, and back.
//!
//! What is written is octal only, which every reader of specs knows. What is
//! read is all that strsvis(3) and go-mtree write: octal, C style, meta and
//! control notation. Decoding never guesses: an escape that is none is an error.

/// Why a word cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VisError {
    /// A backslash with nothing, or too little, after it.
    #[error("an escape is cut short")]
    Short,
    /// A backslash with something after it that is no escape.
    #[error("there is no such escape")]
    Unknown,
    /// An octal escape above 255.
    #[error("an octal escape is over 377")]
    TooLarge,
}

/// The bytes as one word: what is not plain, and what means something to a
/// reader of specs, in octal.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' | b'#' | b'*' | b'?' | b'[' => push_octal(&mut out, byte),
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => push_octal(&mut out, byte),
        }
    }
    out
}

fn push_octal(out: &mut String, byte: u8) {
    out.push('\\');
    for shift in [6, 3, 0] {
        out.push(char::from(b'0' + ((byte >> shift) & 7)));
    }
}

/// The bytes that a word stands for.
///
/// # Errors
/// When it holds an escape that vis(3) does not write.
pub fn decode(word: &[u8]) -> Result<Vec<u8>, VisError> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'\\' {
            let (byte, left) = decode_escape(tail)?;
            out.extend(byte);
            rest = left;
        } else {
            out.push(first);
        }
    }
    Ok(out)
}

/// The byte that the escape at the start of `rest` stands for, and what follows.
/// `\$` stands for nothing.
fn decode_escape(rest: &[u8]) -> Result<(Option<u8>, &[u8]), VisError> {
    let (&kind, tail) = rest.split_first().ok_or(VisError::Short)?;
    let byte = match kind {
        b'0'..=b'7' => return decode_octal(rest),
        b'M' => return decode_meta(tail),
        b'^' => return decode_control(tail, 0),
        b'x' => return decode_hex(tail),
        b'$' => return Ok((None, tail)),
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b's' => b' ',
        b'a' => 0x07,
        b'b' => 0x08,
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'E' => 0x1b,
        // Punctuation that some reader would take for its own.
        b'\\' | b'#' | b'"' | b'\'' | b'*' | b'?' | b'[' | b'=' | b'-' | b'%' => kind,
        _ => return Err(VisError::Unknown),
    };
    Ok((Some(byte), tail))
}

fn decode_octal(rest: &[u8]) -> Result<(Option<u8>, &[u8]), VisError> {
    let digits = rest.iter().take(3).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
    let value = rest[..digits].iter().fold(0_u16, |value, digit| value * 8 + u16::from(digit - b'0'));
    let byte = u8::try_from(value).map_err(|_| VisError::TooLarge)?;
    Ok((Some(byte), &rest[digits..]))
}

fn decode_hex(rest: &[u8]) -> Result<(Option<u8>, &[u8]), VisError> {
    let digits = rest.get(..2).ok_or(VisError::Short)?;
    let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or(VisError::Unknown);
    let value = nibble(digits[0])? * 16 + nibble(digits[1])?;
    Ok((Some(value as u8), &rest[2..]))
}

/// `M-c` is c with the eighth bit set, `M^c` the same of a control.
fn decode_meta(rest: &[u8]) -> Result<(Option<u8>, &[u8]), VisError> {
    match rest {
        [b'-', byte, tail @ ..] => Ok((Some(byte | 0x80), tail)),
        [b'^', tail @ ..] => decode_control(tail, 0x80),
        [] | [b'-'] => Err(VisError::Short),
        _ => Err(VisError::Unknown),
    }
}

fn decode_control(rest: &[u8], mask: u8) -> Result<(Option<u8>, &[u8]), VisError> {
    match rest.split_first() {
        None => Err(VisError::Short),
        Some((b'?', tail)) => Ok((Some(0x7f | mask), tail)),
        Some((byte, tail)) => Ok((Some((byte & 0x1f) | mask), tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_peers_write_is_read() {
        for (word, bytes) in [
            (&b"a\\sb\\tc\\nd"[..], &b"a b\tc\nd"[..]),
            (b"\\#\\\\", b"#\\"),
            (b"\\^A\\^[\\^?", b"\x01\x1b\x7f"),
            (b"\\M-C\\M-<", "ü".as_bytes()),
            (b"\\M^?\\M-~\\M^A", b"\xff\xfe\x81"),
            (b"\\303\\274\\240\\0012", b"\xc3\xbc\xa0\x012"),
            (b"\\1a", b"\x01a"),
            (b"\\x1bE", b"\x1bE"),
            (b"%41", b"%41"),
            (b"a\\$b", b"ab"),
        ] {
            assert_eq!(decode(word).as_deref(), Ok(bytes), "{}", String::from_utf8_lossy(word));
        }
    }

    #[test]
    fn what_is_no_escape_is_refused() {
        for (word, error) in [
            (&b"a\\"[..], VisError::Short),
            (b"\\M", VisError::Short),
            (b"\\M-", VisError::Short),
            (b"\\^", VisError::Short),
            (b"\\x1", VisError::Short),
            (b"\\xg0", VisError::Unknown),
            (b"\\q", VisError::Unknown),
            (b"\\Mx", VisError::Unknown),
            (b"\\400", VisError::TooLarge),
        ] {
            assert_eq!(decode(word), Err(error), "{}", String::from_utf8_lossy(word));
        }
    }

    proptest! {
        #[test]
        fn every_byte_survives(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let word = encode(&bytes);
            prop_assert!(word.bytes().all(|b| b.is_ascii_graphic() && !b"#*?[".contains(&b)), "{}", word);
            prop_assert_eq!(decode(word.as_bytes()).unwrap(), bytes);
        }
    }
}
