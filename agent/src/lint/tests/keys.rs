//! Private keys, and what speaks of them.

use super::super::HEAD_BYTES;
use super::super::Lint::PrivateKey;
use super::super::testing::{check, check_content, directory, symlink};
use super::{BODY, OPENSSH, OPENSSH_ENCRYPTED, RANDOM, pem};

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
