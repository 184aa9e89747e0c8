//! Lint at bake time: what is planted in a tree is told, recorded and denied.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use congruent_tests::program::{Ended, run, succeed};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, debian, tree};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::Value;

/// Every lint, with the path at which [`plant`] plants it.
const PLANTED: [(&str, &str); 10] = [
    ("credential", "/srv/app/settings.py"),
    ("device", "/srv/disk"),
    ("empty-password", "/etc/shadow"),
    ("host-key", "/etc/ssh/ssh_host_ed25519_key"),
    ("leftover", "/root/.bash_history"),
    ("machine-id", "/etc/machine-id"),
    ("private-key", "/srv/app/key.pem"),
    ("setuid", "/srv/app/helper"),
    ("world-writable", "/srv/app/shared"),
    ("writable-path", "/usr/bin/web"),
];

struct Scene {
    sandbox: Sandbox,
    root: PathBuf,
    manifest: PathBuf,
}

impl Scene {
    /// A small tree in which nothing is amiss.
    fn new() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
        tree::small(&root)?;
        fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))?;
        Ok(Self { sandbox, root, manifest })
    }

    fn planted() -> Result<Self> {
        let scene = Self::new()?;
        plant(&scene.root)?;
        Ok(scene)
    }

    fn bake(&self, arguments: &[&str]) -> Result<Ended> {
        run(agent::bake_command(&self.root, &self.manifest)?.args(arguments))
    }

    /// The lint report in the manifest; null where there is none.
    fn report(&self) -> Result<Value> {
        let shown = run(agent::command(&["show", "--format", "json"])?.arg(&self.manifest))?;
        let shown: Value = serde_json::from_slice(&shown.stdout).context(shown.stderr)?;
        Ok(shown["manifest"]["lint"].clone())
    }
}

/// One thing for each lint, as builds leave them.
fn plant(root: &Path) -> Result<()> {
    for folder in ["etc/ssh", "root", "srv/app"] {
        fs::create_dir_all(root.join(folder))?;
    }
    openssl_key(&root.join("srv/app/key.pem"), &[])?;
    openssl_key(&root.join("etc/ssh/ssh_host_ed25519_key"), &[])?;
    for (path, content) in [
        ("srv/app/settings.py", "token = 'ghp_q7Zt2mV9xLr4KbN8wYc3HsD6fGj1PaTe5UoX'\n"),
        ("srv/app/helper", "#!/bin/sh\n"),
        ("srv/app/shared", "anyone's\n"),
        ("etc/shadow", "daemon:*:1::::::\nroot::1::::::\n"),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("root/.bash_history", "apt-get update\n"),
    ] {
        fs::write(root.join(path), content).with_context(|| format!("cannot write {path}"))?;
    }
    fs::set_permissions(root.join("srv/app/helper"), Permissions::from_mode(0o4755))?;
    fs::set_permissions(root.join("srv/app/shared"), Permissions::from_mode(0o666))?;
    chown(root.join("usr/bin/web"), Some(1000), None)?;
    mknodat(CWD, root.join("srv/disk"), FileType::BlockDevice, Mode::from(0o660), makedev(8, 0))?;
    Ok(())
}

fn openssl_key(path: &Path, more: &[&str]) -> Result<()> {
    let path = path.to_str().context("the sandbox has an odd name")?;
    succeed("openssl", ["genpkey", "-algorithm", "ed25519", "-out", path].iter().chain(more))?;
    Ok(())
}

#[test]
fn each_lint_is_told_and_recorded() -> Result<()> {
    let scene = Scene::planted()?;
    let ended = scene.bake(&[])?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("lint: 10 findings"), "{}", ended.stderr);
    let report = scene.report()?;
    let mut told = String::new();
    let shown = run(agent::command(&["show"])?.arg(&scene.manifest))?.text();
    for (lint, path) in PLANTED {
        let one = format!("  {lint:<14} {:>6}", 1);
        assert!(ended.stderr.contains(&one) && ended.stderr.contains(path), "{lint}: {}", ended.stderr);
        assert!(shown.contains(&one), "{lint}: {shown}");
        assert_eq!(report["counts"][lint], 1, "{report}");
        told.push_str(&format!("{lint} {path}\n"));
    }
    let findings = report["findings"].as_array().context("no findings")?;
    let mut recorded: Vec<_> = findings
        .iter()
        .map(|f| format!("{} {}\n", f["lint"].as_str().unwrap_or("?"), f["path"].as_str().unwrap_or("?")))
        .collect();
    recorded.sort();
    assert_eq!(recorded.concat(), told);
    for secret in ["q7Zt2mV9", "MC4CAQ", "apt-get"] {
        assert!(!report.to_string().contains(secret) && !ended.stderr.contains(secret), "{secret} is told");
    }
    Ok(())
}

