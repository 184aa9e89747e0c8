//! Schemas of what writes its JSON itself, for the description of the API.
//!
//! Each stands for the text that the type's own `Serialize` writes.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::digest::Digest;
use crate::drift::{Field, Mode};
use crate::enrolment::SealKey;
use crate::ledger::{Ledger, WireLedger};
use crate::path::{TreePath, WirePath};

type Schemas = Vec<(String, RefOr<Schema>)>;

/// Text of a pattern.
fn text(pattern: &str, description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).description(Some(description))
}

fn described(schema: impl Into<Object>) -> RefOr<Schema> {
    Schema::Object(schema.into()).into()
}

impl ToSchema for Digest {}
impl PartialSchema for Digest {
    fn schema() -> RefOr<Schema> {
        let says = "What computed it, and 32 bytes in hexadecimal. `keyed-` says that only whoever has the node's \
                    key can compute it.";
        described(text("^(keyed-)?(blake3|sha256):[0-9a-f]{64}$", says))
    }
}

impl ToSchema for Mode {}
impl PartialSchema for Mode {
    fn schema() -> RefOr<Schema> {
        described(text("^[0-7]{4}$", "Permission bits, in octal."))
    }
}

impl ToSchema for Field {}
impl PartialSchema for Field {
    fn schema() -> RefOr<Schema> {
        let pattern = "^(content|size|link|device|mode|uid|gid|mtime|nlink|xattr:.*)$";
        described(text(pattern, "An attribute that is compared; an extended one with its name."))
    }
}

impl ToSchema for SealKey {}
impl PartialSchema for SealKey {
    fn schema() -> RefOr<Schema> {
        described(text("^[A-Za-z0-9+/]{43}=$", "32 bytes in base64.").content_encoding("base64"))
    }
}

impl ToSchema for TreePath {}
impl PartialSchema for TreePath {
    fn schema() -> RefOr<Schema> {
        WirePath::schema()
    }
}

impl ToSchema for Ledger {
    fn schemas(schemas: &mut Schemas) {
        WireLedger::schemas(schemas);
    }
}
impl PartialSchema for Ledger {
    fn schema() -> RefOr<Schema> {
        WireLedger::schema()
    }
}
