//! What belongs to one machine: its identity, and what building the image left.

use congruent_protocol::path::TreePath;

use super::super::Lint::{HostKey, Leftover, MachineId};
use super::super::of;
use super::super::testing::{check, check_content, directory, file, symlink};
use super::{OPENSSH, pem};

#[test]
fn identities() {
    let key = [(HostKey, "private ssh host key")];
    let set = [(MachineId, "machine-id that is set; leave it empty or \"uninitialized\"")];
    let one = [(MachineId, "identity of one machine")];
    let pem = pem("OPENSSH ", OPENSSH);
    for (path, content, expected) in [
        ("/etc/ssh/ssh_host_ed25519_key", &*pem, &key[..]),
        ("/etc/dropbear/dropbear_rsa_host_key", "x", &key),
        ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", &set),
        ("/var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef", &set),
        ("/etc/nvme/hostnqn", "nqn.x", &one),
        ("/etc/iscsi/initiatorname.iscsi", "# a\nInitiatorName=iqn.x", &one),
        (
            "/var/lib/systemd/random-seed",
            "x",
            &[(MachineId, "random seed: every copy would begin with the same")],
        ),
        ("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA", &[]),
        ("/etc/ssh/ssh_host_ed25519_key", "", &[]),
        ("/etc/machine-id", "", &[]),
        ("/etc/machine-id", "\n", &[]),
        ("/etc/machine-id", "uninitialized\n", &[]),
        ("/srv/machine-id", "0123456789abcdef0123456789abcdef\n", &[]),
        ("/etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n", &[]),
    ] {
        check_content(path, content.as_bytes(), expected);
    }
    check("/var/lib/dbus/machine-id", &symlink(), b"", &[]);
}

#[test]
fn leftovers() {
    for path in [
        "/root/.bash_history",
        "/home/a/.local/share/fish/fish_history",
        "/home/a/.ssh/authorized_keys",
        "/home/packer",
        "/root/.cache/pip",
        "/root/anaconda-ks.cfg",
        "/.dockerenv",
        "/var/lib/congruent/spool/1",
        "/var/lib/cloud/instances/i-1",
        "/var/lib/cloud/data/instance-id",
        "/etc/sudoers.d/90-cloud-init-users",
        "/var/lib/apt/lists/deb_dists_stable_InRelease",
        "/var/cache/apt/archives/web_1_amd64.deb",
        "/var/cache/dnf/a/b.rpm",
        "/var/lib/dhcp/dhclient.eth0.leases",
        "/etc/udev/rules.d/70-persistent-net.rules",
        "/tmp/packer-shell1",
        "/var/tmp/x",
        "/var/log/apt/history.log",
        "/var/mail/root",
    ] {
        let hits = of(&TreePath::new(path).unwrap(), &file(b"x"), b"x");
        assert_eq!(hits.iter().map(|hit| hit.lint).collect::<Vec<_>>(), [Leftover], "{path}: {hits:?}");
    }
    for path in [
        "/root/.bash_history",
        "/home/a/.ssh/authorized_keys",
        "/var/log/dpkg.log",
        "/var/lib/apt/lists/lock",
        "/var/mail/root",
    ] {
        check_content(path, b"", &[]);
    }
    for path in [
        "/home/alice",
        "/tmp",
        "/var/log",
        "/var/log/apt",
        "/var/lib/apt/lists/partial",
        "/var/lib/congruent",
    ] {
        let mode = if path == "/tmp" { 0o1777 } else { 0o755 };
        check(path, &directory(mode, 0, 0), b"", &[]);
    }
    for path in
        ["/usr/share/doc/bash_history", "/root/.bashrc", "/var/lib/dpkg/status", "/srv/tmp/x", "/tmp/a/b"]
    {
        check_content(path, b"x", &[]);
    }
}

#[test]
fn core_dumps() {
    let elf = |class: u8, order: u8, kind: [u8; 2]| {
        let mut head = [0; 64];
        head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order]);
        head[16..18].copy_from_slice(&kind);
        head
    };
    for (head, expected) in [
        (elf(2, 1, [4, 0]), &[(Leftover, "core dump")][..]),
        (elf(1, 2, [0, 4]), &[(Leftover, "core dump")]),
        (elf(2, 1, [3, 0]), &[]),
        (elf(2, 2, [4, 0]), &[]),
    ] {
        check_content("/srv/core", &head, expected);
    }
    check_content("/srv/core", b"\x7fELF", &[]);
}