#[test]
fn nothing_amiss_is_nothing_told() -> Result<()> {
    let scene = Scene::new()?;
    let ended = scene.bake(&["--deny", "all"])?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("lint"), "{}", ended.stderr);
    assert_eq!(scene.report()?, serde_json::json!({ "counts": {}, "findings": [] }));
    Ok(())
}

#[test]
fn what_is_denied_is_not_baked() -> Result<()> {
    let all = PLANTED.map(|(lint, _)| lint);
    let denying: Vec<(Vec<&str>, Vec<&str>)> = all
        .iter()
        .map(|&lint| (vec!["--deny", lint], vec![lint]))
        .chain([(vec!["--deny", "all"], all.to_vec())])
        .chain([(vec!["--deny", "setuid", "--deny", "device"], vec!["setuid", "device"])])
        .collect();
    let scene = Scene::planted()?;
    for (arguments, denied) in denying {
        let before = scene.sandbox.listing()?;
        let ended = scene.bake(&arguments)?;
        assert_eq!((ended.code, &*ended.stdout), (Some(1), &b""[..]), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("not baked, nothing was written"), "{}", ended.stderr);
        for (lint, path) in PLANTED {
            let is_named = ended.stderr.contains(&format!("    {path}  "));
            assert_eq!(is_named, denied.contains(&lint), "{arguments:?} {lint}: {}", ended.stderr);
        }
        assert_eq!(scene.sandbox.listing()?, before, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn every_denied_finding_is_named() -> Result<()> {
    let scene = Scene::new()?;
    for index in 0..30 {
        fs::write(scene.root.join(format!("tmp/{index}")), "left")?;
    }
    let told = scene.bake(&[])?;
    assert!(told.stderr.contains("    and 25 more\n"), "{}", told.stderr);
    let denied = scene.bake(&["--deny", "leftover"])?;
    let named = |index| denied.stderr.contains(&format!("    /tmp/{index}  temporary\n"));
    assert!(denied.code == Some(1) && (0..30).all(named), "{}", denied.stderr);
    Ok(())
}

#[test]
fn what_is_allowed_is_recorded_and_not_denied() -> Result<()> {
    let scene = Scene::planted()?;
    let file = scene.sandbox.write("web.allow", "# keys of the tests\nall:/srv/**\nhost-key:/etc/ssh/*\n")?;
    let file = file.to_str().context("the sandbox has an odd name")?;
    let allow = [
        "--lint-allow-file",
        file,
        "--lint-allow",
        "empty-password:/etc/shadow",
        "--lint-allow",
        "device:/x",
    ];
    let ended = scene
        .bake(&[&allow[..], &["--deny", "setuid", "--deny", "device", "--deny", "host-key"]].concat())?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing was found that device:/x allows"), "{}", ended.stderr);
    let report = scene.report()?;
    assert_eq!(report["counts"], serde_json::json!({ "leftover": 1, "machine-id": 1, "writable-path": 1 }));
    let allowance =
        |lint, path, covered| serde_json::json!({ "lint": lint, "path": path, "covered": covered });
    let allowed = [
        allowance("empty-password", "/etc/shadow", 1),
        allowance("device", "/x", 0),
        allowance("all", "/srv/**", 5),
        allowance("host-key", "/etc/ssh/*", 1),
    ];
    assert_eq!(report["allowed"], serde_json::json!(allowed));
    let ended = scene.bake(&[&allow[..], &["--deny", "all"]].concat())?;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    Ok(())
}

#[test]
fn it_can_be_turned_off() -> Result<()> {
    let scene = Scene::planted()?;
    let ended = scene.bake(&["--no-lint"])?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("lint") && scene.report()?.is_null(), "{}", ended.stderr);
    Ok(())
}

#[test]
fn what_makes_no_sense_is_refused() -> Result<()> {
    let scene = Scene::planted()?;
    let bad = scene.sandbox.write("bad.allow", "setuid:/bin/su\nsuid:/bin/su\n")?;
    let bad = bad.to_str().context("the sandbox has an odd name")?;
    for (arguments, says) in [
        (
            ["--deny", "suid"],
            &["\"suid\"", "private-key, credential, world-writable, setuid", "leftover, and all"][..],
        ),
        (["--lint-allow", "setuid"], &["LINT:GLOB", "setuid:/usr/bin/sudo"]),
        (["--lint-allow", "setuid:bin/su"], &["must start with `/`"]),
        (["--lint-allow-file", bad], &["bad.allow", "line 2", "\"suid\""]),
        (["--lint-allow-file", "/nowhere"], &["/nowhere", "No such file"]),
        (["--no-lint", "--deny=all"], &["--no-lint", "--deny"]),
    ] {
        let ended = scene.bake(&arguments)?;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        for word in says {
            assert!(ended.stderr.contains(word), "{arguments:?}: {word:?} is not in: {}", ended.stderr);
        }
        assert!(!scene.manifest.exists(), "{arguments:?}");
    }
    Ok(())
}

/// The forms in which OpenSSL writes keys.
#[test]
fn keys_by_openssl_are_found() -> Result<()> {
    let scene = Scene::new()?;
    let root = scene.root.clone();
    let at = |name: &str| root.join("etc").join(name);
    let words = ["-pass", "pass:secret"];
    openssl_key(&at("ed25519.txt"), &[])?;
    openssl_key(&at("ed25519.der"), &["-outform", "DER"])?;
    openssl_key(&at("encrypted.txt"), &[&["-aes-256-cbc"][..], &words].concat())?;
    for (name, arguments) in [
        ("rsa-1.txt", &["genrsa", "-traditional", "2048"][..]),
        ("rsa-8.txt", &["genrsa", "2048"]),
        ("rsa-encrypted.txt", &["genrsa", "-traditional", "-aes128", "-passout", "pass:secret", "2048"]),
        ("ec.txt", &["ecparam", "-name", "prime256v1", "-genkey"]),
    ] {
        fs::write(at(name), succeed("openssl", arguments)?.stdout)?;
    }
    for (name, from, arguments) in [
        ("rsa.der", "rsa-1.txt", &["rsa", "-traditional", "-outform", "DER"][..]),
        ("ec.der", "ec.txt", &["ec", "-outform", "DER"]),
        ("public.txt", "rsa-1.txt", &["rsa", "-pubout"]),
        ("public.der", "ed25519.txt", &["pkey", "-pubout", "-outform", "DER"]),
    ] {
        let input = at(from);
        let input = ["-in", input.to_str().context("the sandbox has an odd name")?];
        fs::write(at(name), succeed("openssl", arguments.iter().chain(&input))?.stdout)?;
    }
    scene.bake(&[])?;
    let report = scene.report()?;
    let findings = report["findings"].as_array().context("no findings")?;
    let mut found: Vec<_> = findings
        .iter()
        .map(|f| format!("{} {}", f["path"].as_str().unwrap_or("?"), f["detail"].as_str().unwrap_or("?")))
        .collect();
    found.sort();
    let expected = [
        "/etc/ec.der private key in DER",
        "/etc/ec.txt private key in PEM",
        "/etc/ed25519.der private key in DER",
        "/etc/ed25519.txt private key in PEM",
        "/etc/encrypted.txt private key in PEM, encrypted",
        "/etc/rsa-1.txt private key in PEM",
        "/etc/rsa-8.txt private key in PEM",
        "/etc/rsa-encrypted.txt private key in PEM, encrypted",
        "/etc/rsa.der private key in DER",
    ];
    assert_eq!(found, expected);
    Ok(())
}

/// What Debian ships has nothing that its allowances do not name.
#[test]
fn a_real_debian_has_no_false_findings() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let allow = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/lint/debian.allow");
    let mut bake = agent::bake_command(debian::root()?, &sandbox.path("web.manifest"))?;
    bake.args(["--deny", "all", "--lint-allow"]).arg(format!("all:/{}/**", debian::EXTRAS));
    let ended = run(bake.arg("--lint-allow-file").arg(allow))?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    Ok(())
}
