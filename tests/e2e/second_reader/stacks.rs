//! A base with add-ons, and every kind of entry under hostile names.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use anyhow::{Result, ensure};
use congruent_tests::agent;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use super::agree;

const CONTRACT: &str = "[[rule]]\npath = '/opt/**'\nclass = 'add-on'\nforbid = ['setuid']\n\
                        [[rule]]\npath = '/odd/**/free'\nclass = 'ephemeral'\n";

/// Every kind of entry under names that no program likes.
fn plant_odd(odd: &Path) -> Result<()> {
    fs::create_dir_all(odd.join("deep/free/held"))?;
    for name in
        [&b"\xff\xfe"[..], b"new\nline", b"a\\b", b"-rf", b"\x1b[2J", b"a-b", b"a", b"\xc3\xa4", b"e\xcc\x81"]
    {
        let path = odd.join(OsStr::from_bytes(name));
        fs::write(&path, name)?;
        let link = odd.join(OsStr::from_bytes(&[b"link to ", name].concat()));
        symlink(OsStr::from_bytes(name), &link)?;
        lchown(&link, Some(3), Some(4))?;
    }
    fs::hard_link(odd.join("a"), odd.join("twin"))?;
    fs::create_dir_all(odd.join("a.d/b"))?;
    setxattr(odd.join("a"), &b"user.\xff\n"[..], b"\0\xff", XattrFlags::empty())?;
    std::os::unix::net::UnixListener::bind(odd.join("socket"))?;
    for (name, kind) in
        [("fifo", FileType::Fifo), ("char", FileType::CharacterDevice), ("block", FileType::BlockDevice)]
    {
        mknodat(CWD, odd.join(name), kind, Mode::RUSR, makedev(259, 1_048_575))?;
    }
    chown(odd.join("fifo"), Some(u32::MAX - 1), Some(100_000))?;
    Ok(fs::write(odd.join("deep/free/held/file"), "held")?)
}

fn bake(tree: &Path, name: &str, more: &[&OsStr], manifest: &Path) -> Result<()> {
    let mut bake = agent::command(&["bake", "--no-lint", "--version", "1", "--name", name, "--output"])?;
    let baked = run(bake.arg(manifest).args(more).arg(tree))?;
    ensure!(baked.code == Some(0), "{}", baked.stderr);
    Ok(())
}

#[test]
fn stacks_and_odd_names_are_held_alike() -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let root = sandbox.path("root");
    fs::create_dir_all(root.join("opt"))?;
    plant_odd(&root.join("odd"))?;
    let contract = sandbox.write("contract.toml", CONTRACT)?;
    let keys = sandbox.keygen("key")?;
    let [base, one, two] = ["base", "one", "two"].map(|name| sandbox.path(format!("{name}.manifest")));
    let key: [&OsStr; 2] = ["--key".as_ref(), keys.secret.as_os_str()];
    bake(&root, "base", &[&key[..], &["--contract".as_ref(), contract.as_os_str()]].concat(), &base)?;
    for (name, manifest) in [("one", &one), ("two", &two)] {
        let tree = sandbox.path(name);
        fs::create_dir_all(tree.join("opt/shared/bin"))?;
        fs::write(tree.join("opt/shared/bin").join(name), name)?;
        fs::write(tree.join("opt").join(format!("{name}-alone")), name)?;
        bake(&tree, name, &[&key[..], &["--add-on".as_ref()]].concat(), manifest)?;
        congruent_tests::program::succeed(
            "cp",
            ["-a".as_ref(), tree.join("opt").as_os_str(), root.as_os_str()],
        )?;
    }
    let hold = |add_ons: &[&Path]| -> Result<usize> {
        let given: Vec<_> =
            add_ons.iter().flat_map(|add_on| ["--add-on".as_ref(), add_on.as_os_str()]).collect();
        let mut verify = agent::command(&[])?;
        verify.args(agent::verify_arguments(&base, &keys.public, &root)).args(&given);
        let outcome = agent::verification(&run(&mut verify)?)?;
        agree(&outcome, &base, &root, &given)?;
        Ok(outcome.findings.len())
    };
    assert_eq!(hold(&[&one, &two])?, 0);
    assert_eq!(hold(&[&one])?, 2, "what the other add-on holds is drift");
    assert_eq!(hold(&[])?, 6);

    let opt = root.join("opt");
    fs::write(opt.join("shared/bin/one"), "other")?;
    fs::remove_file(opt.join("two-alone"))?;
    fs::write(opt.join("shared/unknown"), "")?;
    fs::set_permissions(opt.join("shared"), Permissions::from_mode(0o700))?;
    // What is held lies beneath what may be anything: it stays, or shows, by itself.
    fs::write(root.join("odd/deep/free/held/file"), "changed")?;
    fs::remove_file(root.join("odd").join(OsStr::from_bytes(b"\xff\xfe")))?;
    setxattr(root.join("odd/a"), &b"user.\xff\n"[..], b"", XattrFlags::empty())?;
    assert_eq!(hold(&[&one, &two])?, 8);
    fs::remove_dir_all(root.join("odd/deep/free"))?;
    fs::write(root.join("odd/deep/free"), "")?;
    hold(&[&one, &two])?;
    Ok(())
}
