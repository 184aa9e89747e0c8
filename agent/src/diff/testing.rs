//! Small images for tests, baked in memory.

use std::io::Cursor;

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::{Algorithm, ContentKey};
use congruent_protocol::entry::{Entry, Node, Timestamp};
use congruent_protocol::manifest::{
    Baked, EntriesWriter, Manifest, ManifestKind, Origin, Package, Packages, PackedSection, Predicate,
    write_manifest,
};
use congruent_protocol::path::TreePath;
use congruent_protocol::tree::{Contribution, TreeHasher};

use super::{Diff, DiffError};

/// An image: `path content package`, a directory where there is no content; and
/// packages, `name version`.
#[derive(Clone, Default)]
pub(crate) struct Image<'a> {
    pub(crate) version: &'a str,
    pub(crate) tree: Tree<'a>,
    pub(crate) packages: Option<List<'a>>,
    pub(crate) contract: &'a str,
    pub(crate) owner: Option<&'a str>,
}

/// What is in an image: path, content and package.
pub(crate) type Tree<'a> = &'a [(&'a str, &'a str, u32)];
/// Packages: name and version.
pub(crate) type List<'a> = &'a [(&'a str, &'a str)];
pub(crate) type Opened = (Manifest, Cursor<Vec<u8>>);

impl Image<'_> {
    pub(crate) fn bake(&self) -> Opened {
        self.bake_with(Algorithm::Blake3)
    }

    fn entries(&self) -> Vec<(TreePath, Entry)> {
        let mut entries: Vec<_> = [("/", "", 0)].iter().chain(self.tree).map(|one| entry(*one)).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries
    }

    pub(crate) fn bake_with(&self, algorithm: Algorithm) -> Opened {
        let contract = Contract::from_toml(&format!("base = 'none'\n{}", self.contract)).unwrap();
        let mut writer = EntriesWriter::new(Vec::new(), algorithm).unwrap();
        let mut hasher = TreeHasher::new(algorithm);
        for (path, mut entry) in self.entries() {
            if let Node::File { content, .. } = &mut entry.node {
                *content = content.map(|digest| algorithm.digest(digest.as_bytes()));
            }
            hasher.push(&path, Contribution::of(&entry, contract.terms_of(&path))).unwrap();
            writer.push(&path, &entry).unwrap();
        }
        let (section, entries) = writer.finish().unwrap();
        let package = |(name, version): &(&str, &str)| Package {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            architecture: "all".to_owned(),
        };
        let packages = self
            .packages
            .map(|list| Packages { manager: "dpkg".to_owned(), list: list.iter().map(package).collect() });
        let predicate = Predicate {
            name: "web".to_owned(),
            version: self.version.to_owned(),
            kind: ManifestKind::Base,
            root: hasher.finish(),
            entries,
            layers: Vec::new(),
            contract,
            reserved: Predicate::reserved_for("web").unwrap().to_vec(),
            baked: Baked {
                at: jiff::Timestamp::UNIX_EPOCH,
                by: "a".into(),
                on: "b".into(),
                with: "c".into(),
            },
            expires: None,
            origin: Origin { owner: self.owner.map(str::to_owned), ..Origin::default() },
            packages,
            lint: None,
        };
        let mut bytes = Vec::new();
        write_manifest(
            &mut bytes,
            predicate,
            &[],
            vec![PackedSection::new(&section[..], section.len() as u64)],
        )
        .unwrap();
        let mut file = Cursor::new(bytes);
        (Manifest::read_unchecked(&mut file).unwrap(), file)
    }
}

fn entry((path, content, package): (&str, &str, u32)) -> (TreePath, Entry) {
    let mut entry = Entry { mode: 0o755, package, ..Entry::empty() };
    // What stands after `@` is the time.
    let (content, time) = content.split_once('@').unwrap_or((content, "0"));
    entry.mtime = Timestamp { seconds: time.parse().unwrap(), nanoseconds: 0 };
    if !content.is_empty() {
        let digest = Algorithm::Blake3.digest(content.as_bytes());
        entry.node = Node::File { size: content.len() as u64, content: Some(digest) };
    }
    (TreePath::new(path).unwrap(), entry)
}

pub(crate) fn between((old, old_file): &Opened, (new, new_file): &Opened) -> Result<Diff, DiffError> {
    Diff::between((old, old_file.clone()), (new, new_file.clone()), &ContentKey::new([7; 32]))
}
