//! The refusals that operations name in the API's description, by status.
//!
//! 400 says that a request is not of the described shape, 422 that what it says
//! cannot be; both mean that sending it again changes nothing.

use std::collections::BTreeMap;

use congruent_protocol::report::Refusal;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

macro_rules! refusals {
    ($($name:ident $status:literal $says:literal)*) => {$(
        #[doc = $says]
        pub(super) enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                refusal($status, $says)
            }
        }
    )*};
}

refusals! {
    BadRequest 400 "The request is not of the described shape."
    Unauthorized 401 "It is not known who asks, or they are let in no longer."
    Forbidden 403 "Who asks may not."
    NotFound 404 "There is no such thing."
    Timeout 408 "The body did not arrive in time, or not whole."
    Conflict 409 "It does not go with what there is."
    TooLarge 413 "The body is larger than is taken."
    OtherMediaType 415 "The body is of another media type."
    Unfit 422 "The request is well-formed, but what it says cannot be."
    TooMany 429 "There is too much to do."
    Failed 500 "The collector failed; this is a bug."
    Unavailable 503 "The collector cannot do it for now."
}

/// A refusal and its headers.
fn refusal(status: u16, says: &str) -> BTreeMap<String, RefOr<Response>> {
    let body = Content::new(Some(Ref::from_schema_name(Refusal::name())));
    let mut response = ResponseBuilder::new().description(says).content("application/json", body);
    if let Some((header, kind, says)) = header_of(status) {
        let schema = ObjectBuilder::new().schema_type(kind);
        response = response
            .header(header, HeaderBuilder::new().schema(Some(schema)).description(Some(says)).build());
    }
    BTreeMap::from([(status.to_string(), response.build().into())])
}

fn header_of(status: u16) -> Option<(&'static str, Type, &'static str)> {
    match status {
        401 => Some(("WWW-Authenticate", Type::String, "`Bearer`")),
        429 | 503 => Some(("Retry-After", Type::Integer, "After how many seconds to try again.")),
        _ => None,
    }
}
