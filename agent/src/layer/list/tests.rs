use congruent_protocol::entry::Kind;
use tar::{EntryType, Header};

use super::super::MergedTree;
use super::*;

/// An archive that is written member by member, as no honest writer would.
#[derive(Default)]
pub(crate) struct Archive(Vec<u8>);

impl Archive {
    pub(crate) fn header(kind: u8, name: &[u8], size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(7);
        header.set_size(size);
        header
    }

    pub(crate) fn member(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(Self::header(b'0', name.as_bytes(), content.len() as u64), content)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        let mut header = Self::header(b'5', name.as_bytes(), 0);
        header.set_mode(0o755);
        self.member(header, b"")
    }

    pub(crate) fn link(self, kind: u8, name: &str, to: &str) -> Self {
        let mut header = Self::header(kind, name.as_bytes(), 0);
        header.set_link_name_literal(to).unwrap();
        self.member(header, b"")
    }

    fn global(self) -> Self {
        self.member(Self::header(b'g', b"pax", 0), b"")
    }

    fn pax(self, records: &[u8]) -> Self {
        self.member(Self::header(b'x', b"pax", records.len() as u64), records)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

const READING: Reading = Reading {
    algorithm: Algorithm::Blake3,
    limits: Limits { members: 100, content_bytes: 1 << 20, listed_bytes: 1 << 20 },
    lint: true,
};

fn read_over(archive: &[u8], lower: &MergedTree) -> Result<Layer, String> {
    Layer::read(archive, READING, lower).map_err(|error| error.to_string())
}

fn read(archive: Archive) -> Result<Layer, String> {
    read_over(&archive.end(), &MergedTree::default())
}

/// Each path with its kind; `~` is what is implied.
fn listed(layer: &Layer) -> Vec<String> {
    let shown =
        |listed: &LayerEntry| format!("{} {}", listed.node.kind().map_or("~", Kind::name), listed.path);
    layer.entries.iter().map(shown).collect()
}

#[test]
fn names_and_kinds_are_as_listed() {
    let mut node = Archive::header(b'3', b"./dev/null", 0);
    node.set_device_major(1).unwrap();
    node.set_device_minor(3).unwrap();
    let archive = Archive::default()
        .directory("./")
        .directory("./etc/")
        .file("./etc/motd", b"hello")
        .link(b'2', "./etc/link", "motd")
        .member(node, b"")
        .file("usr//share/./doc/x", b"");
    let layer = read(archive).unwrap();
    assert_eq!(
        listed(&layer),
        [
            "directory /",
            "~ /dev",
            "char-device /dev/null",
            "directory /etc",
            "symlink /etc/link",
            "file /etc/motd",
            "~ /usr",
            "~ /usr/share",
            "~ /usr/share/doc",
            "file /usr/share/doc/x",
        ]
    );
    let motd = layer.entries[5].node.entry().unwrap();
    assert_eq!(motd.content(), Some(&Algorithm::Blake3.digest(b"hello")));
    assert_eq!((motd.mode, motd.mtime.seconds), (0o644, 7));
}

#[test]
fn whiteouts_come_first_wherever_they_stand() {
    let archive = Archive::default()
        .file("new/file", b"")
        .file("new/.wh..wh..opq", b"")
        .file(".wh.gone", b"")
        .directory("again/")
        .file("again/.wh..wh..opq", b"")
        .file("file", b"")
        .file(".wh.file", b"")
        .file("file/.wh.was-a-directory", b"")
        .file(".wh..wh.plnk/123", b"");
    assert_eq!(
        listed(&read(archive).unwrap()),
        [
            "~ /",
            "directory /again",
            "opaque /again/.wh..wh..opq",
            "file /file",
            "whiteout /gone",
            "~ /new",
            "opaque /new/.wh..wh..opq",
            "file /new/file",
        ]
    );
}

#[test]
fn a_whiteout_says_it_of_all_beneath() {
    let archive = Archive::default()
        .file(".wh.d", b"")
        .file("d/.wh.x", b"")
        .file("d/e/.wh..wh..opq", b"")
        .file("d-/.wh.x", b"")
        .file("d/.wh..wh..opq", b"");
    assert_eq!(listed(&read(archive).unwrap()), ["~ /", "whiteout /d", "~ /d-", "whiteout /d-/x"]);
}

#[test]
fn the_later_of_two_members_counts() {
    let archive = Archive::default()
        .directory("d/")
        .file("d/x", b"1")
        .file("d/x", b"22")
        .directory("d/")
        .directory("e/")
        .file("e/y", b"")
        .file("e", b"now a file");
    let layer = read(archive).unwrap();
    assert_eq!(listed(&layer), ["~ /", "directory /d", "file /d/x", "file /e"]);
    assert!(matches!(layer.entries[2].node.entry().unwrap().node, Node::File { size: 2, .. }));
}

#[test]
fn hard_links_are_what_they_link_to_also_in_lower_layers() {
    let mut lower = MergedTree::default();
    let base = Archive::default().file("low", b"low").file("other", b"").end();
    lower.apply(&read_over(&base, &lower).unwrap()).unwrap();
    let upper = Archive::default().file("a", b"same").link(b'1', "b", "./a").link(b'1', "c", "low").end();
    let layer = read_over(&upper, &lower).unwrap();
    let entry = |at: usize| layer.entries[at].node.entry().unwrap();
    assert_eq!(listed(&layer), ["~ /", "file /a", "file /b", "file /c"]);
    assert_eq!((entry(1).content(), entry(1).link_group), (entry(2).content(), entry(2).link_group));
    assert_eq!(entry(3).content(), Some(&Algorithm::Blake3.digest(b"low")));
    let gone = Archive::default().file(".wh.low", b"").link(b'1', "c", "low").end();
    let error = read_over(&gone, &lower).unwrap_err();
    assert!(error.contains("hard link to /low, which neither"), "{error}");
}

#[test]
fn lint_sees_what_stays() {
    let mut shell = Archive::header(b'0', b"bin/shell", 0);
    shell.set_mode(0o4755);
    let archive = Archive::default().member(shell.clone(), b"").file("bin/x", b"").member(shell, b"");
    let hits = read(archive).unwrap().hits;
    let found: Vec<_> = hits.iter().map(|(path, hit)| format!("{path} {}", hit.lint)).collect();
    assert_eq!(found, ["/bin/shell setuid"]);
    let mut shell = Archive::header(b'0', b"bin", 0);
    shell.set_mode(0o4755);
    let replaced = Archive::default().member(shell, b"").file("bin", b"");
    assert_eq!(read(replaced).unwrap().hits, []);
}

#[test]
fn what_is_made_anew_by_what_lies_beneath_has_nobodys_attributes() {
    let upper = Archive::default().file("d/x", b"").file(".wh.d", b"").end();
    let mut lower = MergedTree::default();
    assert_eq!(
        listed(&read_over(&upper, &lower).unwrap()),
        ["~ /", "~ /d", "opaque /d/.wh..wh..opq", "file /d/x"]
    );
    lower.apply(&read(Archive::default().directory("d")).unwrap()).unwrap();
    let error = read_over(&upper, &lower).unwrap_err();
    assert!(error.contains("/d is refused: it is taken away by a whiteout, and made anew only"), "{error}");
}

#[test]
fn xattrs_hold_any_bytes() {
    let mut records = b"41 SCHILY.xattr.security.capability=".to_vec();
    records.extend_from_slice(b"\x01\0\n\x02\n");
    let layer = read(Archive::default().pax(&records).file("ping", b"")).unwrap();
    let ping = layer.entries[1].node.entry().unwrap();
    assert_eq!(ping.xattrs, [(b"security.capability".to_vec(), b"\x01\0\n\x02".to_vec())]);
}

#[test]
fn sparse_files_are_read_with_their_holes() {
    let whole = [&b"head"[..], &[0; 1020], b"tail", &[0; 100]].concat();
    let mut old = Archive::header(b'S', b"old", 8);
    let gnu = old.as_gnu_mut().unwrap();
    gnu.set_real_size(whole.len() as u64);
    for (at, (offset, length)) in [(0, 4), (1024, 4)].into_iter().enumerate() {
        gnu.sparse[at].set_offset(offset);
        gnu.sparse[at].set_length(length);
    }
    let record = |text: &str| {
        let length = (1..).find(|n: &usize| format!("{n} {text}\n").len() == *n).unwrap();
        format!("{length} {text}\n")
    };
    let one = [
        record("GNU.sparse.major=1"),
        record("GNU.sparse.minor=0"),
        record("GNU.sparse.name=one"),
        record(&format!("GNU.sparse.realsize={}", whole.len())),
    ];
    let zero = [
        record(&format!("GNU.sparse.size={}", whole.len())),
        record("GNU.sparse.numblocks=2"),
        record("GNU.sparse.map=0,4,1024,4"),
    ];
    let mut mapped = b"2\n0\n4\n1024\n4\n".to_vec();
    mapped.resize(512, 0);
    mapped.extend_from_slice(b"headtail");
    let archive = Archive::default()
        .member(old, b"headtail")
        .pax(one.concat().as_bytes())
        .file("GNUSparseFile.0/one", &mapped)
        .pax(zero.concat().as_bytes())
        .file("zero", b"headtail");
    let layer = read(archive).unwrap();
    assert_eq!(listed(&layer), ["~ /", "file /old", "file /one", "file /zero"]);
    for listed in &layer.entries[1..] {
        let node = &listed.node.entry().unwrap().node;
        let content = Some(Algorithm::Blake3.digest(&whole));
        assert_eq!(*node, Node::File { size: whole.len() as u64, content }, "{}", listed.path);
    }
}

/// The attacks that are known of archives, one fixture each.
#[test]
fn attacks_are_refused_by_the_members_name() {
    let a = Archive::default;
    let header = Archive::header;
    let mut null = header(b'3', b"null", 0);
    null.set_device_major(0).unwrap();
    null.set_device_minor(0).unwrap();
    let with_size = |size: &[u8]| a().pax(size).file("big", b"12345");
    for (archive, says) in [
        (a().file("../etc/passwd", b""), "../etc/passwd is refused: its name leads upwards"),
        (a().file("a/../../b", b""), "a/../../b is refused: its name leads upwards"),
        (a().file("/etc/passwd", b""), "/etc/passwd is refused: its name is absolute"),
        (
            a().link(b'2', "a", "/etc").file("a/passwd", b""),
            "a/passwd is refused: it lies beneath /a, which is a symlink",
        ),
        (a().file("a", b"").file("a/b/c", b""), "a/b/c is refused: it lies beneath /a, which is a file"),
        (a().link(b'2', "a", "/").file("a/.wh.etc", b""), "a/.wh.etc is refused: it lies beneath /a"),
        (
            a().link(b'2', "a", "/").file("a/.wh..wh..opq", b""),
            "a/.wh..wh..opq is refused: it lies beneath /a",
        ),
        (a().file(".wh.a/b", b""), ".wh.a/b is refused: it lies beneath /.wh.a, which is a whiteout"),
        (
            a().directory("d").file(".wh.d", b""),
            "/.wh.d is refused: the layer has /d as a directory too: what lower layers have in it",
        ),
        (a().file("d/.wh.e", b"").directory("d/e"), "/d/.wh.e is refused: the layer has /d/e as a directory"),
        (
            a().directory("d").link(b'2', "d", "x").directory("d"),
            "d is refused: it is a directory, and the layer has a symlink of that name before it",
        ),
        (a().file(".wh..wh..opq", b""), ".wh..wh..opq is refused: it makes the root opaque"),
        (a().member(null, b""), "null is refused: it is the character device 0:0"),
        (
            a().pax(b"46 SCHILY.xattr.trusted.overlay.redirect=/etc\n").file("d", b""),
            "overlay file systems show something else",
        ),
        (a().file(".wh.", b""), ".wh. is refused: it is a whiteout of a name that no entry can have"),
        (a().file(".wh..", b""), ".wh.. is refused: it is a whiteout of a name that no entry can have"),
        (a().file(".wh...", b""), ".wh... is refused: it is a whiteout of a name that no entry can have"),
        (
            a().file(".wh..wh.x", b""),
            ".wh..wh.x is refused: it is a whiteout of a name that is itself a mark",
        ),
        (
            a().link(b'1', "a", "../../etc/shadow"),
            "a is refused: it is a hard link, and of where it points: its name leads upwards",
        ),
        (
            a().link(b'1', "a", "/etc/shadow"),
            "a is refused: it is a hard link, and of where it points: its name is absolute",
        ),
        (a().link(b'1', "a", "b"), "a is refused: it is a hard link to /b, which neither"),
        (a().link(b'1', "a", "a"), "a is refused: it is a hard link to itself"),
        (
            a().directory("d").link(b'1', "a", "d"),
            "a is refused: it is a hard link to /d, which is a directory",
        ),
        (a().link(b'2', "a", ""), "a is refused: it is a symbolic link, and where it points is empty"),
        (a().file("./", b""), "./ is refused: it is the root of the image, and no directory"),
        (
            with_size(b"9 size=6\n"),
            "big is refused: its header says that it has 5 bytes, and its extended header 6",
        ),
        (a().pax(b"6 size=\n"), "malformed record"),
        (a().pax(b"12 path=a\0b\n").file("x", b""), "is refused: a component of its name is none"),
        (
            a().member(header(b'5', b"d", 512), &[b'x'; 512]),
            "d is refused: it is no file, and 512 bytes of content follow it",
        ),
        (a().member(header(b'V', b"v", 0), b""), "v is refused: it is of the unknown kind"),
        (a().member(header(b'0', b"bomb", 2 << 20), b""), "too many bytes of content"),
        (
            a().pax(b"34 GNU.sparse.realsize=9000000000\n24 GNU.sparse.map=0,1,2\n").file("s", b"1"),
            "s is refused: its sparse map",
        ),
        (a().member(header(b'x', b"pax", 2 << 20), b""), "the limit is 1048576"),
    ] {
        match read(archive) {
            Ok(layer) => panic!("{says}: taken as {:?}", listed(&layer)),
            Err(error) => assert!(error.contains(says), "{says}: {error}"),
        }
    }
}

/// What a few bytes of an archive say must not fill memory.
#[test]
fn what_is_listed_is_bounded() {
    let with_note = |archive: Archive| {
        let mut records = b"60026 SCHILY.xattr.user.n=".to_vec();
        records.resize(60_025, b'x');
        records.push(b'\n');
        archive.pax(&records).file("noted", b"")
    };
    let linked = |count: usize| {
        (0..count).fold(with_note(Archive::default()), |a, at| a.link(b'1', &at.to_string(), "noted"))
    };
    assert!(read(linked(10)).is_ok());
    let error = read(linked(20)).unwrap_err();
    assert!(error.contains("too many bytes of names and attributes, and the limit is 1048576"), "{error}");
    // Every other byte of a name is a directory that nothing lists.
    let deep = |archive: Archive, first: usize| {
        let name = format!("{first}/{}x", "d/".repeat(1000));
        let record = format!("{} path={name}\n", name.len() + 11);
        archive.pax(record.as_bytes()).file("deep", b"")
    };
    let error = read((0..2).fold(Archive::default(), deep)).unwrap_err();
    assert!(error.contains("too many bytes of names and attributes"), "{error}");
}

#[test]
fn extended_headers_are_counted() {
    let headers =
        |count: usize| (0..count).fold(Archive::default(), |archive, _| archive.global()).file("a", b"");
    assert_eq!(listed(&read(headers(100)).unwrap()), ["~ /", "file /a"]);
    let error = read(headers(101)).unwrap_err();
    assert!(error.contains("over 100 extended headers stand before it"), "{error}");
}

#[test]
fn broken_archives_are_refused() {
    let whole = Archive::default().file("a", b"content").end();
    let read = |bytes: &[u8]| read_over(bytes, &MergedTree::default());
    assert!(read(&whole[..100]).unwrap_err().contains("cannot read the archive"));
    assert!(read(&whole[..515]).unwrap_err().contains("after the member a"));
    let mut altered = whole.clone();
    altered[0] = b'b';
    assert!(read(&altered).unwrap_err().contains("checksum"));
    let gap = [&[0; 512][..], &whole].concat();
    assert!(read(&gap).unwrap_err().contains("one empty block"));
    // Without its end mark an archive ends where its bytes do.
    assert_eq!(listed(&read(&whole[..1024]).unwrap()), ["~ /", "file /a"]);
    assert_eq!(listed(&read(&whole[..519]).unwrap()), ["~ /", "file /a"]);
    assert_eq!(read(b"").unwrap(), Layer::default());
    let many = (0..101).fold(Archive::default(), |archive, at| archive.file(&at.to_string(), b""));
    assert!(read(&many.end()).unwrap_err().contains("too many members"));
}
