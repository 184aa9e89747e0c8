//! Envelope and statement, read by securesystemslib and in-toto's own bindings.

use std::ffi::OsStr;
use std::fs;

use anyhow::{Context, Result};
use congruent_tests::scene::Scene;
use congruent_tests::{agent, peer};
use serde_json::Value;

/// The layout is in `protocol/FORMAT.md`: a line, a length, the envelope.
fn envelope(manifest: &[u8]) -> Result<&[u8]> {
    let line = manifest.iter().position(|&byte| byte == b'\n').context("no first line")? + 1;
    let length = manifest[line..].first_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
    Ok(&manifest[line + 4..][..length])
}

#[test]
fn as_many_as_must_have_signed() -> Result<()> {
    let scene = Scene::new()?;
    let (second, stranger) = (scene.sandbox.openssl_key("b")?, scene.sandbox.openssl_key("c")?);
    let [first, second_key, stranger] =
        [&scene.keys, &second, &stranger].map(|keys| keys.public.as_os_str().to_owned());
    let ask = |threshold: &str, keys: &[&OsStr], envelope: &[u8]| {
        peer::ask("dsse.py", &[&[OsStr::new(threshold)], keys].concat(), envelope)
    };
    let once = fs::read(&scene.manifest)?;
    scene.succeed(&["sign", "--key"], &[&second.secret, &scene.manifest])?;
    let twice = fs::read(&scene.manifest)?;

    for (what, manifest, threshold, keys, accepted) in [
        ("one signature", &once, "1", &[&*first][..], true),
        ("a stranger's key beside", &once, "1", &[&*first, &*stranger], true),
        ("another's key", &once, "1", &[&*stranger], false),
        ("one of two", &once, "2", &[&*first, &*second_key], false),
        ("two of two", &twice, "2", &[&*first, &*second_key], true),
        ("two of three", &twice, "2", &[&*first, &*second_key, &*stranger], true),
        ("two, of which one is trusted", &twice, "2", &[&*first, &*stranger], false),
    ] {
        let answer = ask(threshold, keys, envelope(manifest)?);
        assert_eq!(answer.is_ok(), accepted, "{what}: {answer:?}");
    }

    let payload = ask("2", &[&first, &second_key], envelope(&twice)?)?;
    let statement: Value = serde_json::from_slice(&payload)?;
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["subject"][0]["name"], agent::BAKED.0);
    let mut altered: Value = serde_json::from_slice(envelope(&twice)?)?;
    altered["payload"] = data_encoding::BASE64.encode(&[&payload[..], b" "].concat()).into();
    let refused = ask("1", &[&first, &second_key], altered.to_string().as_bytes());
    assert!(refused.is_err(), "the peer takes any envelope, so it proves nothing");
    Ok(())
}
