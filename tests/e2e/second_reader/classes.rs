//! Every class under every kind of terms, with every way to change a path: one
//! tree with a folder for each pair, held by both; then again against a ledger.

use std::ffi::OsStr;
use std::fs::{self, FileTimes, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use congruent_protocol::drift::HeldTo;
use congruent_protocol::verification::Verification;
use congruent_tests::agent;
use congruent_tests::program::run;
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, removexattr, setxattr};

use super::agree;

const CLASSES: [&str; 7] =
    ["immutable", "append-only", "create-only", "pinned", "rotating", "add-on", "ephemeral"];

/// What else a rule may say; nothing is forbidden where all is immutable.
const TERMS: [(&str, &str); 6] = [
    ("plain", ""),
    ("forbid", "forbid = ['exec', 'setuid', 'device']"),
    ("mtime", "mtime = true"),
    ("wide", "xattrs = ['trusted.*', 'security.selinux']"),
    ("narrow", "ignore-xattrs = ['user.*', 'system.*']"),
    ("all", "forbid = ['setuid']\nmtime = true\nxattrs = ['trusted.note']\nsensitive = true"),
];

/// `security.capability` of revision 2: CAP_NET_BIND_SERVICE, permitted and effective.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// A POSIX ACL: `user::rw-,user:7:r--,group::r--,mask::r--,other::r--`.
const ACL: &[u8] =
    b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\x07\0\0\0\x04\0\x04\0\xff\xff\xff\xff\
                     \x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";

/// Baked as what a rule may forbid.
const PROGRAM: &str = "grown-program";

type Change = fn(&Path) -> Result<()>;

/// Files that are baked, and what becomes of each.
const CHANGES: [(&str, Change); 22] = [
    ("same", |_| Ok(())),
    ("grown", |path| append(path, "more\n")),
    (PROGRAM, |path| append(path, "more\n")),
    ("cut", |path| rewrite(path, "b")),
    ("rewritten", |path| rewrite(path, "other\n")),
    ("grown-otherwise", |path| rewrite(path, "other\nmore\n")),
    ("closed", |path| mode(path, 0o600)),
    ("executable", |path| mode(path, 0o755)),
    ("setgid", |path| mode(path, 0o2644)),
    ("owned", |path| Ok(chown(path, Some(5), Some(6))?)),
    ("noted", |path| note(path, "user.note", b"1")),
    ("trusted", |path| note(path, "trusted.note", b"1")),
    ("overlaid", |path| note(path, "trusted.overlay.note", b"1")),
    ("capable", |path| note(path, "security.capability", CAPABILITY)),
    ("shared", |path| note(path, "system.posix_acl_access", ACL)),
    ("unmarked", |path| Ok(removexattr(path, "user.mark")?)),
    ("touched", touch),
    ("gone", |path| Ok(fs::remove_file(path)?)),
    ("a-folder", |path| replace(path, make_folder)),
    ("a-link", |path| replace(path, make_link)),
    ("a-device", |path| replace(path, make_device)),
    ("a-\u{fffd}\\\n\u{1}name", |path| rewrite(path, "odd\n")),
];

/// What is there later, and was not baked.
const ADDITIONS: [(&str, Change); 8] = [
    ("new", |path| rewrite(path, "new\n")),
    ("new-closed", |path| rewrite(path, "new\n").and_then(|()| mode(path, 0o600))),
    ("new-executable", |path| rewrite(path, "new\n").and_then(|()| mode(path, 0o4755))),
    ("new-folder", make_folder),
    ("new-link", make_link),
    ("new-device", make_device),
    ("new-noted", |path| rewrite(path, "").and_then(|()| note(path, "trusted.note", b"1"))),
    ("new-gone", |path| rewrite(path, "")),
];

/// What becomes of some of it after first values were recorded.
const LATER: [(&str, Change); 11] = [
    ("grown", |path| append(path, "and more\n")),
    // As it was baked, which contradicts its first value.
    ("rewritten", |path| rewrite(path, "baked\n")),
    ("noted", |path| note(path, "user.note", b"2")),
    ("touched", touch),
    ("new", |path| rewrite(path, "newer\n")),
    ("new-closed", |path| mode(path, 0o640)),
    ("new-folder", |path| Ok(fs::remove_file(path.join("inner"))?)),
    ("new-link", |path| replace(path, make_device)),
    ("new-noted", |path| note(path, "trusted.note", b"2")),
    ("new-gone", |path| Ok(fs::remove_file(path)?)),
    ("a-folder", |path| Ok(fs::remove_dir_all(path)?)),
];

fn append(path: &Path, text: &str) -> Result<()> {
    Ok(fs::OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())?)
}

fn rewrite(path: &Path, text: &str) -> Result<()> {
    Ok(fs::write(path, text)?)
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

fn note(path: &Path, name: &str, value: &[u8]) -> Result<()> {
    setxattr(path, name, value, XattrFlags::empty()).with_context(|| format!("cannot set {name}"))
}

fn touch(path: &Path) -> Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    let modified = file.metadata()?.modified()? + Duration::from_secs(5);
    Ok(file.set_times(FileTimes::new().set_modified(modified))?)
}

