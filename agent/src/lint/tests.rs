//! A table for each lint: what it finds, and what nearly is that and is not.

use congruent_protocol::entry::{Device, Entry, Node};
use congruent_protocol::path::TreePath;
use proptest::prelude::*;

use super::Lint::*;
use super::testing::{character, check, check_content, directory, file, file_of, symlink};
use super::{HEAD_BYTES, LONG_HEAD_BYTES, Lint, head_bytes, of};

/// What a key's base64 looks like; half a line of none.
const BODY: &str = "MIICXgIBAAKBgQDu5iSaBzDkKTJTuguUN65qrmZN2RcgWSPGI2hJ2ygS0LzgTC72";
const OPENSSH: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW";
const OPENSSH_ENCRYPTED: &str = "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBMMSFnRK";
/// What tokens are made of.
const RANDOM: &str = "q7Zt2mV9xLr4KbN8wYc3HsD6fGj1PaTe5UoX0iRkMnBvCyQz";

/// The first lines of a PEM key; made here, so that nobody takes this file for one.
fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}PRIVATE KEY-----\n{body}\n")
}

#[test]
fn private_keys_by_content() {
    let key = |what: &'static str| [(PrivateKey, what)];
    let proc_type = format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,87\n\n{BODY}");
    let certificate =
        format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", "Zm9v\n".repeat(1000));
    for (what, content) in [
        ("private key in PEM", pem("", BODY)),
        ("private key in PEM", pem("RSA ", BODY)),
        ("private key in PEM", pem("EC ", BODY).replace('\n', "\r\n")),
        ("private key in PEM", format!("Bag Attributes\n{}", pem("", BODY))),
        ("private key in PEM", format!("\u{feff}{}", pem("", BODY))),
        ("private key in PEM", format!("{certificate}{}", pem("", BODY))),
        ("private key in PEM, encrypted", pem("ENCRYPTED ", BODY)),
        ("private key in PEM, encrypted", pem("RSA ", &proc_type)),
        ("private key in PEM, of use to one TPM only", pem("TSS2 ", BODY)),
        ("OpenSSH private key", pem("OPENSSH ", OPENSSH)),
        ("OpenSSH private key, encrypted", pem("OPENSSH ", OPENSSH_ENCRYPTED)),
        ("OpenPGP private key", pem("PGP ", &format!("\n{BODY}")).replace("KEY-", "KEY BLOCK-")),
        ("private key in JSON", format!("{{\"private_key\": \"{}", pem("", BODY).replace('\n', "\\n"))),
        ("private key in PEM in base64", format!("key: LS0tLS1CRUdJTiBQUklWQVRFIEtFW{BODY}{BODY}")),
        ("PuTTY private key", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n".to_owned()),
        ("minisign or signify secret key", "untrusted comment: minisign encrypted secret key\nRW".to_owned()),
        (
            "age secret key",
            format!("# public key: age1\nAGE-SECRET-KEY-1{}", &RANDOM.repeat(2).to_uppercase()[..58]),
        ),
    ] {
        check_content("/opt/a.pem", content.as_bytes(), &key(what));
    }
}

#[test]
fn what_speaks_of_private_keys_is_none() {
    let marker = pem("", "");
    for content in [
        String::new(),
        marker.clone(),
        marker.trim_end().to_owned(),
        pem("", "MIIE..."),
        pem("", "..."),
        pem("", "<your key here>"),
        pem("", &"x".repeat(64)),
        pem("", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        pem("", &format!("{}...", &BODY[..40])),
        pem("", &BODY[..20]),
        format!("if text.startswith(\"{}\"):", marker.trim_end()),
        format!("    {}", pem("", BODY)),
        format!("# {}", pem("", BODY)),
        format!("key = '''{}", pem("", BODY)),
        format!("\"example\": \"{}", pem("", BODY).replace('\n', "\\n")),
        pem("", BODY).replace("-----BEGIN", "-----END"),
        pem("", BODY).replace("PRIVATE", "PUBLIC"),
        pem("[^-]* ", BODY),
        "AGE-SECRET-KEY-1".to_owned(),
        format!("AGE-SECRET-KEY-1{}", "X".repeat(58)),
        "LS0tLS1CRUdJTiBQUklWQVRFIEtFW".to_owned(),
        "untrusted comment: minisign public key\nRWQ".to_owned(),
        "a PuTTY-User-Key-File-3:".to_owned(),
    ] {
        check_content("/opt/a.pem", content.as_bytes(), &[]);
    }
    let far = format!("{}{}", "x\n".repeat(HEAD_BYTES), pem("", BODY));
    check_content("/opt/a.txt", far.as_bytes(), &[]);
}

#[test]
fn private_keys_in_binary_forms() {
    let der = |start: &[u8], length: usize| {
        let mut content = start.to_vec();
        content.resize(length, 0xa5);
        content
    };
    let key = [(PrivateKey, "private key in DER")];
    let store = [(PrivateKey, "Java key store with a private key, encrypted")];
    let pkcs8 = [0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    for (content, expected) in [
        (der(&pkcs8, 48), &key[..]),
        (der(&[0x30, 0x82, 4, 0xa4, 2, 1, 0, 2, 0x82, 1, 1], 0x4a8), &key),
        (der(&[0x30, 0x77, 2, 1, 1, 4, 32], 0x79), &key),
        // Cut short, or with more behind: not one sequence.
        (der(&pkcs8, 47), &[]),
        (der(&pkcs8, 49), &[]),
        // A public key, a PKCS#12 store, an SNMP message.
        (der(&[0x30, 42, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70], 44), &[]),
        (der(&[0x30, 46, 2, 1, 3, 0x30, 5, 6], 48), &[]),
        (der(&[0x30, 46, 2, 1, 1, 4, 6], 48), &[]),
        (der(b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x01", 99), &store),
        (der(b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02", 99), &[]),
        (b"\xfe\xed\xfe\xed".to_vec(), &[]),
        (b"\x30".to_vec(), &[]),
        (b"\x30\x82\x01".to_vec(), &[]),
    ] {
        check_content("/opt/key", &content, expected);
    }
}

#[test]
fn private_keys_by_place() {
    let place = [(PrivateKey, "where private keys lie")];
    let wireguard = [(PrivateKey, "WireGuard key")];
    for (path, content, expected) in [
        ("/root/.ssh/id_rsa", "x", &place[..]),
        ("/home/a/.ssh/id_ed25519", "x", &place),
        ("/etc/ssl/private/web.key", "x", &place),
        ("/etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = x\n", &wireguard),
        ("/etc/systemd/network/wg.netdev", "[WireGuard]\nPrivateKey=x\n", &wireguard),
        ("/srv/a.p12", "x", &[(PrivateKey, "key store")]),
        ("/root/.gnupg/private-keys-v1.d/0F.key", "x", &[(PrivateKey, "GnuPG private key")]),
        ("/root/.ssh/id_rsa", "", &[]),
        ("/root/.ssh/id_rsa.pub", "ssh-rsa AAAA", &[]),
        ("/usr/share/doc/id_rsa", "x", &[]),
        ("/etc/ssl/certs/web.pem", "x", &[]),
        ("/etc/wireguard/wg0.conf", "[Interface]\nPostUp = wg set %i private-key /k\n", &[]),
        ("/etc/systemd/network/wg.netdev", "[WireGuard]\nPrivateKeyFile=x\n", &[]),
    ] {
        check_content(path, content.as_bytes(), expected);
    }
    check("/etc/ssl/private/web.key", &symlink(), b"", &[]);
    check("/etc/ssl/private/web", &directory(0o700, 0, 0), b"", &[]);
}

#[test]
fn tokens() {
    let upper = RANDOM.to_uppercase();
    for (what, begins, length, after) in [
        ("AWS access key", "AKIA", 16, "\n"),
        ("GitHub token", "ghp_", 36, "\""),
        ("GitHub token", "github_pat_", 44, ""),
        ("GitLab token", "glpat-", 20, " "),
        ("Slack token", "xoxb-", 24, ""),
        ("Slack webhook", "hooks.slack.com/services/T", 40, ""),
        ("Stripe key", "sk_live_", 24, ""),
        ("Google API key", "AIza", 35, "&"),
        ("npm token", "npm_", 36, ""),
        ("PyPI token", "pypi-AgEIcHlwaS5vcmc", 50, ""),
        ("Vault token", "hvs.", 24, ""),
        ("Hugging Face token", "hf_", 34, ""),
        ("Docker token", "dckr_pat_", 27, ""),
        ("Anthropic key", "sk-ant-", 90, ""),
        ("OpenAI key", "sk-proj-", 48, ""),
    ] {
        let random = if begins == "AKIA" { &upper } else { RANDOM }.repeat(2);
        let found = |text: String, expected: &[(Lint, &str)]| {
            check_content("/srv/app/settings.py", text.as_bytes(), expected);
        };
        found(format!("token = '{begins}{}{after}", &random[..length]), &[(Credential, what)]);
        found(format!("{begins}{}", &random[..length]), &[(Credential, what)]);
        found(format!("token = '{begins}{}'", &random[..length.min(30) - 15]), &[]);
        found(format!("token = '{begins}{}'", "x".repeat(length)), &[]);
        found(format!("token = '{begins}{}'", &"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123".repeat(4)[..length]), &[]);
        found(format!("some_{begins}{}", &random[..length]), &[]);
        found(begins.to_owned(), &[]);
    }
    check_content("/x", format!("AKIA{}Q", &upper[..16]).as_bytes(), &[]);
    check_content("/x", b"aws_access_key_id = AKIAIOSFODNN7EXAMPLE", &[]);
    check_content("/x", b"token: glpat-your-personal-access-token", &[]);
}

#[test]
fn credentials_by_place() {
    let kept = [(Credential, "where credentials are kept")];
    let password = [(Credential, "password or secret in a configuration")];
    let url = [(Credential, "password in a URL")];
    for (path, content, expected) in [
        ("/root/.netrc", "machine a login b password c", &kept[..]),
        ("/home/a/.aws/credentials", "[default]", &kept),
        ("/root/.docker/config.json", "{\"auths\":{\"a\":{\"auth\":\"eA==\"}}}", &kept),
        ("/root/.kube/config", "users:\n- user:\n    client-key-data: eA==\n", &kept),
        ("/etc/kubernetes/admin.conf", "client-key-data: eA==\n", &kept),
        ("/root/.npmrc", "//r/:_authToken=x", &kept),
        ("/etc/krb5.keytab", "\x05\x02", &[(Credential, "Kerberos keys")]),
        ("/etc/NetworkManager/system-connections/wifi", "psk=x", &password),
        ("/srv/app/.env", "DB_PASSWORD=x", &password),
        ("/etc/apt/auth.conf.d/a.conf", "machine a login b password c", &password),
        ("/etc/apt/sources.list.d/a.list", "deb https://u:p@host/ a main", &url),
        ("/srv/app/.git/config", "url = https://oauth2:p@host/a.git", &url),
        ("/root/.netrc", "", &[]),
        ("/usr/share/doc/netrc", "machine a", &[]),
        ("/root/.docker/config.json", "{\"auths\":{}}", &[]),
        ("/root/.docker/config.json", "{\"credsStore\":\"pass\"}", &[]),
        ("/root/.npmrc", "fund=false", &[]),
        ("/srv/app/.env", "PORT=80", &[]),
        ("/srv/app/.env.example", "DB_PASSWORD=x", &[]),
        ("/etc/apt/sources.list.d/a.list", "deb https://host:8080/a@b a main", &[]),
        ("/etc/apt/sources.list.d/a.list", "deb https://user@host/ a main", &[]),
        ("/root/.config/pip/pip.conf", "index-url = https://u:${TOKEN}@host/", &[]),
        ("/usr/share/doc/a", "deb https://u:p@host/ a main", &[]),
    ] {
        check_content(path, content.as_bytes(), expected);
    }
}

#[test]
fn passwords_of_accounts() {
    let empty = |names: &'static str| [(EmptyPassword, names)];
    let hash = |names: &'static str| [(Credential, names)];
    let many: String = (0..12).map(|index| format!("u{index}::::::::\n")).collect();
    let stock = "root:*:19000:0:99999:7:::\nsys:!:1::::::\nsshd:!*:1::::::\na:!!:1::::::\nb:!$y$j9T$abcdefgh:1::::::\n";
    for (path, content, expected) in [
        ("/etc/shadow", "a:*:1::::::\nroot::19000:0:99999:7:::\n", &empty("no password: root")[..]),
        ("/etc/shadow", &many, &empty("no password: u0, u1, u2, u3, u4, u5, u6, u7 and 4 more")),
        ("/etc/passwd", "toor::0:0::/:/bin/sh\n", &empty("no password: toor")),
        ("/usr/etc/shadow", "root::::::::\n", &empty("no password: root")),
        ("/etc/shadow", "\x1b]0;x::::::::\n", &empty("no password: \\x1b]0;x")),
        ("/etc/shadow", "a:$y$j9T$abcdefgh$ij:1::::::\n", &hash("password hash: a")),
        ("/etc/shadow-", "a:abJnggxhB/yWI:1::::::\n", &hash("password hash: a")),
        ("/etc/gshadow", "g:$6$abcdefgh$ij::\n", &hash("password hash: g")),
        ("/etc/shadow", stock, &[]),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n+::::::\n#a::\n\n", &[]),
        // Lets in nobody but its members.
        ("/etc/gshadow", "root:::\n", &[]),
        ("/etc/group", "root::0:\n", &[]),
        ("/etc/shadow-", "root::::::::\n", &[]),
        ("/srv/etc/shadow", "root::::::::\n", &[]),
        ("/etc/shadow", "root:", &[]),
    ] {
        check_content(path, content.as_bytes(), expected);
    }
    let far = format!("{}root::::::::\n", "daemon:*:19000:0:99999:7:::\n".repeat(2000));
    check_content("/etc/shadow", far.as_bytes(), &empty("no password: root"));
}

#[test]
fn modes_and_capabilities() {
    for (path, entry, expected) in [
        ("/opt/a", file_of(0o4755, 0, 0), &[(Setuid, "setuid, owner 0")][..]),
        ("/opt/a", file_of(0o6755, 7, 8), &[(Setuid, "setuid, owner 7; setgid, group 8")]),
        ("/opt/a", file_of(0o666, 0, 0), &[(WorldWritable, "file, mode 0666")]),
        ("/opt/a", directory(0o777, 0, 0), &[(WorldWritable, "directory, mode 0777")]),
        (
            "/opt/a",
            Entry { node: Node::Fifo, mode: 0o666, ..file(b"") },
            &[(WorldWritable, "pipe, mode 0666")],
        ),
        ("/opt/a", file_of(0o0755, 0, 0), &[]),
        ("/opt/a", file_of(0o664, 0, 5), &[]),
        ("/opt/a", directory(0o1777, 0, 0), &[]),
        // New files in it get its group: no right of a program.
        ("/opt/a", directory(0o6755, 0, 5), &[]),
        ("/opt/a", symlink(), &[]),
        ("/opt/a", Entry { node: Node::Socket, mode: 0o777, ..file(b"") }, &[]),
    ] {
        check(path, &entry, b"", expected);
    }
    let xattrs = vec![(b"security.capability".to_vec(), b"\x01".to_vec())];
    check("/opt/a", &Entry { xattrs, ..file(b"x") }, b"x", &[(Setuid, "file capabilities")]);
    let xattrs = vec![(b"user.a".to_vec(), b"\x01".to_vec())];
    check("/opt/a", &Entry { xattrs, ..file(b"x") }, b"x", &[]);
}

#[test]
fn places_in_path() {
    for (path, entry, detail) in [
        ("/usr/bin/web", file_of(0o775, 0, 50), "program, group 50 may write to it"),
        ("/usr/local/sbin/web", file_of(0o755, 1000, 0), "program, owner 1000 may write to it"),
        ("/usr/local/bin", directory(0o2775, 0, 50), "directory, group 50 may write to it"),
        ("/usr/bin", directory(0o755, 1000, 0), "directory, owner 1000 may write to it"),
        ("/usr", directory(0o775, 0, 0), "directory, group 0 may write to it"),
        ("/", directory(0o755, 1000, 0), "directory, owner 1000 may write to it"),
        ("/bin", directory(0o1777, 0, 0), "directory, anyone may write to it"),
    ] {
        check(path, &entry, b"", &[(WritablePath, detail)]);
    }
    let anyone = [(WorldWritable, "file, mode 0777"), (WritablePath, "program, anyone may write to it")];
    check("/bin/web", &file_of(0o777, 0, 0), b"", &anyone);
    for (path, entry) in [
        ("/usr/bin/web", file_of(0o755, 0, 50)),
        ("/usr/bin/web", symlink()),
        ("/usr/bin", directory(0o755, 0, 0)),
        ("/usr", directory(0o1775, 0, 0)),
        ("/usr/lib/web", file_of(0o775, 1000, 50)),
        ("/usr/bin/lib/web", file_of(0o775, 1000, 50)),
        ("/home/a/bin/web", file_of(0o755, 1000, 1000)),
    ] {
        check(path, &entry, b"", &[]);
    }
}

#[test]
fn devices() {
    let block =
        Entry { node: Node::BlockDevice(Device { major: 1, minor: 3 }), mode: 0o660, ..Entry::empty() };
    check("/dev/mem", &character(1, 1), b"", &[(Device, "character device 1:1, mode 0600")]);
    check("/dev/null", &block, b"", &[(Device, "block device 1:3, mode 0660")]);
    check("/dev/null", &character(1, 1), b"", &[(Device, "character device 1:1, mode 0600")]);
    check("/srv/null", &character(1, 3), b"", &[(Device, "character device 1:3, mode 0600")]);
    check("/dev/null", &character(1, 3), b"", &[]);
    check("/dev/random", &character(1, 8), b"", &[]);
}

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
        "/var/crash/202601/x",
    ] {
        let expected = if path == "/var/crash/202601/x" { 0 } else { 1 };
        let hits = of(&TreePath::new(path).unwrap(), &file(b"x"), b"x");
        assert_eq!(hits.iter().filter(|hit| hit.lint == Leftover).count(), expected, "{path}: {hits:?}");
        assert_eq!(hits.len(), expected, "{path}: {hits:?}");
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

#[test]
fn more_is_read_where_it_counts() {
    for (path, bytes) in [
        ("/etc/shadow", LONG_HEAD_BYTES),
        ("/srv/web.pem", LONG_HEAD_BYTES),
        ("/srv/web.txt", HEAD_BYTES),
        ("/", HEAD_BYTES),
    ] {
        assert_eq!(head_bytes(&TreePath::new(path).unwrap()), bytes, "{path}");
    }
}

#[test]
fn every_lint_has_its_own_name() {
    for lint in Lint::ALL {
        assert_eq!(Lint::named(lint.name()), Some(lint));
        assert!(!lint.describe().is_empty());
    }
}

/// Bytes as secrets have them: what the needles begin with, among anything.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = super::keys::NEEDLES.iter().map(|needle| needle.to_vec()).collect();
    parts.extend(super::credentials::TOKENS.iter().map(|token| token.begins.to_vec()));
    let words =
        ["-----BEGIN ", "-----", "\n", "\\n", "\"private_key\"", BODY, RANDOM, "root:", ":", "://a:b@"];
    parts.extend(words.map(|word| word.as_bytes().to_vec()));
    parts.extend([vec![0x30, 0x82], vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], b"\x7fELF".to_vec()]);
    let part = prop_oneof![prop::sample::select(parts), prop::collection::vec(any::<u8>(), 0..20)];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn whatever_a_file_holds_it_is_looked_at(
        content in bytes(),
        path in prop::sample::select(vec![
            "/", "/etc/shadow", "/etc/machine-id", "/etc/ssh/ssh_host_rsa_key", "/root/.kube/config", "/etc/pip.conf", "/a.pem",
        ]),
        mode in 0_u16..0o10000,
    ) {
        let entry = Entry { mode, ..file(&content) };
        let hits = of(&TreePath::new(path).unwrap(), &entry, &content);
        for (index, hit) in hits.iter().enumerate() {
            prop_assert!(hits[..index].iter().all(|other| other.lint != hit.lint));
            prop_assert!(congruent_protocol::path::plain(hit.detail.as_bytes()).is_some());
            // No detail repeats a secret.
            for secret in [BODY, RANDOM] {
                prop_assert!(!hit.detail.contains(&secret[..8]));
            }
        }
    }
}
