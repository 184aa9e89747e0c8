//! Reports of containers of one image, whose only layer lists [`tree`].

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::Finding;
use congruent_protocol::key::SecretKey;
use congruent_protocol::layer::{LayerHasher, LayerNode};
use congruent_protocol::manifest::{ImageLayer, ImageOrigin, LayerWriter, Predicate};
use congruent_protocol::report::{
    ContainerIdentity, ContainerReport, ContainersSeen, LAYER_FINDINGS, LayerMethod, LayerPlace, LayerReport,
    Looked, Outcome, Report, findings_digest,
};
use congruent_protocol::verification::State;

use super::{Fixture, added, predicate, server_toml, sweep, tampered, tree, written};

pub(crate) fn config_digest() -> Digest {
    Algorithm::Sha256.digest(b"config")
}

fn diff_id() -> Digest {
    Algorithm::Sha256.digest(b"layer")
}

fn layer() -> (ImageLayer, Vec<u8>) {
    let mut hasher = LayerHasher::new(Algorithm::Blake3);
    let mut writer = LayerWriter::new(Vec::new(), Algorithm::Blake3).unwrap();
    for listed in tree() {
        let node = LayerNode::Entry(listed.entry);
        hasher.push(&listed.path, &node).unwrap();
        writer.push(&listed.path, &node).unwrap();
    }
    let (section, entries) = writer.finish().unwrap();
    (ImageLayer { diff_id: diff_id(), root: hasher.finish(), entries }, section)
}

/// The image's manifest, `app 1.0.0`.
pub(crate) fn image_manifest(key: &SecretKey) -> Vec<u8> {
    let (mut predicate, section): (Predicate, _) = predicate(&tree());
    let (layer, layer_section) = layer();
    predicate.name = "app".to_owned();
    predicate.version = "1.0.0".to_owned();
    predicate.origin.image = Some(ImageOrigin {
        config_digest: config_digest(),
        diff_ids: vec![diff_id()],
        platform: None,
        manifest_digest: None,
    });
    predicate.layers = vec![layer];
    written(predicate, vec![section, layer_section], key)
}

/// A configuration whose group accepts the image as well.
pub(crate) fn accept_image(fixture: &Fixture, mode: &str) {
    fixture.write("app.manifest", &image_manifest(&SecretKey::from_seed([1; 32])));
    let toml = server_toml(mode);
    let toml =
        toml.replace("manifests = [\"web.manifest\"]", "manifests = [\"web.manifest\", \"app.manifest\"]");
    fixture.write("server.toml", toml.as_bytes());
}

/// The first layer, with these findings in it, beneath two containers.
fn layer_report(findings: &[Finding]) -> LayerReport {
    let (layer, _) = layer();
    let observed = if findings.is_empty() { layer.root } else { Algorithm::Blake3.digest(b"other") };
    LayerReport {
        place: LayerPlace {
            diff_id: Some(layer.diff_id),
            directory: "/var/lib/docker/overlay2/1f/diff".to_owned(),
            shared_by: vec!["c1".to_owned(), "c2".to_owned()],
        },
        state: if findings.is_empty() { State::Congruent } else { State::Divergent },
        method: Some(LayerMethod::Manifest),
        baked_root: Some(layer.root),
        observed_root: Some(observed),
        findings_total: findings.len() as u64,
        findings_digest: findings_digest(findings),
        findings: findings.iter().take(LAYER_FINDINGS).cloned().collect(),
    }
}

/// An honest full look at a container, whose writable layer and lower layer have these
/// findings.
pub(crate) fn looked(node: &str, sequence: u64, id: &str, upper: Vec<Finding>, lower: &[Finding]) -> Report {
    let mut report = sweep(node, sequence, upper);
    let Outcome::Verified(verification) = &mut report.outcome else { panic!("a sweep verifies") };
    verification.manifest.name = "app".to_owned();
    verification.manifest.version = "1.0.0".to_owned();
    let coverage = &verification.coverage;
    let (mode, started_at, finished_at) = (coverage.mode, coverage.started_at, coverage.finished_at);
    if !lower.is_empty() {
        verification.state = State::Divergent;
    }
    let identity = ContainerIdentity {
        id: id.to_owned(),
        name: Some("web".to_owned()),
        runtime: "docker".to_owned(),
        image: Some("app:1".to_owned()),
        config_digest: Some(config_digest()),
    };
    let layers = vec![layer_report(lower)];
    let container = ContainerReport {
        identity,
        looked: Some(Looked { mode, started_at, finished_at }),
        layers,
        runtime_layer: vec![],
        mounts: vec![],
    };
    Report { container: Some(Box::new(container)), ..report }
}

/// A container whose writable layer has one finding.
pub(crate) fn changed(node: &str, sequence: u64, id: &str) -> Report {
    looked(node, sequence, id, tampered(), &[])
}

/// A container on a layer that is damaged.
pub(crate) fn damaged(node: &str, sequence: u64, id: &str) -> Report {
    looked(node, sequence, id, vec![], &[added("/bin/planted")])
}

/// A clean sweep of a node on which these containers run.
pub(crate) fn listing(node: &str, sequence: u64, running: &[&str]) -> Report {
    let running = running.iter().map(|id| (*id).to_owned()).collect();
    let seen = ContainersSeen { running, gaps: vec![] };
    Report { containers: Some(seen), ..sweep(node, sequence, vec![]) }
}
