//! What DSSE signs.
//!
//! Format: <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>.

/// The pre-authentication encoding of a payload and its type: what is signed.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in DSSE's protocol document.
    #[test]
    fn it_is_the_one_of_the_document() {
        let pae = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(pae, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
