use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use congruent_protocol::contract::{Contract, ContractFile};
use congruent_protocol::digest::DIGEST_BYTES;
use congruent_protocol::drift::Attributes;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::manifest::{EntriesError, ListedEntry, Manifest};
use congruent_protocol::recompute::recompute;
use congruent_protocol::report::findings_digest;
use congruent_protocol::verification::Protected;
use jiff::Timestamp;
use tempfile::TempDir;

use super::super::{Layers, Library, Verifier, shared_by};
use super::*;
use crate::container::{ContainerState, IdRange, LayerOnDisk, MountKind, MountSurface, Runtime};
use crate::layer::testing::{make, manifest, put, unpacked, writable};
use crate::sweep::{Counters, Means};

const MAX_BYTES: u64 = 1 << 20;
const ID: &str = "0123456789abcdef";

/// A container on this machine's disk, and the library that has its image, or not.
struct Scene {
    layer: TempDir,
    upper: TempDir,
    init: TempDir,
    library: Library,
    manifest: Manifest,
    bytes: Vec<u8>,
    container: Container,
}

impl Scene {
    fn new(contract: &str, is_known: bool) -> Self {
        let contract = Contract::compose(vec![ContractFile::parse(contract).unwrap()]).unwrap();
        let (manifest, bytes) = manifest(&contract);
        let manifests = tempfile::tempdir().unwrap();
        if is_known {
            fs::write(manifests.path().join("web.manifest"), &bytes).unwrap();
        }
        let (library, refused) = Library::open(manifests.path(), None, Timestamp::UNIX_EPOCH).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        let (layer, upper, init) = (unpacked(), writable(), tempfile::tempdir().unwrap());
        let image = manifest.predicate().origin.image.clone().unwrap();
        let all_ids = vec![IdRange { inside: 0, outside: 0, count: u32::MAX }];
        let container = Container {
            name: Some("web".to_owned()),
            image: Some("web:1".to_owned()),
            config_digest: Some(image.config_digest),
            state: ContainerState::Running,
            layers: vec![LayerOnDisk {
                diff_id: Some(image.diff_ids[0]),
                chain_id: None,
                directory: layer.path().to_owned(),
                tar_split: None,
            }],
            init: Some(init.path().to_owned()),
            upper: Some(upper.path().to_owned()),
            uid_map: all_ids.clone(),
            gid_map: all_ids,
            root_writable: Some(true),
            ..Container::new(Runtime::Docker, ID)
        };
        Self { layer, upper, init, library, manifest, bytes, container }
    }

    fn report_within(&self, max_bytes: u64) -> (Outcome, ContainerReport) {
        let (means, counters) = (Means::new(Some(1), None, false), Counters::default());
        let (scratch, content_key) = (std::env::temp_dir(), ContentKey::new([7; DIGEST_BYTES]));
        let verifier = Verifier {
            caches: None,
            library: &self.library,
            means: &means,
            counters: &counters,
            scratch: &scratch,
            clock: || Timestamp::UNIX_EPOCH,
            content_key: &content_key,
        };
        let verdict = verifier.look(&self.container, &mut Layers::default());
        let other = Container { id: "00".to_owned(), ..self.container.clone() };
        let odd = Container { id: "-odd".to_owned(), ..self.container.clone() };
        let shared = shared_by(&[self.container.clone(), odd, other]);
        report(verdict, Reporting { shared: &shared, content_key: &content_key, max_bytes })
    }

    /// The report, held to what the collector holds it to.
    fn report(&self) -> (Verification, ContainerReport) {
        let (outcome, container) = self.report_within(MAX_BYTES);
        let Outcome::Verified(verification) = outcome else { panic!("{outcome:?}") };
        self.hold(&verification, &container);
        (*verification, container)
    }

    fn hold(&self, verification: &Verification, container: &ContainerReport) {
        let predicate = self.manifest.predicate();
        let coverage = &verification.coverage;
        let has_findings = !verification.findings.is_empty() || container.has_findings();
        assert_eq!(verification.state, State::of(has_findings, coverage));
        assert_eq!(verification.conditional, coverage.has_gaps());
        assert_eq!(verification.baked_root, predicate.root);
        assert_eq!(coverage.entries_expected, predicate.entries.count);
        let mut protected = Protected { entries: 0, of: 0 };
        for listed in self.entries() {
            let path = listed.unwrap().path;
            protected.count(&predicate.contract, &path, predicate.contract.class_of(&path));
        }
        assert_eq!(verification.protected, protected);
        let removed = verification.findings.iter().filter(|found| found.change == Change::Removed).count();
        assert!(coverage.has_gaps() || coverage.entries_seen + removed as u64 >= protected.entries);
        let root = recompute(
            self.entries(),
            predicate.root.algorithm(),
            &predicate.contract,
            &[],
            &Ledger::empty(predicate.root),
            &verification.findings,
        );
        assert_eq!(root.unwrap(), verification.observed_root);
        assert!(container.layers.iter().all(LayerReport::is_consistent), "{:?}", container.layers);
    }

