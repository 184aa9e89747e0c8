use std::fs::{FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use congruent_protocol::contract::{Contract, ContractFile};
use congruent_protocol::digest::{ContentKey, DIGEST_BYTES};
use congruent_protocol::drift::Finding;
use congruent_protocol::verification::State;
use jiff::Timestamp;
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use super::super::{Layers, Library, PartGap, writable as upper};
use super::*;
use crate::container::{LayerOnDisk, Runtime};
use crate::layer::testing::{manifest, put, unpacked, writable};
use crate::sweep::{Counters, Means};

/// Entries of the layer that are no directories: only of those it is noted that they
/// are as listed.
const NOTED: u64 = 4;

/// A container of one layer, with the manifest of its image.
struct Site {
    folder: TempDir,
    layer: TempDir,
    upper: TempDir,
    library: Library,
    container: Container,
}

/// What a look at its layer came to: the mode, how many entries were recalled, what was
/// found, and whether there was trouble with the cache.
#[derive(Debug, PartialEq, Eq)]
struct Looked {
    mode: SweepMode,
    recalled: u64,
    findings: Vec<String>,
    has_trouble: bool,
}

impl Site {
    fn new() -> Self {
        Self::under(&Contract::empty())
    }

    fn under(contract: &Contract) -> Self {
        let (folder, layer, upper) = (tempfile::tempdir().unwrap(), unpacked(), writable());
        let (manifest, bytes) = manifest(contract);
        fs::create_dir(folder.path().join("manifests")).unwrap();
        fs::write(folder.path().join("manifests/web.manifest"), bytes).unwrap();
        let (library, _) =
            Library::open(&folder.path().join("manifests"), None, Timestamp::UNIX_EPOCH).unwrap();
        let image = manifest.predicate().origin.image.as_ref().unwrap();
        let container = Container {
            config_digest: Some(image.config_digest),
            layers: vec![LayerOnDisk {
                diff_id: Some(image.diff_ids[0]),
                chain_id: None,
                directory: layer.path().to_owned(),
                tar_split: None,
            }],
            upper: Some(upper.path().to_owned()),
            root_writable: Some(true),
            ..Container::new(Runtime::Docker, "1")
        };
        Self { folder, layer, upper, library, container }
    }

    fn caches(&self, mode: SweepMode) -> LayerCaches {
        LayerCaches::open(&self.folder.path().join("caches"), mode).unwrap()
    }

    /// What a look comes to, and why it is not whole.
    fn verify<T>(
        &self,
        mode: SweepMode,
        look: impl FnOnce(&Verifier<'_>, &mut Vec<PartGap>) -> T,
    ) -> (T, Vec<String>) {
        let (means, counters, caches) =
            (Means::new(Some(1), None, false), Counters::default(), self.caches(mode));
        let content_key = ContentKey::new([0; DIGEST_BYTES]);
        let verifier = Verifier {
            library: &self.library,
            means: &means,
            counters: &counters,
            caches: Some(&caches),
            scratch: self.folder.path(),
            clock: Timestamp::now,
            content_key: &content_key,
        };
        let mut gaps = Vec::new();
        let looked = look(&verifier, &mut gaps);
        (looked, gaps.into_iter().map(|gap| gap.reason).collect())
    }

    /// Looks at the lower layer.
    fn look(&self, mode: SweepMode) -> Looked {
        let look = |verifier: &Verifier<'_>, gaps: &mut Vec<PartGap>| {
            Layers::default().check(verifier, &self.container, gaps)
        };
        let (lower, gaps) = self.verify(mode, look);
        assert!(gaps.is_empty(), "{gaps:?}");
        let layer = &lower.layers[0];
        let findings = layer.findings.as_ref().unwrap().load().unwrap();
        assert_eq!(layer.state == State::Divergent, !findings.is_empty());
        Looked {
            mode: layer.mode,
            recalled: layer.entries_recalled,
            findings: findings
                .iter()
                .map(|found| format!("{} {}", found.change.name(), found.path))
                .collect(),
            has_trouble: layer.cache_trouble.is_some(),
        }
    }

    /// Looks at the writable layer: how much was recalled, what was found, and why it is
    /// not whole.
    fn look_at_upper(&self, mode: SweepMode) -> (u64, (Vec<Finding>, Vec<String>)) {
        let (upper, gaps) = self.verify(mode, |verifier, gaps| {
            upper::check(verifier, &self.container, self.library.of(&self.container), gaps)
        });
        assert_eq!((upper.mode, upper.cache_trouble), (mode, None));
        (upper.entries_recalled, (upper.findings.unwrap().load().unwrap(), gaps))
    }

    /// Looks at the writable layer until what is to be noted is old enough for it.
    fn settle_upper(&self, noted: u64) {
        let begun = Instant::now();
        let recalled = || {
            self.look_at_upper(SweepMode::Full);
            self.look_at_upper(SweepMode::Quick).0
        };
        while recalled() < noted {
            assert!(begun.elapsed() < Duration::from_secs(30), "the stamps never settle");
        }
    }

    /// Looks until all is so old that its stamps count.
    fn settle(&self) {
        let begun = Instant::now();
        let noted = || {
            self.look(SweepMode::Full);
            self.look(SweepMode::Quick).recalled
        };
        while noted() < NOTED {
            assert!(begun.elapsed() < Duration::from_secs(30), "the stamps never settle");
        }
    }
}

#[test]
fn a_quick_look_recalls_what_did_not_change_and_finds_what_did() {
    let found = |mode, recalled, findings: &[&str]| Looked {
        mode,
        recalled,
        findings: findings.iter().map(|&line| line.to_owned()).collect(),
        has_trouble: false,
    };
    let check = |what: &str, change: fn(&Path), recalled: u64, findings: &[&str]| {
        let site = Site::new();
        site.settle();
        change(site.layer.path());
        assert_eq!(site.look(SweepMode::Quick), found(SweepMode::Quick, recalled, findings), "{what}");
        // Quick looks leave nothing: what is not as listed is found again and again.
        assert_eq!(site.look(SweepMode::Quick), found(SweepMode::Quick, recalled, findings), "{what}");
        assert_eq!(site.look(SweepMode::Full), found(SweepMode::Full, 0, findings), "{what}");
        assert_eq!(site.look(SweepMode::Quick).findings, findings, "{what}");
    };
    check("nothing", |_| {}, 4, &[]);
    check("other content", |at| put(at, "bin/tool", "other"), 3, &["modified /bin/tool"]);
    check(
        "content of the same size, the time as it was",
        |at| rewrite(&at.join("bin/tool"), "TOOL"),
        3,
        &["modified /bin/tool"],
    );
    check(
        "metadata",
        |at| fs::set_permissions(at.join("bin/tool"), Permissions::from_mode(0o4644)).unwrap(),
        3,
        &["modified /bin/tool"],
    );
    check(
        "another link",
        |at| {
            fs::remove_file(at.join("bin/link")).unwrap();
            symlink("motd", at.join("bin/link")).unwrap();
        },
        3,
        &["modified /bin/link"],
    );
    check("one more", |at| put(at, "bin/more", ""), 4, &["added /bin/more"]);
    check("one less", |at| fs::remove_file(at.join("var/x")).unwrap(), 3, &["removed /var/x"]);
    check(
        "a directory's mode",
        |at| fs::set_permissions(at.join("var"), Permissions::from_mode(0o700)).unwrap(),
        4,
        &["modified /var"],
    );
}

#[test]
fn without_a_cache_of_use_the_look_is_a_full_one() {
    let check = |what: &str, change: fn(&mut Site)| {
        let mut site = Site::new();
        site.settle();
        change(&mut site);
        let full = Looked { mode: SweepMode::Full, recalled: 0, findings: Vec::new(), has_trouble: true };
        assert_eq!(site.look(SweepMode::Quick), full, "{what}");
    };
    check("it is gone", |site| fs::remove_dir_all(site.folder.path().join("caches")).unwrap());
    check("it is damaged", |site| {
        let caches = site.folder.path().join("caches");
        for entry in fs::read_dir(caches).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none() {
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
        }
    });
    check("the container has another runtime", |site| site.container.runtime = Runtime::Containerd);
    check("another directory took its place", |site| {
        let other = unpacked();
        fs::remove_dir_all(site.layer.path()).unwrap();
        fs::rename(other.path(), site.layer.path()).unwrap();
    });
}

#[test]
fn a_look_that_was_interrupted_is_not_gone_on_with() {
    let site = Site::new();
    site.settle();
    // As if it had been killed right before its end.
    let caches = site.folder.path().join("caches");
    let key = Key::all_of(&site.container).next().unwrap();
    fs::rename(caches.join(name_of(&key)), caches.join(format!("{}.part", name_of(&key)))).unwrap();
    assert_eq!(site.look(SweepMode::Full).recalled, 0);
    assert_eq!(site.look(SweepMode::Quick).recalled, NOTED);
}

#[test]
fn what_is_kept_goes_with_the_last_container_on_the_layer() {
    let site = Site::new();
    site.settle();
    let kept = || fs::read_dir(site.folder.path().join("caches")).unwrap().count();
    let foreign = site.folder.path().join("caches/other");
    fs::write(&foreign, "").unwrap();
    assert_eq!(kept(), 3, "the cache, its lock, and a file of somebody's");
    site.caches(SweepMode::Full).forget_others(std::slice::from_ref(&site.container)).unwrap();
    assert_eq!((kept(), site.look(SweepMode::Quick).recalled), (3, NOTED));
    site.caches(SweepMode::Full).forget_others(&[]).unwrap();
    assert_eq!(kept(), 1);
    assert!(foreign.exists());
}

/// Writes something as long, and leaves the time as it was.
fn rewrite(path: &Path, content: &str) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, content).unwrap();
    let times = FileTimes::new().set_modified(modified);
    fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

