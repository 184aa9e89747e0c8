//! The API's description, in OpenAPI 3.1: `GET /v1/openapi.json` for the port of
//! operators, `GET /v1/openapi-agents.json` for that of enrolled nodes.
//!
//! It is made of the same routes that serve. A route is added by `routes!`, which
//! takes documented handlers alone; `clippy.toml` forbids the other ways.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::http::header;
use axum::response::IntoResponse;
use congruent_protocol::report::Refusal;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem, RefOr, Required, Schema,
};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::refusals::{BadRequest, Forbidden, Unauthorized, Unavailable};
use super::{Api, routes};
use crate::cmdb;
use crate::identity::{MAX_REASON_CHARS, Role};

/// Routes and what is said of them.
pub(super) type Routes = OpenApiRouter<Arc<Api>>;

/// The scheme of operators' tokens.
const OPERATOR: &str = "operator";
/// The scheme of nodes' certificates.
const NODE: &str = "node";
/// A reason, as far as every client can send it in a header.
const REASON: &str = "^[ -~]*[!-~][ -~]*$";

static OPERATORS: LazyLock<String> = LazyLock::new(|| json(&operators()));
static AGENTS: LazyLock<String> = LazyLock::new(|| json(&agents()));

/// What this port takes and gives
///
/// A description of the API for operators in OpenAPI 3.1, of which clients are made.
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "describe", tag = "description",
    responses((status = 200, description = "The description.", body = Object, content_type = "application/json")))]
pub(super) async fn for_operators() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPERATORS.as_str())
}

/// What the port of enrolled nodes takes and gives
#[utoipa::path(get, path = "/v1/openapi-agents.json", operation_id = "describe_agents", tag = "description",
    responses((status = 200, description = "The description.", body = Object, content_type = "application/json")))]
pub(super) async fn for_agents() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], AGENTS.as_str())
}

/// The description of the port of operators, as it is served.
pub(crate) fn operators_json() -> &'static str {
    &OPERATORS
}

/// The description of the port of enrolled nodes, as it is served.
pub(crate) fn agents_json() -> &'static str {
    &AGENTS
}

fn operators() -> OpenApi {
    let says = "Operators read and change the collector's state, and nodes enrol. Each operation says which role it \
                needs, in its security requirement; each change needs a reason, in a header.";
    let token =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The token of an operator."));
    let mut described = routes::operators(|_, routes| routes).into_openapi();
    // Lines of a feed, which no media type of OpenAPI 3.1 can refer to.
    let mut lines = vec![(cmdb::Item::name().into_owned(), cmdb::Item::schema())];
    cmdb::Item::schemas(&mut lines);
    described.components.get_or_insert_default().schemas.extend(lines);
    complete(described, ("Congruent: operators", says), (OPERATOR, SecurityScheme::Http(token.build())))
}

fn agents() -> OpenApi {
    let says = "Enrolled nodes report, by mutual TLS with the certificate that `POST /v1/enroll` on the port of \
                operators gave them.";
    let described = routes::agents(|_, routes| routes).into_openapi();
    let certificate = Some("The certificate of an enrolled node.".to_owned());
    let certificate =
        SecurityScheme::MutualTls { description: certificate, deprecated: None, extensions: None };
    complete(described, ("Congruent: enrolled nodes", says), (NODE, certificate))
}

/// Says of routes for operators who may use them.
pub(super) fn for_role(role: Role, mut routes: Routes) -> Routes {
    each_operation(routes.get_openapi_mut(), |operation| {
        operation.security = Some(vec![SecurityRequirement::new(OPERATOR, [role.name()])]);
        refuses::<Unauthorized>(operation);
        refuses::<Forbidden>(operation);
        refuses::<Unavailable>(operation);
    });
    routes
}

/// Says of routes for nodes who may use them.
pub(super) fn for_nodes(mut routes: Routes) -> Routes {
    each_operation(routes.get_openapi_mut(), |operation| {
        operation.security = Some(vec![SecurityRequirement::new(NODE, [""; 0])]);
        refuses::<Unauthorized>(operation);
        refuses::<Forbidden>(operation);
    });
    routes
}

/// Adds a refusal that every route of a kind has.
fn refuses<R: IntoResponses>(operation: &mut Operation) {
    for (status, response) in R::responses() {
        operation.responses.responses.entry(status).or_insert(response);
    }
}

/// What all operations have, and what is said of the whole.
fn complete(
    mut described: OpenApi,
    (title, says): (&str, &str),
    (name, scheme): (&str, SecurityScheme),
) -> OpenApi {
    each_operation(&mut described, |operation| {
        let parameters = operation.parameters.as_deref_mut().unwrap_or_default();
        parameters.iter_mut().for_each(never_null);
        if !parameters.is_empty() {
            refuses::<BadRequest>(operation);
        }
    });
    let components = described.components.take().unwrap_or_default();
    let mut components =
        ComponentsBuilder::from(components).schema(Refusal::name(), Refusal::schema()).build();
    open_flattened(&mut components.schemas);
    components.add_security_scheme(name, scheme);
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title(title)
        .description(Some(says))
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(license))
        .build();
    OpenApiBuilder::new().info(info).paths(described.paths).components(Some(components)).build()
}

fn json(described: &OpenApi) -> String {
    described.to_pretty_json().expect("a description always serialises")
}

fn each_operation(described: &mut OpenApi, mut change: impl FnMut(&mut Operation)) {
    for item in described.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, .. } = item;
        [get, put, post, delete].into_iter().flatten().for_each(&mut change);
    }
}

/// A parameter is there or it is not, but it is never null.
fn never_null(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(parameter) = parameter else { return };
    let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema else { return };
    let SchemaType::Array(types) = &mut object.schema_type else { return };
    types.retain(|kind| *kind != Type::Null);
    if let [one] = types.as_slice() {
        object.schema_type = SchemaType::Type(one.clone());
    }
}

/// What is flattened into something larger cannot forbid what else is in there.
fn open_flattened(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let mut flattened = Vec::new();
    for schema in schemas.values() {
        let RefOr::T(Schema::AllOf(all)) = schema else { continue };
        flattened.extend(all.items.iter().filter_map(|item| match item {
            RefOr::Ref(to) => to.ref_location.rsplit('/').next().map(str::to_owned),
            RefOr::T(_) => None,
        }));
    }
    for name in flattened {
        if let Some(RefOr::T(Schema::Object(object))) = schemas.get_mut(&name) {
            object.additional_properties = None;
        }
    }
}

/// The header that says why something is changed. Each operation whose handler
/// takes an [`Author`](crate::identity::Author) names it.
pub(super) enum Reason {}

impl IntoParams for Reason {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(REASON))
            .max_length(Some(MAX_REASON_CHARS));
        let says = "Why it is changed; the audit keeps it. UTF-8 is taken too.";
        let parameter = ParameterBuilder::new()
            .name("Congruent-Reason")
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .schema(Some(schema))
            .description(Some(says));
        vec![parameter.build()]
    }
}