    fn entries(&self) -> impl Iterator<Item = Result<ListedEntry, EntriesError>> {
        self.manifest.entries(io::Cursor::new(&self.bytes)).unwrap()
    }
}

fn paths(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|found| format!("{} {}", found.change.name(), found.path)).collect()
}

const CONTRACT: &str = "base = 'none'\n[[rule]]\npath = '/var/**'\nclass = 'ephemeral'\n\
    [[rule]]\npath = '/etc/id'\nclass = 'pinned'\n\
    [[rule]]\npath = '/etc/motd'\nclass = 'immutable'\nsensitive = true\n";

#[test]
fn a_container_as_its_image_is_congruent() {
    let (verification, container) = Scene::new(CONTRACT, true).report();
    assert_eq!((verification.state, verification.findings), (State::Congruent, vec![]));
    assert_eq!(verification.observed_root, verification.baked_root);
    let layer = &container.layers[0];
    assert_eq!((layer.state, layer.method), (State::Congruent, Some(LayerMethod::Manifest)));
    assert!(layer.baked_root.is_some() && layer.baked_root == layer.observed_root);
    assert_eq!(layer.place.shared_by, ["00", ID], "all that can be named");
    assert_eq!(container.identity.id, ID);
    assert_eq!(
        (container.identity.runtime.as_str(), container.identity.name.as_deref()),
        ("docker", Some("web"))
    );
}

#[test]
fn each_part_tells_of_its_own() {
    let check =
        |change: fn(&mut Scene), upper: &[&str], layer: &[&str], runtime: &[&str], mounts: &[&str]| {
            let mut scene = Scene::new(CONTRACT, true);
            change(&mut scene);
            let (verification, container) = scene.report();
            assert_eq!(verification.state, State::Divergent);
            assert_eq!(paths(&verification.findings), upper);
            assert_eq!(paths(&container.layers[0].findings), layer);
            assert_eq!(paths(&container.runtime_layer), runtime);
            assert_eq!(paths(&container.mounts), mounts);
            assert_eq!(verification.observed_root != verification.baked_root, !upper.is_empty());
        };
    check(|scene| put(scene.upper.path(), "bin/tool", "TOOL"), &["modified /bin/tool"], &[], &[], &[]);
    check(|scene| put(scene.layer.path(), "bin/tool", "TOOL"), &[], &["modified /bin/tool"], &[], &[]);
    check(|scene| put(scene.init.path(), "evil", ""), &[], &[], &["added /evil"], &[]);
    let mount = |scene: &mut Scene| {
        let mount = MountSurface {
            path: "/bind".into(),
            kind: MountKind::Bind,
            filesystem: Some("ext4".to_owned()),
            source: "/srv".into(),
            writable: true,
            exec: true,
            options: Vec::new(),
        };
        // One over the other: only the last shows.
        scene.container.mounts.extend([mount.clone(), mount]);
    };
    check(mount, &[], &[], &[], &["mounted-over /bind"]);
    // All of a layer may be gone; the merged tree is told as if it were not.
    let emptied = |scene: &mut Scene| {
        for name in ["bin", "etc", "var"] {
            fs::remove_dir_all(scene.layer.path().join(name)).unwrap();
        }
    };
    let all = ["/bin", "/bin/link", "/bin/tool", "/etc", "/etc/motd", "/var", "/var/x"];
    let all = all.map(|path| format!("removed {path}"));
    check(emptied, &[], &all.each_ref().map(String::as_str), &[], &[]);
}

