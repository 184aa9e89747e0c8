//! The one property that everything stands on, over random trees, contracts,
//! stacks, ledgers and mutations: the observed root is the baked one exactly when
//! nothing was found, and the collector comes to the same root.

use std::collections::BTreeMap;
use std::io::Cursor;

use congruent_protocol::entry::{Device, Timestamp as FileTime};
use congruent_protocol::ledger::Ledger;
use congruent_protocol::manifest::{
    Baked, EntriesWriter, ManifestKind, Origin, PackedSection, Predicate, write_manifest,
};
use congruent_protocol::recompute::recompute;
use congruent_protocol::stack::Stack;
use congruent_protocol::verification::MountTreatment;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::sight::Inode;
use super::*;

const ALGORITHM: Algorithm = Algorithm::Blake3;
const NAMES: [&str; 5] = ["a", "a-b", "b", "m", "opt"];

/// What lies at a path, with the bytes that a file holds.
#[derive(Debug, Clone, PartialEq)]
struct Thing {
    entry: Entry,
    bytes: Vec<u8>,
}

type Tree = BTreeMap<TreePath, Thing>;

/// A change to a tree; places are taken modulo what there is.
#[derive(Debug, Clone)]
enum Mutation {
    Remove(Index),
    Put(Index, &'static str, Thing),
    Grow(Index),
    Rewrite(Index),
    Mode(Index, u16),
    Owner(Index),
    Touch(Index),
    Label(Index),
    /// Mounts over it, so that what lies beneath is not seen.
    Mount(Index),
    /// Makes it unreadable.
    Deny(Index),
}

#[derive(Debug, Clone)]
struct Case {
    contract: String,
    base: Tree,
    add_on: Option<Tree>,
    /// What appears after the bake, and is recorded.
    first: Vec<(Index, &'static str, Thing)>,
    mutations: Vec<Mutation>,
}

fn thing() -> impl Strategy<Value = Thing> {
    let node = prop_oneof![
        3 => Just(Node::File { size: 0, content: None }),
        2 => Just(Node::Directory),
        1 => select(vec![&b"a"[..], b"b"]).prop_map(|target| Node::Symlink { target: target.to_vec() }),
        1 => (0..3_u32).prop_map(|minor| Node::CharDevice(Device { major: 1, minor })),
    ];
    let mode = select(vec![0o644_u16, 0o755, 0o4755, 0o600]);
    let xattrs = select(vec![None, Some("user.a"), Some("security.capability")]);
    (node, mode, 0..2_u32, xattrs, prop::collection::vec(0..3_u8, 0..4)).prop_map(
        |(node, mode, uid, xattr, bytes)| {
            let xattrs = xattr.map(|name| (name.as_bytes().to_vec(), b"1".to_vec())).into_iter().collect();
            Thing { entry: Entry { node, mode, uid, xattrs, ..Entry::empty() }, bytes }
        },
    )
}

fn tree() -> impl Strategy<Value = Tree> {
    let place = (prop::collection::vec(select(NAMES.to_vec()), 1..4), thing());
    prop::collection::vec(place, 0..10).prop_map(|places| {
        let folder = || Thing { entry: Entry { mode: 0o755, ..Entry::empty() }, bytes: vec![] };
        let mut tree = Tree::from([(TreePath::root(), folder())]);
        for (names, thing) in places {
            let mut at = TreePath::root();
            for name in names {
                if !tree.entry(at.clone()).or_insert_with(folder).entry.node.is_directory() {
                    break;
                }
                at.push(name.as_bytes()).unwrap();
            }
            tree.entry(at).or_insert(thing);
        }
        tree
    })
}

fn contract() -> impl Strategy<Value = String> {
    let globs = ["/a", "/a/**", "/b/*", "/*", "/**/a-b", "/m/**", "/opt", "/opt/**", "/**"];
    let classes: Vec<_> = Class::RULED.iter().map(|class| class.name()).collect();
    let forbid = select(vec!["", "'exec'", "'setuid', 'device'", "'exec', 'setuid', 'device'"]);
    let more = select(vec!["", "mtime = true\n", "ignore-xattrs = ['user.*']\n", "sensitive = true\n"]);
    let rule =
        (select(globs.to_vec()), select(classes), forbid, more).prop_map(|(glob, class, forbid, more)| {
            let forbid = if class == "immutable" { "" } else { forbid };
            format!("[[rule]]\npath = '{glob}'\nclass = '{class}'\nforbid = [{forbid}]\n{more}")
        });
    let mount = select(vec!["", "[[mount]]\npath = '/m'\ncontent = 'hide'\n"]);
    (prop::collection::vec(rule, 0..5), mount)
        .prop_map(|(rules, mount)| format!("base = 'none'\n{}{mount}", rules.concat()))
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let name = || select(NAMES.to_vec());
    prop_oneof![
        at().prop_map(Mutation::Remove),
        (at(), name(), thing()).prop_map(|(at, name, thing)| Mutation::Put(at, name, thing)),
        at().prop_map(Mutation::Grow),
        at().prop_map(Mutation::Rewrite),
        (at(), select(vec![0o644_u16, 0o755, 0o4711])).prop_map(|(at, mode)| Mutation::Mode(at, mode)),
        at().prop_map(Mutation::Owner),
        at().prop_map(Mutation::Touch),
        at().prop_map(Mutation::Label),
        at().prop_map(Mutation::Mount),
        at().prop_map(Mutation::Deny),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let first = prop::collection::vec((any::<Index>(), select(NAMES.to_vec()), thing()), 0..3);
    let mutations = prop::collection::vec(mutation(), 0..4);
    (contract(), tree(), prop::option::of(tree()), first, mutations).prop_map(
        |(contract, base, add_on, first, mutations)| Case { contract, base, add_on, first, mutations },
    )
}

/// A thing as a look under these terms sees it.
fn look(thing: &Thing, terms: &Terms, baked_size: Option<u64>) -> Entry {
    let mut entry = thing.entry.clone();
    entry.xattrs.retain(|(name, _)| terms.xattrs.contains(name));
    if let Node::File { size, content } = &mut entry.node {
        *size = thing.bytes.len() as u64;
        let seen = baked_size.map_or(*size, |baked| baked.min(*size)) as usize;
        *content = Some(ALGORITHM.digest(&thing.bytes[..seen]));
    }
    entry
}

fn bake(name: &str, kind: ManifestKind, contract: Contract, tree: &Tree, terms: &Contract) -> Vec<u8> {
    let mut writer = EntriesWriter::new(Vec::new(), ALGORITHM).unwrap();
    let mut hasher = TreeHasher::new(ALGORITHM);
    for (path, thing) in tree {
        let entry = look(thing, terms.terms_of(path), None);
        let own = contract.terms_of(path);
        writer.push(path, &entry).unwrap();
        hasher.push(path, Contribution::of(&entry, own)).unwrap();
    }
    let (section, entries) = writer.finish().unwrap();
    let who = String::new;
    let predicate = Predicate {
        name: name.to_owned(),
        version: "1".to_owned(),
        kind,
        root: hasher.finish(),
        entries,
        layers: Vec::new(),
        contract,
        reserved: vec![],
        baked: Baked { at: Timestamp::UNIX_EPOCH, by: who(), on: who(), with: who() },
        expires: None,
        origin: Origin::default(),
        packages: None,
        lint: None,
    };
    let mut out = Vec::new();
    let length = section.len() as u64;
    write_manifest(&mut out, predicate, &[], vec![PackedSection::new(Cursor::new(section), length)]).unwrap();
    out
}

/// Keeps of an add-on's tree what it may hold.
fn own_part(tree: &Tree, base: &Tree, contract: &Contract) -> Tree {
    let is_own = |path: &TreePath, thing: &Thing| {
        let terms = contract.terms_of(path);
        terms.class == Class::AddOn
            && !base.contains_key(path)
            && terms.forbidden_of(&look(thing, terms, None)).is_empty()
    };
    let mut own: Tree = tree
        .iter()
        .filter(|(path, thing)| is_own(path, thing))
        .map(|(p, t)| (p.clone(), t.clone()))
        .collect();
    // On the way there are directories, and the base has none of another kind there.
    own.retain(|path, _| {
        std::iter::successors(path.parent(), TreePath::parent).all(|above| {
            tree[&above].entry.node.is_directory()
                && base.get(&above).is_none_or(|t| t.entry.node.is_directory())
        })
    });
    let above: Vec<_> =
        own.keys().flat_map(|path| std::iter::successors(path.parent(), TreePath::parent)).collect();
    for path in above.into_iter().chain([TreePath::root()]) {
        // What is the add-on's and is shared must be alike in both.
        let thing = base.get(&path).or(tree.get(&path)).unwrap().clone();
        own.entry(path).or_insert(thing);
    }
    own
}

/// The tree as it is after the mutations, and what is mounted and denied.
struct Scene {
    tree: Tree,
    mounted: Vec<TreePath>,
    denied: Vec<TreePath>,
}

fn mutate(scene: &mut Scene, mutation: &Mutation) {
    let tree = &mut scene.tree;
    let pick = |tree: &Tree, at: &Index| at.get(&tree.keys().cloned().collect::<Vec<_>>()).clone();
    let remove = |tree: &mut Tree, path: &TreePath| tree.retain(|other, _| !other.starts_with(path));
    match mutation {
        Mutation::Remove(at) => {
            let path = pick(tree, at);
            if !path.is_root() {
                remove(tree, &path);
            }
        }
        Mutation::Put(at, name, thing) => put(tree, at, name, thing),
        Mutation::Grow(at) => tree.get_mut(&pick(tree, at)).unwrap().bytes.push(9),
        Mutation::Rewrite(at) => tree.get_mut(&pick(tree, at)).unwrap().bytes = vec![7],
        Mutation::Mode(at, mode) => tree.get_mut(&pick(tree, at)).unwrap().entry.mode = *mode,
        Mutation::Owner(at) => tree.get_mut(&pick(tree, at)).unwrap().entry.uid = 7,
        Mutation::Touch(at) => {
            tree.get_mut(&pick(tree, at)).unwrap().entry.mtime =
                FileTime { seconds: i64::MIN, nanoseconds: 1 };
        }
        Mutation::Label(at) => {
            tree.get_mut(&pick(tree, at)).unwrap().entry.xattrs = vec![(b"user.b".to_vec(), vec![])];
        }
        Mutation::Mount(at) => scene.mounted.push(pick(tree, at)),
        Mutation::Deny(at) => scene.denied.push(pick(tree, at)),
    }
}

/// Puts a thing into a directory, in place of what is there.
fn put(tree: &mut Tree, at: &Index, name: &str, thing: &Thing) {
    let folders: Vec<_> =
        tree.iter().filter(|(_, thing)| thing.entry.node.is_directory()).map(|(p, _)| p.clone()).collect();
    let path = at.get(&folders).join(name.as_bytes()).unwrap();
    tree.retain(|other, _| !other.starts_with(&path));
    tree.insert(path, thing.clone());
}

/// What a sweep hands over, by the rules of the reader and the walk.
fn seen<'a>(scene: &Scene, contract: &'a Contract, stack: &Stack) -> Vec<Seen<'a>> {
    let mut all = Vec::new();
    let mut covered: Option<TreePath> = None;
    for (path, thing) in &scene.tree {
        if covered.as_ref().is_some_and(|cover| path.starts_with(cover)) {
            continue;
        }
        let terms = contract.terms_of(path);
        let entry = look(
            thing,
            terms,
            stack.base().append_only_size(path).filter(|_| terms.class == Class::AppendOnly),
        );
        let is_mounted = !path.is_root() && scene.mounted.contains(path);
        let (mut mount, sight) = if is_mounted {
            covered = Some(path.clone());
            (Some(contract.mount_at(path).is_some()), Sight::Mount)
        } else if scene.denied.contains(path) {
            covered = Some(path.clone());
            (None, Sight::Hidden(Problem { kind: ProblemKind::Unreadable, reason: String::new() }))
        } else if terms.class == Class::Ephemeral && terms.forbidden_of(&entry).is_empty() {
            (None, Sight::Anything)
        } else {
            let inode = Inode { device: (0, 0), number: 0, links: 1 };
            let entry = SeenEntry {
                entry,
                inode,
                problem: None,
                is_unlisted: false,
                xattrs_answered: None,
                lints: vec![],
                stamp: None,
                is_recalled: false,
                past_cache: false,
            };
            (None, Sight::Entry(Box::new(entry)))
        };
        let mount = mount.take().map(|named| {
            Box::new(MountSeen {
                treatment: if named { MountTreatment::Hide } else { MountTreatment::Unnamed },
                filesystem: None,
                source: None,
            })
        });
        all.push(Seen { path: path.clone(), terms, mount, sight });
    }
    all
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let Ok(contract) = Contract::from_toml(&case.contract) else { return Ok(()) };
    let base_bytes = bake("web", ManifestKind::Base, contract.clone(), &case.base, &contract);
    let mut files = vec![base_bytes];
    let mut scene = Scene { tree: case.base.clone(), mounted: vec![], denied: vec![] };
    if let Some(tree) = &case.add_on {
        let own = own_part(tree, &case.base, &contract);
        files.push(bake("extra", ManifestKind::AddOn, Contract::empty(), &own, &contract));
        for (path, thing) in own {
            if contract.class_of(&path) == Class::AddOn {
                scene.tree.entry(path).or_insert(thing);
            }
        }
        // An add-on's directory may lie where the base has none: then it is drift.
        let orphans: Vec<_> = scene
            .tree
            .keys()
            .filter(|p| p.parent().is_some_and(|above| !scene.tree.contains_key(&above)))
            .cloned()
            .collect();
        prop_assume!(orphans.is_empty());
    }
    let mut manifests = files.iter().map(|file| Manifest::read_unchecked(&mut Cursor::new(file)).unwrap());
    let base = manifests.next().unwrap();
    let add_ons: Vec<_> = manifests.collect();
    let inputs = || files.iter().map(Cursor::new).collect::<Vec<_>>();
    let stack =
        Stack::assemble(base, add_ons, inputs()).map_err(|error| TestCaseError::fail(error.to_string()))?;

