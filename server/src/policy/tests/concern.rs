//! What findings bear on.

use congruent_protocol::contract::{Class, Terms};
use congruent_protocol::drift::{Attributes, Change, Field, Finding, Mode};
use congruent_protocol::entry::{Device, Entry, Node};
use congruent_protocol::path::TreePath;

use crate::policy::concern::Concern::{self, *};

fn entry(node: Node, mode: u16) -> Entry {
    Entry { node, mode, ..Entry::empty() }
}

fn file(mode: u16) -> Entry {
    entry(Node::File { size: 0, content: None }, mode)
}

fn added(path: &[u8], entry: &Entry) -> Finding {
    Finding::added(&TreePath::new(path).unwrap(), Class::Immutable, entry.into())
}

fn check(finding: &Finding, bears_on: &[Concern]) {
    assert_eq!(Concern::of(finding), bears_on, "{} ({})", finding.path, finding.change.name());
}

/// By where a plain file lies, that nobody may execute.
#[test]
fn by_place() {
    for (path, bears_on) in [
        ("/srv/www/index.html", &[][..]),
        ("/home/web/notes", &[]),
        ("/usrlocal/x", &[]),
        ("/etcetera/x", &[]),
        ("/usr/bin", &[Code]),
        ("/usr/bin/web", &[Code]),
        ("/bin/sh", &[Code]),
        ("/usr/lib/python3/dist-packages/x.txt", &[Code]),
        ("/usr/local/lib/x", &[Code]),
        ("/boot/vmlinuz-6.1.0", &[Code]),
        ("/lib/modules/6.1.0/modules.dep", &[Code]),
        ("/usr/share/doc/web/copyright", &[System]),
        ("/usr/include/stdio.h", &[System]),
        ("/usr/share/web/run.py", &[Code]),
        ("/srv/app/app.jar", &[Code]),
        ("/srv/app/libx.so", &[Code]),
        ("/srv/app/libx.so.1.2.3", &[Code]),
        ("/srv/app/x.ko.zst", &[Code]),
        ("/srv/app/x.sock", &[]),
        ("/etc", &[Configuration]),
        ("/etc/web/web.conf", &[Configuration]),
        ("/etc/cron.d/job", &[Code, Configuration]),
        ("/etc/crontab", &[Code, Configuration]),
        ("/etc/ld.so.preload", &[Code, Configuration]),
        ("/etc/systemd/system/web.service", &[Code, Configuration]),
        ("/etc/rc.local", &[Code, Configuration]),
        ("/etc/profile.d/x.sh", &[Code, Configuration]),
        ("/var/spool/cron/crontabs/root", &[Code]),
        ("/etc/passwd", &[TrustAnchor, Configuration]),
        ("/etc/shadow-", &[TrustAnchor, Configuration]),
        ("/etc/sudoers.d/x", &[TrustAnchor, Configuration]),
        ("/etc/ssh/sshd_config", &[TrustAnchor, Configuration]),
        ("/etc/ssl/certs/x.pem", &[TrustAnchor, Configuration]),
        ("/etc/pam.d/sshd", &[TrustAnchor, Configuration]),
        ("/etc/apt/trusted.gpg.d/x.gpg", &[TrustAnchor, Configuration]),
        ("/usr/share/keyrings/x.gpg", &[TrustAnchor, System]),
        ("/root/.ssh/authorized_keys", &[TrustAnchor]),
        ("/home/a/.ssh/id_ed25519", &[TrustAnchor]),
        ("/home/a/.ssh", &[TrustAnchor]),
        ("/srv/git/authorized_keys2", &[TrustAnchor]),
    ] {
        check(&added(path.as_bytes(), &file(0o644)), bears_on);
    }
    check(&added(b"/usr/bin/\xff\n", &file(0o644)), &[Code]);
    check(&added(b"/", &entry(Node::Directory, 0o777)), &[System]);
}

#[test]
fn by_attributes() {
    let device = Device { major: 8, minor: 0 };
    for (entry, bears_on) in [
        (file(0o600), &[][..]),
        (file(0o755), &[Code]),
        (file(0o010), &[Code]),
        (file(0o4644), &[Setuid]),
        (file(0o2755), &[Setuid, Code]),
        (file(0o1644), &[]),
        // On a directory these bits hand down the group, or mean entering it.
        (entry(Node::Directory, 0o2755), &[]),
        (entry(Node::Symlink { target: b"/bin/sh".to_vec() }, 0o777), &[]),
        (entry(Node::BlockDevice(device), 0o660), &[Device]),
        (entry(Node::CharDevice(device), 0o666), &[Device]),
        (entry(Node::Fifo, 0o755), &[]),
        (Entry { xattrs: vec![(b"security.capability".to_vec(), vec![1])], ..file(0o644) }, &[Capability]),
        (Entry { xattrs: vec![(b"user.note".to_vec(), vec![1])], ..file(0o644) }, &[]),
    ] {
        let path = TreePath::new("/srv/x").unwrap();
        check(&added(b"/srv/x", &entry), bears_on);
        // What is gone bears on as much as what is new.
        check(&Finding::removed(&path, Class::Immutable, &entry), bears_on);
    }
}

#[test]
fn by_either_side_of_a_change() {
    let path = TreePath::new("/srv/x").unwrap();
    let check_change = |before: &Entry, after: &Entry, bears_on: &[Concern]| {
        check(&Finding::compare(&path, Terms::immutable(), before, after).unwrap(), bears_on);
    };
    check_change(&file(0o644), &file(0o4755), &[Setuid, Code]);
    check_change(&file(0o4755), &file(0o644), &[Setuid, Code]);
    check_change(&file(0o644), &file(0o600), &[]);
    let directory = entry(Node::Directory, 0o755);
    check_change(&file(0o755), &directory, &[Code]);
    check_change(&directory, &entry(Node::BlockDevice(Device { major: 8, minor: 0 }), 0o600), &[Device]);
}

#[test]
fn mounts_and_capabilities_by_the_finding() {
    let path = TreePath::new("/srv/x").unwrap();
    let mount = Attributes::mount(Some("ext4".to_owned()), None);
    check(&Finding::mounted_over(&path, Class::Immutable, None, mount.clone()), &[Mount]);
    let usr = TreePath::new("/usr/bin").unwrap();
    check(&Finding::mounted_over(&usr, Class::Immutable, None, mount), &[Mount, Code]);
    // The attribute that differs may be listed where neither side shows it.
    let mut finding = added(b"/srv/x", &file(0o644));
    finding.change = Change::Modified;
    finding.fields = vec![Field::Xattr("security.capability".to_owned())];
    check(&finding, &[Capability]);
    finding.observed.as_mut().unwrap().mode = Some(Mode(0o4000));
    check(&finding, &[Setuid, Capability]);
}