#[test]
fn a_quick_look_at_a_writable_layer_finds_what_a_full_one_finds_and_reads_only_what_changed() {
    const WRITTEN: u64 = 3;
    let check = |what: &str, change: fn(&Path), recalled: u64| {
        let site = Site::new();
        let upper = site.upper.path();
        ["data/new", "data/other", "etc/motd"].iter().for_each(|name| put(upper, name, "new"));
        // Neither is noted: what its attributes say is not kept.
        ["marked", "moved"].iter().for_each(|name| put(upper, name, "new"));
        attribute(&upper.join("marked"), "user.mark", b"x");
        attribute(&upper.join("moved"), "trusted.overlay.redirect", b"old");
        site.settle_upper(WRITTEN);
        change(upper);
        let (quick, full) = (site.look_at_upper(SweepMode::Quick), site.look_at_upper(SweepMode::Full));
        assert_eq!((quick.0, full.0), (recalled, 0), "{what}");
        assert_eq!(quick.1, full.1, "{what}");
        let (findings, gaps) = &full.1;
        let found = |name: &str| findings.iter().any(|found| found.path.as_bytes() == name.as_bytes());
        assert!(found("/etc/motd") && found("/marked"), "{what}: {findings:?}");
        assert!(matches!(&gaps[..], [gap] if gap.starts_with("it was renamed from old")), "{what}: {gaps:?}");
    };
    check("nothing", |_| {}, WRITTEN);
    check("other content", |at| put(at, "data/new", "NEW"), 2);
    check("content of the same size, the time as it was", |at| rewrite(&at.join("etc/motd"), "NEW"), 2);
    check(
        "metadata",
        |at| fs::set_permissions(at.join("data/new"), Permissions::from_mode(0o4755)).unwrap(),
        2,
    );
    check("an attribute", |at| attribute(&at.join("etc/motd"), "user.x", b"x"), 2);
    check(
        "one in the other's place",
        |at| fs::rename(at.join("data/new"), at.join("data/other")).unwrap(),
        1,
    );
    check("one less", |at| fs::remove_file(at.join("data/new")).unwrap(), 2);
}

#[test]
fn what_a_contract_calls_sensitive_is_kept_nowhere() {
    let text = "base = 'none'\n[[rule]]\npath = '/secret/**'\nclass = 'immutable'\nsensitive = true\n";
    let site = Site::under(&Contract::compose(vec![ContractFile::parse(text).unwrap()]).unwrap());
    put(site.upper.path(), "secret/key", "the key");
    put(site.upper.path(), "plain", "plain");
    site.settle_upper(1);
    let digest = Algorithm::Blake3.digest(b"the key");
    let caches = fs::read_dir(site.folder.path().join("caches")).unwrap();
    let kept: Vec<u8> = caches.flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    let holds = |bytes: &[u8]| kept.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(Algorithm::Blake3.digest(b"plain").as_bytes()));
    assert!(!holds(digest.as_bytes()) && !holds(b"/secret/key"));
}