fn replace(path: &Path, make: Change) -> Result<()> {
    fs::remove_file(path)?;
    make(path)
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir(path)?;
    note(path, "system.posix_acl_default", ACL)?;
    rewrite(&path.join("inner"), "inner\n")
}

fn make_link(path: &Path) -> Result<()> {
    Ok(symlink("to/no\nwhere", path)?)
}

fn make_device(path: &Path) -> Result<()> {
    Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3))?)
}

/// A folder for each pair of class and terms, and the contract that says so.
fn plant(root: &Path) -> Result<(Vec<PathBuf>, String)> {
    let (mut folders, mut contract) = (Vec::new(), String::new());
    let long_ago = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 7));
    for class in CLASSES {
        for (name, terms) in TERMS {
            if class == "immutable" && terms.contains("forbid") {
                continue;
            }
            let folder = root.join(format!("{class}-{name}"));
            fs::create_dir_all(&folder)?;
            contract += &format!("[[rule]]\npath = '/{class}-{name}/**'\nclass = '{class}'\n{terms}\n");
            for (file, _) in CHANGES {
                let path = folder.join(file);
                rewrite(&path, "baked\n")?;
                fs::File::options().write(true).open(&path)?.set_times(long_ago)?;
                note(&path, "user.mark", b"0")?;
                mode(&path, if file == PROGRAM { 0o755 } else { 0o644 })?;
            }
            folders.push(folder);
        }
    }
    Ok((folders, contract))
}

fn change(folders: &[PathBuf], changes: &[(&str, Change)]) -> Result<()> {
    for folder in folders {
        for (name, change) in changes {
            let path = folder.join(name);
            change(&path).with_context(|| format!("{name} in {}", folder.display()))?;
        }
    }
    Ok(())
}

/// What the tree is held to, and the manifest that says it.
struct Baked {
    sandbox: Sandbox,
    root: PathBuf,
    keys: KeyFiles,
    manifest: PathBuf,
}

impl Baked {
    fn verify(&self, given: &[&OsStr]) -> Result<Verification> {
        let mut verify = agent::command(&[])?;
        verify.args(agent::verify_arguments(&self.manifest, &self.keys.public, &self.root)).args(given);
        agent::verification(&run(&mut verify)?)
    }

    fn record(&self, outcome: &Verification, ledger: &Path) -> Result<()> {
        let outcome = self.sandbox.write("outcome.json", serde_json::to_vec(outcome)?)?;
        let recorded = run(agent::command(&["ledger", "record", "--ledger"])?.arg(ledger).arg(outcome))?;
        ensure!(recorded.code == Some(0), "{}", recorded.stderr);
        Ok(())
    }
}

fn hold(digest: &str) -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
    let (folders, contract) = plant(&root)?;
    let contract = sandbox.write("contract.toml", contract)?;
    let key = sandbox.write("content.key", [7; 32])?;
    let ledger = sandbox.path("ledger.json");
    let keys = sandbox.keygen("key")?;
    let mut bake = agent::bake_command(&root, &manifest)?;
    bake.args(["--no-lint", "--digest", digest, "--contract"]).arg(contract).arg("--key").arg(&keys.secret);
    let baked = run(&mut bake)?;
    ensure!(baked.code == Some(0), "{}", baked.stderr);
    let baked = Baked { sandbox, root, keys, manifest };

    let with_key = ["--content-key".as_ref(), key.as_os_str()];
    let with_ledger = [&with_key[..], &["--ledger".as_ref(), ledger.as_os_str()]].concat();
    let agreed = |given: &[&OsStr]| -> Result<Verification> {
        let outcome = baked.verify(given)?;
        agree(&outcome, &baked.manifest, &baked.root, given)?;
        Ok(outcome)
    };
    assert_eq!(agreed(&with_key)?.findings, []);
    change(&folders, &CHANGES)?;
    change(&folders, &ADDITIONS)?;
    let first = agreed(&with_key)?;
    // Most folders hold most changes to be drift, and some do not.
    let changes = folders.len() * (CHANGES.len() + ADDITIONS.len());
    assert!((changes / 4..changes).contains(&first.findings.len()), "{} findings", first.findings.len());
    baked.record(&first, &ledger)?;
    assert_eq!(agreed(&with_ledger)?.findings, first.findings, "what was recorded is no finding");
    change(&folders, &LATER)?;
    let later = agreed(&with_ledger)?;
    let to_ledger = later.findings.iter().filter(|finding| finding.held_to == HeldTo::Ledger).count();
    assert!(to_ledger > 20, "only {to_ledger} findings are held to the ledger");
    Ok(())
}

#[test]
fn every_class_is_held_alike_by_blake3() -> Result<()> {
    hold("blake3")
}

#[test]
fn every_class_is_held_alike_by_sha256() -> Result<()> {
    hold("sha256")
}
