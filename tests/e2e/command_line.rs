//! `congruent` as it is typed: keys, signatures, trust, output, exit codes.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use congruent_protocol::verification::State;
use congruent_tests::program::{Ended, run, succeed};
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use congruent_tests::{agent, tree};
use serde_json::Value;

/// A small tree, baked.
struct Scene {
    sandbox: Sandbox,
    root: PathBuf,
    keys: KeyFiles,
    manifest: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
        tree::small(&root)?;
        let keys = sandbox.keygen("key")?;
        agent::bake(&root, None, &keys, &manifest)?;
        Ok(Self { sandbox, root, keys, manifest })
    }

    fn verify(&self) -> Result<Ended> {
        agent::verify(&self.manifest, &self.keys.public, &self.root)
    }

    fn verify_with(&self, manifest: &Path, trust: &[&str]) -> Result<Ended> {
        let mut verify = agent::command(&["verify", "--manifest"])?;
        run(verify.arg(manifest).arg("--root").arg(&self.root).args(trust))
    }

    /// The output of `congruent show` with these arguments.
    fn show(&self, arguments: &[&str]) -> Result<Ended> {
        run(agent::command(&["show"])?.arg(&self.manifest).args(arguments))
    }
}

#[test]
fn what_was_baked_is_congruent_and_a_change_is_not() -> Result<()> {
    let scene = Scene::new()?;
    let before = scene.verify()?;
    assert_eq!((before.code, agent::verification(&before)?.state), (Some(0), State::Congruent));
    fs::write(scene.root.join("etc/passwd"), "root::0:0::/:/bin/sh\n")?;
    let after = scene.verify()?;
    assert_eq!((after.code, agent::verification(&after)?.state), (Some(1), State::Divergent));
    let text = scene.verify_with(&scene.manifest, &["--insecure-unsigned"])?;
    assert_eq!(text.code, Some(1));
    for says in ["divergent: web 1.4.2", "modified     /etc/passwd", "content", "size 30 → 21"] {
        assert!(text.text().contains(says), "{says:?} is not in: {}", text.text());
    }
    Ok(())
}

#[test]
fn equal_trees_have_equal_roots_whatever_their_times_and_inodes() -> Result<()> {
    let scene = Scene::new()?;
    let (other, manifest) = (scene.sandbox.path("other"), scene.sandbox.path("other.manifest"));
    tree::small(&other)?;
    agent::bake(&other, None, &scene.keys, &manifest)?;
    let root = |manifest: &Path| -> Result<Value> {
        let shown = run(agent::command(&["show", "--format", "json"])?.arg(manifest))?;
        let shown: Value = serde_json::from_slice(&shown.stdout).context(shown.stderr)?;
        Ok(shown["manifest"]["root"].clone())
    };
    let (ours, others) = (root(&scene.manifest)?, root(&manifest)?);
    assert!(ours.as_str().is_some_and(|root| root.starts_with("blake3:")), "{ours}");
    assert_eq!(ours, others);
    Ok(())
}

/// An agent may be reading the manifest that is baked anew.
#[test]
fn an_earlier_manifest_is_replaced_whole() -> Result<()> {
    let scene = Scene::new()?;
    let (before, mut reader) = (fs::read(&scene.manifest)?, File::open(&scene.manifest)?);
    fs::write(scene.root.join("etc/passwd"), "")?;
    agent::bake(&scene.root, None, &scene.keys, &scene.manifest)?;
    let mut seen = Vec::new();
    reader.read_to_end(&mut seen)?;
    assert_eq!(seen, before, "who had the earlier manifest open sees another");
    assert_ne!(fs::read(&scene.manifest)?, before);
    Ok(())
}

