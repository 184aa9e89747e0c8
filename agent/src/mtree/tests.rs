//! Specs as peers write them, specs that are refused, and the way there and back.

use std::collections::BTreeMap;

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::entry::{Device, Entry, Kind, Node, Timestamp};
use congruent_protocol::path::TreePath;
use proptest::prelude::*;

use super::*;

fn path(text: &[u8]) -> TreePath {
    TreePath::new(text).unwrap()
}

fn claims_of(spec: &str) -> BTreeMap<String, Claims> {
    let spec = parse(spec.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
    spec.entries.into_iter().map(|entry| (entry.path.to_string(), entry.claims)).collect()
}

/// What one keyword after `type=file` makes of claims.
fn one(words: &str) -> Claims {
    claims_of(&format!(". type=dir\nx type=file {words}\n")).remove("/x").unwrap()
}

#[test]
fn relative_and_full_names_find_their_places() {
    for (spec, paths) in [
        (". type=dir\na type=dir\nx type=file\n..\ny type=file\n", &["/", "/a", "/a/x", "/y"][..]),
        (
            ". type=dir\n    x type=file\na type=dir\n..\nb type=dir\ny type=file\n..\n..\n",
            &["/", "/a", "/b", "/b/y", "/x"],
        ),
        (". type=dir\n./a type=dir\n./a/x type=file\n", &["/", "/a", "/a/x"]),
        ("type=dir .\ntype=dir uid=0 ./a\ntype=file ./a/x\n", &["/", "/a", "/a/x"]),
        ("./usr/bin/x type=file\n", &["/", "/usr", "/usr/bin", "/usr/bin/x"]),
        ("/set type=file\n. type=dir\nx\n. type=dir mode=0700\ny\n", &["/", "/x", "/y"]),
        (". type=dir\ntype=dir type=file\n* type=file\n", &["/", "/*", "/type=dir"]),
        ("#mtree congruent-1\n. type=dir\n\\134\\052 type=file\n", &["/", "/*"]),
    ] {
        let found: Vec<String> = claims_of(spec).into_keys().collect();
        assert_eq!(found, paths, "{spec}");
    }
}

#[test]
fn set_and_unset_say_what_every_entry_says() {
    let claims = claims_of(
        "/set type=file uid=0 mode=0644 nlink=1 flags=none md5digest=00\n. type=dir\na uid=7 mode=0600\n\
         /unset uid md5digest\nb\n/unset all\nc type=fifo\n",
    );
    let shown = |name: &str| {
        let claims = &claims[name];
        (claims.kind, claims.uid, claims.mode, claims.nlink, claims.unsupported.len())
    };
    assert_eq!(shown("/a"), (Some(Kind::File), Some(7), Some(0o600), Some(1), 1));
    assert_eq!(shown("/b"), (Some(Kind::File), None, Some(0o644), Some(1), 0));
    assert_eq!(shown("/c"), (Some(Kind::Fifo), None, None, None, 0));
}

#[test]
fn an_owner_by_name_stands_over_a_number_that_was_set() {
    let claims = claims_of("/set uid=0 gname=web\n. type=dir\nx type=file uname=web gid=7\ny type=file\n");
    let shown = |name: &str| {
        let claims = &claims[name];
        (claims.uname.is_some(), claims.uid, claims.gname.is_some(), claims.gid)
    };
    assert_eq!(shown("/x"), (true, None, false, Some(7)));
    assert_eq!(shown("/y"), (false, Some(0), true, None));
}

#[test]
fn keywords_are_read_as_each_writer_means_them() {
    let mtime = |words: &str| one(words).mtime.map(|mtime| (mtime.seconds, mtime.nanoseconds));
    assert_eq!(mtime("time=5.7"), Some((5, Some(7))));
    assert_eq!(mtime("time=5.000000007"), Some((5, Some(7))));
    assert_eq!(mtime("time=-5.5"), Some((-5, Some(5))));
    assert_eq!(mtime("time=5.0"), Some((5, None)));
    assert_eq!(mtime("tar_time=5.000000000"), Some((5, None)));
    let device = |words: &str| one(words).device.map(|device| (device.major, device.minor));
    assert_eq!(device("device=native,1,3"), Some((1, 3)));
    assert_eq!(device("device=0x11112c70"), Some((300, 70000)));
    assert_eq!(device("device=netbsd,1,3"), None);
    assert_eq!(one("link=a\\040b\\043").link.as_deref(), Some(&b"a b#"[..]));
    assert_eq!(one("xattr.user.foo=dgA=").xattrs[&b"user.foo"[..]], b"v\0");
    let twice = one(&format!("sha512={} sha256digest=0x{}", "0a".repeat(64), "0B".repeat(32)));
    assert_eq!(twice.proof(), Some(&Sha2::Sha256([11; 32])));
    assert_eq!(one("mode=0644 mode=04755").mode, Some(0o4755));
    for (word, reason) in [
        ("md5digest=00", Reason::WeakDigest),
        ("cksum=1", Reason::WeakDigest),
        ("flags=schg", Reason::Flags),
        ("mode=u=rwx", Reason::SymbolicMode),
        ("device=netbsd,1,3", Reason::ForeignDevice),
        ("xattr.security.selinux=eA==", Reason::XattrOutOfScope),
        ("tags=a,b", Reason::Tags),
        ("inode=7", Reason::Unknown),
    ] {
        let unsupported: Vec<Reason> = one(word).unsupported.into_values().collect();
        assert_eq!(unsupported, [reason], "{word}");
    }
}

#[test]
fn refusals_name_the_line_and_the_mend() {
    let long = format!(". type=dir\n{} type=file\n", "x".repeat(5000));
    let deep = format!(".{} type=dir\n", "/a".repeat(MAX_DEPTH + 1));
    let keywords: String = (0..300).map(|n| format!(" k{n}=1")).collect();
    for (spec, line, says) in [
        ("", 1, "has named no path"),
        ("# nothing\n/set type=file\n", 2, "has named no path"),
        (". type=dir\n/get x\n", 2, "there is no command `/get`"),
        (". type=dir\n..\n..\n", 3, "more `..` than directories"),
        (". type=dir\n..\nx type=file\n", 3, "more `..` than directories"),
        (". type=dir\na\\q type=file\n", 2, "no such escape"),
        (". type=dir\na\\000b type=file\n", 2, "which no directory entry can have"),
        (". type=dir\n./a/../b type=file\n", 2, "which no directory entry can have"),
        (". type=dir\n\\056\\056 type=file\n", 2, "which no directory entry can have"),
        (". type=dir\nx type=door\n", 2, "`type` cannot be \"door\"; it is block"),
        (". type=dir\nx type=file \\\n uid=+1\n", 2, "`uid` cannot be \"+1\""),
        (". type=dir\nx mode=10000\n", 2, "at most 07777"),
        (". type=dir\nx time=5.1000000000\n", 2, "seconds, a dot and nanoseconds"),
        (". type=dir\nx size=99999999999999999999\n", 2, "`size` cannot be"),
        (". type=dir\nx sha256digest=00\n", 2, "all of them"),
        (". type=dir\nx xattr.user.a=!\n", 2, "base64"),
        (". type=dir\nx frozen\n", 2, "`frozen` is no keyword of its own"),
        (". type=dir\nx =1\n", 2, "a keyword is not one"),
        (". type=dir\n./x type=file\n./x/y type=file\n", 3, "/x/y lies beneath /x, which line 2 says is no"),
        (". type=dir\n./x type=file\n./x type=fifo\n", 3, "/x is of another type in line 2"),
        (&long, 2, "which no directory entry can have"),
        (&deep, 1, "over 1024 directories deep"),
        (&format!("/set{keywords}\n"), 1, "over 256 keywords"),
    ] {
        let error = parse(spec.as_bytes()).unwrap_err();
        let whole = format!("{:#}", anyhow::Error::from(error.clone()));
        assert!(error.line == line && whole.contains(says), "{spec:?}: {whole}");
    }
}

#[test]
fn a_short_line_cannot_stand_for_endless_memory() {
    let set = format!("/set xattr.user.a={}\n", data_encoding::BASE64.encode(&[0; 600]));
    let names: String = (0..90).map(|n| format!("f{n}\n")).collect();
    let spec = format!("{set}. type=dir\n{names}");
    assert!(parse::parse_within(spec.as_bytes(), 100_000).is_ok());
    let error = parse::parse_within(spec.as_bytes(), 50_000).unwrap_err();
    assert_eq!(error.mistake, Mistake::TooLong(50_000));
}

/// The spec of `tree`, with each file's SHA-256.
fn export(tree: &BTreeMap<TreePath, Entry>) -> Vec<u8> {
    let mut survey = Survey::default();
    tree.iter().for_each(|(path, entry)| survey.take(path, entry));
    let mut writer = SpecWriter::new(Vec::new(), &survey, "a tree").unwrap();
    for (path, entry) in tree {
        writer.push(path, entry, Some([7; 32])).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_spec_is_frozen() {
    let file = |links| Entry {
        node: Node::File { size: 3, content: None },
        mode: 0o4755,
        mtime: Timestamp { seconds: 5, nanoseconds: 7 },
        link_group: links,
        ..Entry::empty()
    };
    let node = |node| Entry { node, ..Entry::empty() };
    let tree = BTreeMap::from([
        (path(b"/"), Entry::empty()),
        (path(b"/a b"), Entry::empty()),
        (path(b"/a b/*"), file(0)),
        (path(b"/a b/\\*"), file(1)),
        (path(b"/c"), file(2)),
        (path(b"/d"), file(2)),
        (path(b"/n"), node(Node::CharDevice(Device { major: 1, minor: 3 }))),
        (path(b"/s"), node(Node::Symlink { target: b"a b/\xff".to_vec() })),
    ]);
    let spec = String::from_utf8(export(&tree)).unwrap();
    let digest = "07".repeat(32);
    let rest = format!("mode=4755 uid=0 gid=0 size=3 nlink=L time=5.000000007 sha256digest={digest}");
    let (one, two, unknown) = (rest.replace('L', "1"), rest.replace('L', "2"), rest.replace(" nlink=L", ""));
    let expected = format!(
        "#mtree congruent-1\n# a tree\n\
         . type=dir mode=0000 uid=0 gid=0 time=0.000000000\n\
         a\\040b type=dir mode=0000 uid=0 gid=0 time=0.000000000\n    \
         [\\052] type=file {one}\n    \
         \\134\\134\\134\\052 type=file {unknown}\n..\n    \
         c type=file {two}\n    d type=file {two}\n    \
         n type=char mode=0000 uid=0 gid=0 device=native,1,3 nlink=1 time=0.000000000\n    \
         s type=link mode=0000 uid=0 gid=0 link=a\\040b/\\377 nlink=1 time=0.000000000\n"
    );
    assert_eq!(spec, expected.replace("[\\052]", "\\133\\052]"));
}

fn arbitrary_entry() -> impl Strategy<Value = Entry> {
    let node = prop_oneof![
        any::<u64>().prop_map(|size| Node::File { size, content: None }),
        prop::collection::vec(1_u8.., 1..40).prop_map(|target| Node::Symlink { target }),
        Just(Node::Fifo),
        Just(Node::Socket),
        (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Node::BlockDevice(Device { major, minor })),
        Just(Node::Directory),
        Just(Node::Directory),
    ];
    (node, 0..0o10000_u16, any::<u32>(), any::<u32>(), any::<i32>(), 0..1_000_000_000_u32).prop_map(
        |(node, mode, uid, gid, seconds, nanoseconds)| Entry {
            node,
            mode,
            uid,
            gid,
            mtime: Timestamp { seconds: i64::from(seconds), nanoseconds },
            ..Entry::empty()
        },
    )
}

/// A tree of few and odd names, so that they meet.
fn arbitrary_tree() -> impl Strategy<Value = BTreeMap<TreePath, Entry>> {
    let odd =
        [&b"a"[..], b"*", b"\\*", b"[*]", b"?", b"#", b" ", b"\n", b".x", b"=", b"type=dir", b"\xff", b"%41"];
    let name = prop_oneof![
        prop::sample::select(odd.to_vec()).prop_map(<[u8]>::to_vec),
        prop::collection::vec(prop::sample::select(b"*?[]\\#a \xfe".to_vec()), 1..6),
    ];
    let place = (prop::collection::vec(name, 1..5), arbitrary_entry());
    prop::collection::vec(place, 0..12).prop_map(|places| {
        let mut tree = BTreeMap::from([(TreePath::root(), Entry::empty())]);
        for (names, entry) in places {
            let mut at = TreePath::root();
            for name in names {
                if !tree.entry(at.clone()).or_insert_with(Entry::empty).node.is_directory() {
                    break;
                }
                at.push(&name).unwrap();
            }
            tree.entry(at).or_insert(entry);
        }
        tree
    })
}

proptest! {
    #[test]
    fn what_is_exported_is_parsed(tree in arbitrary_tree()) {
        let spec = export(&tree);
        let parsed = parse(&spec).unwrap();
        prop_assert_eq!(parsed.entries.len(), tree.len());
        for (SpecEntry { path, claims }, (expected_path, entry)) in parsed.entries.iter().zip(&tree) {
            prop_assert_eq!(path, expected_path);
            prop_assert_eq!(claims.kind, Some(entry.node.kind()));
            // All that is said of another entry of the kind makes it this one.
            let mut other = entry.clone();
            (other.mode, other.uid, other.gid) = (!entry.mode, !entry.uid, !entry.gid);
            other.mtime = Timestamp { seconds: !entry.mtime.seconds, nanoseconds: 0 };
            match &mut other.node {
                Node::File { size, .. } => *size = !*size,
                Node::Symlink { target } => target.push(b'x'),
                Node::BlockDevice(device) => device.minor = !device.minor,
                _ => {}
            }
            prop_assert_eq!(&claims.lay_over(&other), entry);
            prop_assert_eq!(claims.nlink, (!entry.node.is_directory()).then_some(1));
            let digest = (entry.node.kind() == Kind::File).then_some(Sha2::Sha256([7; 32]));
            prop_assert_eq!(claims.proof(), digest.as_ref());
        }
    }

    #[test]
    fn no_bytes_make_the_parser_fall(spec in prop::collection::vec(prop::sample::select(b"./ax \\\n#=0*[type=dirset".to_vec()), 0..200)) {
        let _ = parse(&spec);
    }
}

#[test]
fn content_is_laid_over_where_the_algorithm_is_one() {
    let file = |content| Entry { node: Node::File { size: 1, content }, ..Entry::empty() };
    let claims = one(&format!("size=1 sha256={}", "00".repeat(32)));
    let stated = file(Some(Digest::new(Algorithm::Sha256, [0; 32])));
    assert_eq!(claims.lay_over(&file(Some(Algorithm::Sha256.digest(b"x")))), stated);
    for unlike in [file(Some(Algorithm::Blake3.digest(b"x"))), file(None)] {
        assert_eq!(claims.lay_over(&unlike), unlike);
    }
}
