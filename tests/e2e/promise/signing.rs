//! Several signatures, keys that live elsewhere, thresholds, expiry, revocation,
//! and the floor that no contract may loosen.

use std::fs;
use std::path::Path;

use anyhow::Result;
use congruent_tests::program::{run, succeed};
use congruent_tests::scene::Scene;
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{agent, peer};

use crate::bad_input::check_refusal;

const TWO_OF_THREE: &str =
    "[[signers]]\nname = 'web*'\nkeys = ['key.pub.pem', 'b.pub.pem', 'c.pub.pem']\nthreshold = 2\n";

#[test]
fn as_many_must_sign_as_the_trust_configuration_says() -> Result<()> {
    let scene = Scene::new()?;
    let second = scene.sandbox.openssl_key("b")?;
    scene.sandbox.openssl_key("c")?;
    let config = scene.sandbox.write("trust.toml", TWO_OF_THREE)?;
    let verify = || scene.verify(["--trust-config".as_ref(), config.as_os_str()]);
    check_refusal("one signature", &verify()?, &["1 of the keys", "2 must", "`congruent sign`"]);

    scene.succeed(&["sign", "--key"], &[&second.secret, &scene.manifest])?;
    let signed = verify()?;
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    assert_eq!(agent::verification(&signed)?.manifest.signed_by.len(), 2);

    let again = run(agent::command(&["sign", "--key"])?.arg(&second.secret).arg(&scene.manifest))?;
    check_refusal("signed twice by one key", &again, &["is signed by sha256:", "already"]);
    for (what, config, says) in [
        (
            "a key twice",
            TWO_OF_THREE.replace("b.pub.pem", "key.pub.pem").replace(", 'c.pub.pem'", ""),
            "cannot be met: 1 different keys",
        ),
        ("another name", TWO_OF_THREE.replace("web*", "db"), "no key is trusted for manifests named \"web\""),
        ("no such key file", TWO_OF_THREE.replace("c.pub", "d.pub"), "d.pub.pem"),
    ] {
        scene.sandbox.write("trust.toml", config)?;
        check_refusal(what, &verify()?, &["trust", says]);
    }
    Ok(())
}

#[test]
fn a_key_may_live_elsewhere() -> Result<()> {
    let scene = Scene::unbaked()?;
    assert_eq!(scene.bake::<&str>([])?.code, Some(0));
    let elsewhere = scene.sandbox.openssl_key("elsewhere")?;
    let (message, signature) = (scene.sandbox.path("message"), scene.sandbox.path("signature"));
    scene.succeed(&["sign", "--export"], &[&message, &scene.manifest])?;
    let mut openssl: Vec<&std::ffi::OsStr> =
        ["pkeyutl", "-sign", "-rawin", "-inkey"].map(AsRef::as_ref).to_vec();
    openssl.extend([elsewhere.secret.as_os_str(), "-in".as_ref(), message.as_os_str()]);
    openssl.extend(["-out".as_ref(), signature.as_os_str()]);
    succeed("openssl", openssl)?;
    let add = |public: &Path, signature: &Path| {
        let mut sign = agent::command(&["sign", "--public"])?;
        run(sign.arg(public).arg("--signature").arg(signature).arg(&scene.manifest))
    };
    check_refusal("of another key", &add(&scene.keys.public, &signature)?, &["not a signature of the key"]);
    assert_eq!(add(&elsewhere.public, &signature)?.code, Some(0));
    let verified = scene.verify(["--trust".as_ref(), elsewhere.public.as_os_str()])?;
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);

    let envelope = scene.sandbox.write("envelope.json", envelope(&fs::read(&scene.manifest)?))?;
    peer::ask("dsse.py", &["1".as_ref(), elsewhere.public.as_os_str()], &fs::read(envelope)?)?;
    Ok(())
}

/// The envelope in a manifest, by `FORMAT.md`.
fn envelope(manifest: &[u8]) -> &[u8] {
    let start = b"congruent-manifest 2\n".len();
    let length = u32::from_le_bytes(manifest[start..start + 4].try_into().expect("four bytes"));
    &manifest[start + 4..start + 4 + length as usize]
}

