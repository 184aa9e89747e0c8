//! How a node becomes known to the collector: what it sends to join and to renew
//! its certificate, and what it gets.
//!
//! The node makes its key and never gives it away. The certificate names the node
//! as a URI, and nothing else in it is the node's own word.

use std::fmt;

use data_encoding::BASE64;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the JSON of enrolment and renewal.
pub const ENROLMENT_SCHEMA: u32 = 1;
/// Where a node enrols.
pub const ENROLL_PATH: &str = "/v1/enroll";
/// Where an enrolled node gets its next certificate.
pub const RENEW_PATH: &str = "/v1/renew";
/// The largest request of either kind, in bytes.
pub const MAX_ENROLMENT_BYTES: usize = 64 << 10;
/// How far the clocks of a node and its collector may be apart, in seconds: as
/// much as certificates are dated back.
pub const MAX_SKEW_SECONDS: i64 = 3600;

/// What a node's certificate names it with, before its escaped id.
const NODE_URI: &str = "congruent:node:";
/// All but what a URI may hold unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Words that the collector refuses with.
pub mod code {
    /// The clocks of node and collector are too far apart.
    pub const CLOCK_SKEW: &str = "clock-skew";
    /// The enrolment was ended by an operator.
    pub const REVOKED: &str = "revoked";
    /// The certificate is genuine, but the collector knows no such enrolment.
    pub const NOT_ENROLLED: &str = "not-enrolled";
    /// The certificate is over, and serves to renew it only.
    pub const CERTIFICATE_EXPIRED: &str = "certificate-expired";
    /// Another node has this name.
    pub const NODE_TAKEN: &str = "node-taken";
    /// This key is another node's.
    pub const KEY_TAKEN: &str = "key-taken";
}

/// What a node sends to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollRequest {
    /// [`ENROLMENT_SCHEMA`].
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1))]
    pub schema_version: u32,
    /// Why it may join.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// The name that it wants.
    pub node: String,
    /// A certificate signing request, DER in base64. Only its key counts.
    pub csr: String,
    /// The agent's version.
    pub agent_version: String,
    /// The node's time.
    pub sent_at: Timestamp,
}

/// Why a node may join. Each kind is a member of its own in the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// A join token.
    Token(Secret),
}

/// What a node gets when it has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enrolled {
    /// [`ENROLMENT_SCHEMA`].
    pub schema_version: u32,
    /// The enrolment's id.
    pub enrolment: String,
    /// The node's name, as its certificate has it.
    pub node: String,
    /// The group that it is in.
    pub group: String,
    /// What its reports are sealed with from the first one on. Nothing once one has
    /// come: the node has a later key, and whoever had this one could make any past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<SealKey>,
    /// Its certificate.
    #[serde(flatten)]
    pub issued: Issued,
}

/// What a node sends to renew its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RenewRequest {
    /// [`ENROLMENT_SCHEMA`].
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1))]
    pub schema_version: u32,
    /// A certificate signing request of the same key, DER in base64.
    pub csr: String,
}

/// What a node gets when its certificate was renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Renewed {
    /// [`ENROLMENT_SCHEMA`].
    pub schema_version: u32,
    /// The new certificate.
    #[serde(flatten)]
    pub issued: Issued,
}

/// A certificate, and what goes with it. Times are the collector's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Issued {
    /// The certificate, in PEM.
    pub certificate: String,
    /// The authority's certificate, in PEM.
    pub ca: String,
    /// Where the agent reports.
    pub agents_url: String,
    /// When it was issued.
    pub server_time: Timestamp,
    /// When it is to be renewed.
    pub renew_at: Timestamp,
    /// When it is over.
    pub not_after: Timestamp,
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The first key of the chain that seals a node's reports: 32 random bytes, in
/// base64 as text.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes in base64.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// Reads what [`to_base64`](Self::to_base64) gives; none for anything else.
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(BASE64.decode(text.as_bytes()).ok()?.try_into().ok()?))
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

impl Serialize for SealKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for SealKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The text is secret, so the error does not repeat it.
        Self::from_base64(&text).ok_or_else(|| serde::de::Error::custom("a seal key is 32 bytes in base64"))
    }
}

/// What a certificate calls `node`: `congruent:node:` and its id, percent-encoded.
pub fn node_uri(node: &str) -> String {
    format!("{NODE_URI}{}", utf8_percent_encode(node, ENCODED))
}

/// The node that `uri` names; none where it is not what [`node_uri`] gives.
pub fn node_of_uri(uri: &str) -> Option<String> {
    let node = percent_decode_str(uri.strip_prefix(NODE_URI)?).decode_utf8().ok()?.into_owned();
    (!node.is_empty() && node_uri(&node) == uri).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_come_back_from_their_uris() {
        for node in ["web-1", "web 1.example", "nœud", "a/../b", "%41", "x\ny"] {
            let uri = node_uri(node);
            assert!(uri.is_ascii() && !uri.contains(['/', ' ', '\n']), "{uri}");
            assert_eq!(node_of_uri(&uri).as_deref(), Some(node));
        }
        for foreign in
            ["congruent:node:", "congruent:node:a/b", "spiffe://x", "congruent:node:%6", "congruent:node:%41"]
        {
            assert_eq!(node_of_uri(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written_and_shows_no_secret() {
        let request = EnrollRequest {
            schema_version: ENROLMENT_SCHEMA,
            evidence: Evidence::Token(Secret::new("hidden".to_owned())),
            node: "web-1".to_owned(),
            csr: "AAAA".to_owned(),
            agent_version: "0.1.0".to_owned(),
            sent_at: Timestamp::UNIX_EPOCH,
        };
        let json = serde_json::to_string(&request).unwrap();
        assert!(json.contains(r#""token":"hidden""#), "{json}");
        assert_eq!(serde_json::from_str::<EnrollRequest>(&json).unwrap(), request);
        let key = SealKey::new([7; 32]);
        assert!(!format!("{request:?}{key:?}").contains("hidden"));
        assert_eq!(serde_json::from_str::<SealKey>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
        assert!(serde_json::from_str::<SealKey>("\"BwcH\"").unwrap_err().to_string().contains("32 bytes"));
    }
}
