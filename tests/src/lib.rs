//! What the end-to-end tests, the demo and the bench share: real programs, real
//! trees, a real receiver of webhooks.
//!
//! Nothing here stands in for a part of Congruent: the binaries are started as
//! their users start them, and spoken to over files and sockets.

pub mod agent;
pub mod binaries;
pub mod busybox;
pub mod cluster;
pub mod collector;
pub mod commit_proxy;
pub mod containerd;
pub mod curl;
pub mod debian;
pub mod docker;
pub mod enrolled;
mod fixture;
pub mod http;
pub mod installation;
pub mod layered;
pub mod left_behind;
pub mod load;
pub mod mounts;
pub mod narrate;
pub mod operator;
pub mod peer;
pub mod podman;
pub mod program;
pub mod proxy;
pub mod receiver;
pub mod registry;
pub mod registry_front;
pub mod s3;
pub mod sandbox;
pub mod scene;
pub mod signature;
pub mod simulated;
pub mod site;
pub mod stock;
pub mod systemd;
pub mod tree;
pub mod wait;