#[test]
fn what_has_expired_or_was_revoked_is_not_accepted() -> Result<()> {
    let scene = Scene::unbaked()?;
    let key = scene.keys.secret.to_string_lossy().into_owned();
    for (what, expires, says) in
        [("no time", "soon", "neither a time"), ("the past", "-1d", "is not in the future")]
    {
        check_refusal(
            what,
            &scene.bake(["--key", &key, &format!("--expires={expires}")])?,
            &["--expires", says],
        );
    }
    assert_eq!(scene.bake(["--key", &key, "--expires", "1s"])?.code, Some(0));
    let trust = || scene.verify(["--trust".as_ref(), scene.keys.public.as_os_str()]);
    let expired = wait_for("the manifest to expire", PATIENCE, || {
        let ended = trust()?;
        Ok((ended.code == Some(2)).then_some(ended))
    })?;
    check_refusal("expired", &expired, &["web 1.4.2 expired at 20", "bake or sign a newer one"]);
    check_refusal("expired, unsigned", &scene.verify(["--insecure-unsigned"])?, &["expired at"]);

    assert_eq!(
        scene.bake(["--key", &key, "--expires", "90d", "--owner", "team web", "--ticket", "CHG-7"])?.code,
        Some(0)
    );
    let verification = agent::verification(&trust()?)?;
    let shown = scene.succeed(&["show"], &[&scene.manifest])?.text();
    for says in ["expires    20", "owner      team web", "ticket     CHG-7"] {
        assert!(shown.contains(says), "{says} is not in {shown}");
    }
    let signers = "[[signers]]\nname = '*'\nkeys = ['key.pub.pem']\n[revoked]\n";
    for (what, revoked, says) in [
        ("the manifest", format!("manifests = ['{}']", verification.manifest.root), "is revoked"),
        ("the key", format!("keys = ['{}']", verification.manifest.signed_by[0]), "no trusted key signed"),
    ] {
        let config = scene.sandbox.write("trust.toml", format!("{signers}{revoked}"))?;
        check_refusal(what, &scene.verify(["--trust-config".as_ref(), config.as_os_str()])?, &[says]);
    }
    Ok(())
}

#[test]
fn no_contract_opens_the_floor() -> Result<()> {
    let scene = Scene::under("[[rule]]\npath = '/usr/share/**'\nclass = 'ephemeral'\n")?;
    let trust = ["--trust".as_ref(), scene.keys.public.as_os_str()];
    let says = ["loosens the floor: rule 4 makes `/usr/share/**` ephemeral", "for instance /usr/share/a"];
    check_refusal("a loose contract", &scene.verify(trust)?, &says);
    let signers = "[[signers]]\nname = '*'\nkeys = ['key.pub.pem']\n";
    for (floor, code) in [("['/etc']", 0), ("['/etc', '/us*']", 2), ("[]", 0)] {
        let config = scene.sandbox.write("trust.toml", format!("floor = {floor}\n{signers}"))?;
        let verified = scene.verify(["--trust-config".as_ref(), config.as_os_str()])?;
        assert_eq!(verified.code, Some(code), "{floor}: {}", verified.stderr);
    }
    let verification = agent::verification(&scene.verify(["--insecure-unsigned"])?)?;
    assert!(verification.protected.entries < verification.protected.of);
    Ok(())
}

#[test]
fn everything_can_be_sha256() -> Result<()> {
    let scene = Scene::unbaked()?;
    let key = scene.keys.secret.to_string_lossy().into_owned();
    assert_eq!(scene.bake(["--key", &key, "--digest", "sha256"])?.code, Some(0));
    let verification = scene.verification::<&str>([])?;
    assert!(verification.findings.is_empty() && verification.baked_root.to_string().starts_with("sha256:"));
    let shown = scene.succeed(&["show", "--entries", "--format", "json"], &[&scene.manifest])?.text();
    assert!(!shown.contains("blake3:"), "{shown}");
    fs::write(scene.root.join("usr/bin/web"), "changed")?;
    assert_eq!(super::found(&scene.verification::<&str>([])?), ["modified /usr/bin/web content size"]);
    Ok(())
}