    let mut ledger = Ledger::empty(stack.root());
    for (at, name, thing) in &case.first {
        put(&mut scene.tree, at, name, thing);
    }
    let (recorded, recorded_findings) = run(&scene, &contract, &stack, &ledger, inputs())?;
    ledger.record(&recorded.coverage.first_seen, Timestamp::UNIX_EPOCH).unwrap();
    ledger.check(stack.root(), &contract, stack.reserved()).unwrap();

    let (quiet, quiet_findings) = run(&scene, &contract, &stack, &ledger, inputs())?;
    prop_assert!(quiet.coverage.first_seen.is_empty(), "what is recorded is first seen again");
    prop_assert_eq!(quiet_findings, recorded_findings, "recording a first value changed a finding");
    case.mutations.iter().for_each(|mutation| mutate(&mut scene, mutation));
    run(&scene, &contract, &stack, &ledger, inputs()).map(drop)
}

/// Compares, and holds the outcome to the property.
fn run(
    scene: &Scene,
    contract: &Contract,
    stack: &Stack,
    ledger: &Ledger,
    inputs: Vec<Cursor<&Vec<u8>>>,
) -> Result<(Compared, Vec<Finding>), TestCaseError> {
    let key = ContentKey::new([3; 32]);
    let promises = Promises::new(stack.entries(inputs.clone()).unwrap(), ledger);
    let writer = FindingsWriter::spilling_to(&std::env::temp_dir());
    let mut comparison = Comparison::new(contract, ALGORITHM, promises, &key, writer);
    for seen in seen(scene, contract, stack) {
        comparison.take(seen).unwrap();
    }
    let compared = comparison.finish().unwrap();
    let findings = compared.findings.load().unwrap();
    let entries = stack.entries(inputs).unwrap();
    let root = recompute(entries, ALGORITHM, contract, stack.reserved(), ledger, &findings);
    let root = root.map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(root, compared.observed_root, "the collector comes to another root");
    let is_congruent = compared.observed_root == stack.root();
    prop_assert_eq!(is_congruent, findings.is_empty(), "{:#?}", findings);
    prop_assert_eq!(compared.protected.of, stack.entries_count());
    Ok((compared, findings))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn roots_are_equal_exactly_where_nothing_was_found(case in case()) {
        check(&case)?;
    }
}
