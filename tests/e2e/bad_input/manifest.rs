//! Manifests that are not what they should be.

use std::fs;
use std::path::Path;

use anyhow::Result;
use congruent_protocol::key::PublicKey;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, tree};

use super::check_refusal;

#[test]
fn broken_manifests_are_refused() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
    tree::small(&root)?;
    let keys = sandbox.keygen("key")?;
    agent::bake(&root, None, &keys, &manifest)?;
    let whole = fs::read(&manifest)?;
    let altered = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        bytes
    };
    let payload = whole.windows(9).position(|window| window == b"\"payload\"").unwrap_or_default();
    let cases: [(&str, Vec<u8>, &[&str]); 10] = [
        ("cut in its first line", whole[..10].to_vec(), &["truncated in its first line"]),
        ("cut in its envelope", whole[..200].to_vec(), &["truncated in its envelope", "bake it again"]),
        ("cut in its entries", whole[..whole.len() - 40].to_vec(), &["truncated in its entries"]),
        ("longer than it says", [&whole[..], b"#"].concat(), &["1 bytes after its end"]),
        ("altered in its payload", altered(payload + 200), &["altered after it was signed", "sha256:"]),
        ("altered in its entries", altered(whole.len() - 30), &["the manifest's entr"]),
        ("of another program", b"\x7fELF and so on".to_vec(), &["not a congruent manifest"]),
        ("empty", Vec::new(), &["not a congruent manifest"]),
        (
            "of a later version",
            [b"congruent-manifest 3\n", &whole[21..]].concat(),
            &["format version 3", "reads version 2", "upgrade"],
        ),
        ("of an endless first line", vec![b'c'; 1 << 20], &["not a congruent manifest"]),
    ];
    for (what, bytes, says) in cases {
        let broken = sandbox.write("broken.manifest", &bytes)?;
        check_refusal(what, &agent::verify(&broken, &keys.public, &root)?, says);
        let name = broken.to_string_lossy().into_owned();
        check_refusal(what, &agent::verify(&broken, &keys.public, &root)?, &[&name]);
        assert_eq!(fs::read(&broken)?, bytes, "{what}: the file was changed");
    }
    Ok(())
}

#[test]
fn an_untrusted_key_is_named_by_its_fingerprint() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
    tree::small(&root)?;
    let (ours, theirs) = (sandbox.openssl_key("ours")?, sandbox.openssl_key("theirs")?);
    agent::bake(&root, None, &theirs, &manifest)?;
    let fingerprint = |path: &Path| -> Result<String> {
        Ok(PublicKey::from_pem(&fs::read_to_string(path)?)?.id().to_string())
    };
    let says = [fingerprint(&theirs.public)?, fingerprint(&ours.public)?];
    let ended = agent::verify(&manifest, &ours.public, &root)?;
    check_refusal("a stranger's manifest", &ended, &says.each_ref().map(String::as_str));
    Ok(())
}

#[test]
fn what_is_not_there_is_named() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
    tree::small(&root)?;
    let keys = sandbox.keygen("key")?;
    agent::bake(&root, None, &keys, &manifest)?;
    let missing = sandbox.path("missing");
    let file = root.join("etc/passwd");
    for (what, manifest, key, root, says) in [
        ("no root", &manifest, &keys.public, &missing, &["missing", "No such file"][..]),
        ("a file as root", &manifest, &keys.public, &file, &["etc/passwd", "is not a directory"]),
        ("no manifest", &missing, &keys.public, &root, &["missing", "No such file"]),
        ("a directory as manifest", &root, &keys.public, &root, &["is not a regular file"]),
        ("no key", &manifest, &missing, &root, &["missing", "No such file"]),
        ("a private key as public", &manifest, &keys.secret, &root, &["not an Ed25519 public key"]),
    ] {
        check_refusal(what, &agent::verify(manifest, key, root)?, says);
    }
    Ok(())
}