#[test]
fn trust_is_asked_for() -> Result<()> {
    let scene = Scene::new()?;
    let unsigned = scene.sandbox.path("unsigned.manifest");
    let baked = run(&mut agent::bake_command(&scene.root, &unsigned)?)?;
    assert_eq!(baked.code, Some(0), "{}", baked.stderr);
    assert!(baked.stderr.contains("NOT signed"), "{}", baked.stderr);
    let key = scene.keys.public.to_string_lossy().into_owned();
    let stranger = scene.sandbox.openssl_key("stranger")?.public.to_string_lossy().into_owned();
    let trust =
        |keys: &[&str]| keys.iter().flat_map(|key| ["--trust".to_owned(), (*key).to_owned()]).collect();
    let insecure = vec!["--insecure-unsigned".to_owned()];
    let cases: [(&Path, Vec<String>, i32, &str); 8] = [
        (&scene.manifest, trust(&[&key]), 0, ""),
        (&scene.manifest, trust(&[&stranger, &key]), 0, ""),
        (&scene.manifest, insecure.clone(), 0, ""),
        (&unsigned, insecure, 0, ""),
        (&scene.manifest, Vec::new(), 2, "--insecure-unsigned"),
        (&unsigned, trust(&[&key]), 2, "not signed"),
        (&scene.manifest, trust(&[&stranger]), 2, "no trusted key signed this manifest"),
        (
            &scene.manifest,
            [trust(&[&key]), vec!["--insecure-unsigned".into()]].concat(),
            2,
            "cannot be used with",
        ),
    ];
    for (manifest, arguments, code, says) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = scene.verify_with(manifest, &arguments)?;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout.is_empty(), code == 2, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn keys_are_openssls_both_ways() -> Result<()> {
    let scene = Scene::new()?;
    let mode = fs::metadata(&scene.keys.secret)?.permissions().mode();
    assert_eq!(mode & 0o7777, 0o600, "the private key is not private");
    let secret = scene.keys.secret.as_os_str();
    let exported =
        succeed("openssl", ["pkey", "-pubout", "-in"].map(AsRef::as_ref).into_iter().chain([secret]))?;
    assert_eq!(exported.text(), fs::read_to_string(&scene.keys.public)?);

    let openssl = scene.sandbox.openssl_key("openssl")?;
    let manifest = scene.sandbox.path("openssl.manifest");
    agent::bake(&scene.root, None, &openssl, &manifest)?;
    assert_eq!(agent::verify(&manifest, &openssl.public, &scene.root)?.code, Some(0));

    let before = fs::read(&scene.keys.secret)?;
    let again = run(agent::command(&["keygen", "--output"])?.arg(&scene.keys.secret))?;
    assert_eq!(again.code, Some(2), "a key was overwritten");
    assert_eq!(fs::read(&scene.keys.secret)?, before);
    Ok(())
}

#[test]
fn show_explains_and_lists() -> Result<()> {
    let scene = Scene::new()?;
    let text = scene.show(&["--entries"])?;
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    for says in ["web", "1.4.2", "blake3:", "/usr/bin/web", "/tmp/**", "ephemeral", "/proc", "sha256:"] {
        assert!(text.text().contains(says), "{says:?} is not in: {}", text.text());
    }
    let json: Value = serde_json::from_slice(&scene.show(&["--format", "json"])?.stdout)?;
    assert_eq!(json["schema_version"], 1);
    Ok(())
}

#[test]
fn a_closed_pipe_is_no_error() -> Result<()> {
    let scene = Scene::new()?;
    for index in 0..5000 {
        fs::write(scene.root.join(format!("var/log/a-file-with-a-rather-long-name-{index}")), "")?;
    }
    agent::bake(&scene.root, None, &scene.keys, &scene.manifest)?;
    let mut show = agent::command(&["show", "--entries"])?;
    let mut child = show.arg(&scene.manifest).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Reads a little, then walks away, as `head` does.
    child.stdout.take().context("no stdout")?.read_exact(&mut [0; 100])?;
    let output = child.wait_with_output()?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn hostile_names_reach_no_terminal() -> Result<()> {
    let scene = Scene::new()?;
    for name in ["a\nb", "c\x1b]0;owned\x07", "d\u{202e}e"] {
        fs::write(scene.root.join(name), "")?;
        symlink(name, scene.root.join(format!("link to {name}")))?;
    }
    let found = scene.verify_with(&scene.manifest, &["--insecure-unsigned"])?;
    assert_eq!(found.code, Some(1));
    agent::bake(&scene.root, None, &scene.keys, &scene.manifest)?;
    let listed = scene.show(&["--entries"])?;
    for text in [found.text(), listed.text()] {
        let bad = text.chars().find(|&c| (c.is_control() && c != '\n') || c == '\u{202e}');
        assert_eq!(bad, None, "{text:?}");
        assert!(text.contains(r"/a\x0ab") && text.contains(r"/c\x1b]0;owned\x07"), "{text}");
    }
    Ok(())
}

#[test]
fn every_command_explains_itself() -> Result<()> {
    for command in ["bake", "verify", "show", "keygen", "agent"] {
        let help = run(&mut agent::command(&[command, "--help"])?)?;
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{command}");
        assert!(help.text().contains("Usage: congruent"), "{}", help.text());
        let wrong = run(&mut agent::command(&[command, "--no-such-option"])?)?;
        assert_eq!((wrong.code, wrong.stdout.len()), (Some(2), 0), "{command}");
    }
    Ok(())
}