#[test]
fn what_could_not_be_seen_is_a_gap_at_its_place() {
    let gaps = |change: fn(&mut Scene)| {
        let mut scene = Scene::new(CONTRACT, true);
        change(&mut scene);
        let (verification, _) = scene.report();
        assert_eq!((verification.state, verification.conditional), (State::Incomplete, true));
        let told = |gap: &Gap| format!("{} {}", gap.path, gap.reason);
        verification.coverage.unreadable.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(gaps(|scene| scene.container.upper = None), ["/ upper: where it lies is not known"]);
    let twice = gaps(|scene| scene.container.gaps = vec!["b".to_owned(), "a\n".to_owned(), "b".to_owned()]);
    assert_eq!(twice, ["/ container: a\\x0a", "/ container: b"]);
    let odd = gaps(|scene| {
        scene.container.mounts.push(MountSurface {
            path: Path::new(std::ffi::OsStr::from_bytes(b"/a//b")).to_owned(),
            kind: MountKind::Bind,
            filesystem: None,
            source: "/srv".into(),
            writable: false,
            exec: false,
            options: Vec::new(),
        });
    });
    assert_eq!(odd, ["/ mounts: /a//b: something is mounted at a path that no entry can have"]);
    let layer = gaps(|scene| scene.container.layers[0].directory = "/none".into());
    assert!(layer.len() == 1 && layer[0].starts_with("/ lower: sha256:"), "{layer:?}");
    let renamed = gaps(|scene| {
        make(scene.upper.path(), "var/y");
        let path = scene.upper.path().join("var/y");
        rustix::fs::lsetxattr(path, "trusted.overlay.redirect", b"/etc", rustix::fs::XattrFlags::empty())
            .unwrap();
    });
    assert!(renamed.len() == 1 && renamed[0].starts_with("/var/y upper: it was renamed"), "{renamed:?}");
}

#[test]
fn what_differs_comes_before_what_was_not_seen() {
    let mut scene = Scene::new(CONTRACT, true);
    scene.container.gaps.push("something".to_owned());
    put(scene.layer.path(), "bin/new", "");
    let (verification, container) = scene.report();
    assert_eq!((verification.state, verification.conditional), (State::Divergent, true));
    assert_eq!(container.layers[0].state, State::Divergent);
}

#[test]
fn without_a_manifest_layers_are_told_all_the_same() {
    let mut scene = Scene::new(CONTRACT, false);
    scene.container.gaps.push("it is odd".to_owned());
    let (outcome, container) = scene.report_within(MAX_BYTES);
    let Outcome::NoManifest(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("of its image; container: it is odd; lower: sha256:"), "{why}");
    assert_eq!((container.layers[0].state, container.layers[0].method), (State::Unknown, None));
    assert!(container.layers.iter().all(LayerReport::is_consistent) && !container.has_findings());
}

#[test]
fn values_that_no_ledger_has_are_first_seen() {
    let scene = Scene::new(CONTRACT, true);
    put(scene.upper.path(), "etc/id", "0f");
    let (verification, _) = scene.report();
    assert_eq!(verification.state, State::Congruent);
    let first: Vec<_> = verification.coverage.first_seen.iter().map(|first| first.path.to_string()).collect();
    assert_eq!(first, ["/etc/id"]);
}

#[test]
fn sensitive_content_is_told_to_nobody() {
    let scene = Scene::new(CONTRACT, true);
    put(scene.upper.path(), "etc/motd", "secret");
    put(scene.layer.path(), "etc/motd", "secret");
    let (verification, container) = scene.report();
    for findings in [&verification.findings, &container.layers[0].findings] {
        assert_eq!(paths(findings), ["modified /etc/motd"]);
        let content = |attributes: &Option<Attributes>| attributes.as_ref().unwrap().content.unwrap();
        assert!(content(&findings[0].observed).is_keyed() && !content(&findings[0].expected).is_keyed());
    }
}

#[test]
fn of_many_findings_in_a_layer_the_gravest_are_told() {
    let scene = Scene::new(CONTRACT, true);
    (0..=LAYER_FINDINGS).for_each(|at| put(scene.layer.path(), &format!("bin/new{at:03}"), ""));
    let (_, container) = scene.report();
    let layer = &container.layers[0];
    assert_eq!((layer.findings.len(), layer.findings_total), (LAYER_FINDINGS, LAYER_FINDINGS as u64 + 1));
    assert_ne!(layer.findings_digest, findings_digest(&layer.findings));
    let last = scene.layer.path().join("bin/new100");
    fs::set_permissions(&last, Permissions::from_mode(0o4755)).unwrap();
    let (_, container) = scene.report();
    let layer = &container.layers[0];
    assert!(layer.is_consistent());
    assert_eq!(layer.findings.last().unwrap().path.as_bytes(), b"/bin/new100", "nothing hides it");
    fs::remove_file(scene.layer.path().join("bin/new100")).unwrap();
    let (_, container) = scene.report();
    assert_eq!(container.layers[0].findings_digest, findings_digest(&container.layers[0].findings));
}

#[test]
fn what_no_report_can_carry_is_withheld() {
    let scene = Scene::new(CONTRACT, true);
    (0..50).for_each(|at| put(scene.upper.path(), &format!("bin/new{at:03}"), ""));
    let (outcome, container) = scene.report_within(10_000);
    assert!(
        matches!(&outcome, Outcome::Withheld(why) if why.contains("there are 50 findings")),
        "{outcome:?}"
    );
    assert_eq!(container.layers.len(), 1);
    (0..50).for_each(|at| put(scene.layer.path(), &format!("bin/new{at:03}"), ""));
    let (outcome, container) = scene.report_within(10_000);
    assert!(matches!(&outcome, Outcome::Withheld(why) if why.contains("in its layers")), "{outcome:?}");
    assert_eq!(container, ContainerReport::naming(container.identity.clone()));
    let mut scene = Scene::new(CONTRACT, true);
    let layer = scene.container.layers[0].clone();
    scene.container.layers = vec![layer; MAX_CONTAINER_LAYERS + 1];
    let (outcome, _) = scene.report_within(MAX_BYTES);
    assert!(matches!(&outcome, Outcome::Withheld(why) if why.contains("501 layers")), "{outcome:?}");
}

#[test]
fn long_names_are_cut_between_characters() {
    assert_eq!(shortened(&"ä".repeat(600)).len(), MAX_NAME_BYTES);
    assert_eq!(shortened(&format!("a{}", "ä".repeat(600))).len(), MAX_NAME_BYTES - 1);
    assert_eq!(shortened("web"), "web");
}
