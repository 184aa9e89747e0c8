//! Manifests that are not what they should be.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;
use congruent_protocol::key::{PublicKey, SecretKey};
use congruent_protocol::manifest::{Manifest, Predicate, write_manifest};
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

/// Whoever holds a key can state what the entries are not.
#[test]
fn a_statement_that_its_own_entries_refute_is_refused() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let keys = sandbox.keygen("key")?;
    let (root, other_root) = (sandbox.path("root"), sandbox.path("other"));
    for root in [&root, &other_root] {
        tree::small(root)?;
        fs::create_dir(root.join("etc/congruent"))?;
        fs::write(root.join("etc/congruent/db.manifest"), "of another image")?;
    }
    fs::write(other_root.join("etc/motd"), "other")?;
    let (manifest, other) = (sandbox.path("web.manifest"), sandbox.path("other.manifest"));
    agent::bake(&root, None, &keys, &manifest)?;
    agent::bake(&other_root, None, &keys, &other)?;
    let other = Manifest::read_unchecked(&mut File::open(&other)?)?.predicate().root;
    let reserved_for_db = Predicate::reserved_for("db")?.to_vec();
    let cases: [(&str, Alter<'_>, &[&str]); 2] = [
        ("of another root", &|predicate| predicate.root = other, &["have the tree root", "stated is"]),
        (
            "with an entry in a place that it reserves",
            &|predicate| {
                predicate.name = "db".to_owned();
                predicate.reserved.clone_from(&reserved_for_db);
            },
            &["/etc/congruent/db.manifest", "reserves"],
        ),
    ];
    let lying = sandbox.path("lying.manifest");
    for (what, alter, says) in cases {
        restate(&manifest, &keys.secret, alter, &lying)?;
        // The other one is where the observed root is the stated one.
        for root in [&root, &other_root] {
            check_refusal(what, &agent::verify(&lying, &keys.public, root)?, says);
        }
    }
    Ok(())
}

/// Makes a statement say something else.
type Alter<'a> = &'a dyn Fn(&mut Predicate);

/// Signs the entries of a manifest under another statement.
fn restate(manifest: &Path, key: &Path, alter: Alter<'_>, into: &Path) -> Result<()> {
    let mut file = File::open(manifest)?;
    let honest = Manifest::read_unchecked(&mut file)?;
    let mut predicate = honest.predicate().clone();
    alter(&mut predicate);
    let key = SecretKey::from_pem(&fs::read_to_string(key)?)?;
    let section = honest.section(&file)?;
    write_manifest(&mut File::create(into)?, predicate, &[key], vec![section])?;
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
