//! Every route, with what it asks of who uses it.
//!
//! The guards are the caller's: a server puts its own around the routes, and who
//! describes them needs none.

use utoipa_axum::routes;

use super::description::{Routes, for_nodes, for_role};
use super::{
    actions, audit, cmdb, container, containers, decisions, description, enroll, forget, groups, health,
    heartbeats, images, manifests, metrics, node, nodes, operators, reports, tokens,
};
use crate::identity::Role;

/// The port for operators, and for nodes that are not enrolled. `guard` keeps out
/// who has not the role.
pub(super) fn operators(guard: impl Fn(Role, Routes) -> Routes) -> Routes {
    let guarded = |role, routes| guard(role, for_role(role, routes));
    let viewers = Routes::new()
        .routes(routes!(nodes::list))
        .routes(routes!(node::one))
        .routes(routes!(containers::list))
        .routes(routes!(containers::of_node))
        .routes(routes!(container::one))
        .routes(routes!(decisions::list))
        .routes(routes!(decisions::one))
        .routes(routes!(actions::list))
        .routes(routes!(actions::one))
        .routes(routes!(cmdb::items))
        .routes(routes!(groups::list))
        .routes(routes!(groups::one))
        .routes(routes!(groups::history))
        .routes(routes!(manifests::list))
        .routes(routes!(manifests::one))
        .routes(routes!(manifests::content))
        .routes(routes!(operators::list))
        .routes(routes!(tokens::list))
        .routes(routes!(audit::list));
    let operators = Routes::new()
        .routes(routes!(groups::put))
        .routes(routes!(manifests::import, manifests::withdraw))
        .routes(routes!(forget::forget))
        .routes(routes!(enroll::revoke))
        .routes(routes!(tokens::create))
        .routes(routes!(tokens::revoke));
    let admins = Routes::new()
        .routes(routes!(operators::create))
        .routes(routes!(operators::revoke))
        .routes(routes!(groups::delete));
    Routes::new()
        .merge(guarded(Role::Viewer, viewers))
        .merge(guarded(Role::Operator, operators))
        .merge(guarded(Role::Admin, admins))
        .routes(routes!(enroll::take))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(description::for_operators))
        .routes(routes!(description::for_agents))
}

/// What a node needs to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certificate {
    /// An enrolment that stands, also where the certificate is over.
    Enrolled,
    /// Beyond that, a certificate that is not over.
    Current,
}

/// The port for enrolled nodes.
pub(super) fn agents(guard: impl Fn(Certificate, Routes) -> Routes) -> Routes {
    let current = Routes::new()
        .routes(routes!(reports::take))
        .routes(routes!(reports::take_page))
        .routes(routes!(heartbeats::take))
        .routes(routes!(heartbeats::ledger))
        .routes(routes!(images::manifests))
        .routes(routes!(manifests::content_for_node));
    // What an expired certificate serves for as well.
    let enrolled = Routes::new().routes(routes!(enroll::renew)).routes(routes!(heartbeats::clock));
    let guarded = |certificate, routes| guard(certificate, for_nodes(routes));
    Routes::new()
        .merge(guarded(Certificate::Current, current))
        .merge(guarded(Certificate::Enrolled, enrolled))
}
