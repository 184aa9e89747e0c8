//! What NetBSD's mtree and go-mtree write, `congruent verify` holds a root to.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use congruent_protocol::drift::Finding;
use congruent_protocol::verification::State;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, debian};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat};

use super::{Change, change_beneath, mtree, odd_tree, set_mtime, show, verify};

/// A spec that `mtree -c` writes of `root` with these arguments.
fn created(sandbox: &Sandbox, root: &Path, arguments: &[&str]) -> Result<PathBuf> {
    let arguments: Vec<&OsStr> = ["-c"].iter().chain(arguments).map(OsStr::new).collect();
    let created = mtree(root, &arguments)?;
    ensure!(created.code == Some(0), "mtree -c failed: {}", created.stderr);
    sandbox.write("created.mtree", &created.stdout)
}

/// The state of `root`, held to `spec`, and each finding in a few words.
fn look(root: &Path, spec: &Path) -> Result<(State, Vec<String>)> {
    let verification = agent::verification(&verify(root, spec)?)?;
    Ok((verification.state, verification.findings.iter().map(brief).collect()))
}

fn brief(finding: &Finding) -> String {
    let fields: String = finding.fields.iter().map(|field| format!(" {field}")).collect();
    format!("{} {}{fields}", finding.change.name(), finding.path)
}

#[test]
fn what_mtree_writes_is_congruent() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let odd = sandbox.path("root");
    odd_tree(&odd)?;
    for arguments in
        [&[][..], &["-K", "sha256,device"], &["-k", "type,sha512,link"], &["-k", "sha384,uname,gname,mode"]]
    {
        let spec = created(&sandbox, &odd, arguments)?;
        assert_eq!(look(&odd, &spec)?, (State::Congruent, vec![]), "{arguments:?}");
        for dump in ["-C", "-D"] {
            let dumped = mtree(&odd, &[dump.as_ref(), "-f".as_ref(), spec.as_os_str()])?;
            let dumped = sandbox.write("dumped.mtree", &dumped.stdout)?;
            assert_eq!(look(&odd, &dumped)?, (State::Congruent, vec![]), "{dump} {arguments:?}");
        }
    }
    let debian = debian::root()?;
    let spec = created(&sandbox, debian, &["-K", "sha256,device"])?;
    assert_eq!(look(debian, &spec)?, (State::Congruent, vec![]));
    Ok(())
}

#[test]
fn what_we_write_is_read() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let odd = sandbox.path("root");
    odd_tree(&odd)?;
    for root in [&odd, debian::root()?] {
        let shown = show(&super::bake(&sandbox, root)?, root)?;
        let spec = sandbox.write("shown.mtree", &shown.stdout)?;
        assert_eq!(look(root, &spec)?, (State::Congruent, vec![]));
    }
    Ok(())
}

#[test]
fn each_change_is_found_and_nothing_else() -> Result<()> {
    let changes: [(&str, Change); 17] = [
        ("", |_| Ok(())),
        ("modified /* content mtime", |root| Ok(fs::write(root.join("*"), "!")?)),
        ("modified /? content size", |root| {
            let before = fs::metadata(root.join("?"))?.modified()?;
            fs::write(root.join("?"), "longer")?;
            set_mtime(&root.join("?"), before)
        }),
        ("modified /[a] mode", |root| {
            Ok(fs::set_permissions(root.join("[a]"), PermissionsExt::from_mode(0o755))?)
        }),
        ("modified /# uid", |root| Ok(chown(root.join("#"), Some(7), None)?)),
        ("modified /# gid", |root| Ok(chown(root.join("#"), None, Some(7))?)),
        ("modified /= mtime", |root| {
            set_mtime(&root.join("="), SystemTime::UNIX_EPOCH + Duration::from_secs(1))
        }),
        ("modified /link link", |root| {
            let link = root.join("link");
            let time = fs::symlink_metadata(&link)?.modified()?;
            fs::remove_file(&link)?;
            symlink("elsewhere", &link)?;
            set_link_mtime(&link, time)
        }),
        ("modified /null device", |root| {
            let null = root.join("null");
            let time = fs::metadata(&null)?.modified()?;
            fs::remove_file(&null)?;
            mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(1, 5))?;
            set_link_mtime(&null, time)
        }),
        ("added /a nlink", |root| Ok(fs::hard_link(root.join("null"), root.join("a"))?)),
        ("added /new", |root| Ok(fs::write(root.join("new"), "")?)),
        ("added /new, added /new/beneath", |root| {
            fs::create_dir(root.join("new"))?;
            Ok(fs::write(root.join("new/beneath"), "")?)
        }),
        ("removed / ", |root| Ok(fs::remove_file(root.join(" "))?)),
        ("removed /d*, removed /d*/x", |root| Ok(fs::remove_dir_all(root.join("d*"))?)),
        ("replaced /pipe", |root| {
            fs::remove_file(root.join("pipe"))?;
            Ok(fs::write(root.join("pipe"), "")?)
        }),
        ("replaced /empty", |root| {
            fs::remove_dir(root.join("empty"))?;
            Ok(symlink("etc", root.join("empty"))?)
        }),
        // Not in the spec.
        ("", |root| Ok(rustix::fs::setxattr(root.join("="), "user.note", b"x", XattrFlags::empty())?)),
    ];
    for (expected, change) in changes {
        let sandbox = Sandbox::for_trees()?;
        let root = sandbox.path("root");
        odd_tree(&root)?;
        let spec = created(&sandbox, &root, &["-K", "sha256,device"])?;
        change_beneath(&root, change)?;
        let (state, found) = look(&root, &spec)?;
        let expected = expected.replace("added /a nlink", "added /a, modified /null nlink");
        assert_eq!(found.join(", "), expected);
        assert_eq!(state, if expected.is_empty() { State::Congruent } else { State::Divergent });
    }
    Ok(())
}

fn set_link_mtime(path: &Path, time: SystemTime) -> Result<()> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH)?;
    let time = rustix::fs::Timespec { tv_sec: since.as_secs() as i64, tv_nsec: since.subsec_nanos().into() };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}

#[test]
fn optional_ignore_and_nochange_mean_what_they_mean_to_mtree() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let root = sandbox.path("root");
    for folder in ["cache/deep", "etc"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("cache/deep/x"), "anything")?;
    fs::write(root.join("etc/any"), "anything")?;
    let spec = sandbox.write(
        "written.mtree",
        "/set uid=0 gid=0\n. type=dir\ncache type=dir ignore\n    gone type=file\n..\netc type=dir\n    \
         any type=file mode=0123 size=9999 nochange\n    gone type=file optional\n..\n\
         old type=dir optional\n    gone type=file\n..\n",
    )?;
    assert_eq!(look(&root, &spec)?, (State::Congruent, vec![]));
    let coverage = agent::verification(&verify(&root, &spec)?)?.coverage;
    let unchecked: Vec<_> = coverage.unchecked.iter().map(|u| (u.what.as_str(), u.entries, u.gap)).collect();
    assert_eq!(unchecked, [("beneath /cache", 2, false)]);
    fs::remove_file(root.join("etc/any"))?;
    assert_eq!(look(&root, &spec)?, (State::Divergent, vec!["removed /etc/any".to_owned()]));
    Ok(())
}

/// go-mtree's specs of the tree that [`go_tree`] makes, written by its version
/// 0.4.4 with these keywords.
const GO_SPECS: [(&str, &str); 2] = [
    ("type size mode uid gid nlink link time sha256digest xattr", include_str!("go-mtree-1.mtree")),
    ("type uname gname mode tar_time sha512digest md5digest link", include_str!("go-mtree-2.mtree")),
];

fn go_tree(root: &Path) -> Result<()> {
    odd_tree(root)?;
    // It knows neither of these.
    fs::remove_file(root.join("large"))?;
    rustix::fs::setxattr(root.join("="), "user.note", b"x\0", XattrFlags::empty())?;
    let all = run(std::process::Command::new("find").arg(root).args([
        "-exec",
        "touch",
        "-h",
        "-d",
        "@1700000000.5",
        "{}",
        "+",
    ]))?;
    ensure!(all.code == Some(0), "cannot set times: {}", all.stderr);
    Ok(())
}

#[test]
fn what_go_mtree_writes_is_verified() -> Result<()> {
    for (keywords, spec) in GO_SPECS {
        let sandbox = Sandbox::for_trees()?;
        let root = sandbox.path("root");
        go_tree(&root)?;
        let spec = sandbox.write("go.mtree", spec)?;
        assert_eq!(look(&root, &spec)?, (State::Congruent, vec![]), "{keywords}");
        let before = fs::metadata(root.join("="))?.modified()?;
        fs::write(root.join("="), "!")?;
        set_mtime(&root.join("="), before)?;
        assert_eq!(
            look(&root, &spec)?,
            (State::Divergent, vec!["modified /= content".to_owned()]),
            "{keywords}"
        );
    }
    Ok(())
}

/// SHA-256 is what the sweep computes then, so that a finding has both sides.
#[test]
fn sha256_is_expected_and_observed() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let root = sandbox.path("root");
    fs::create_dir(&root)?;
    fs::write(root.join("x"), "y")?;
    let digest = |character: char| format!("sha256:{}", [character; 64].iter().collect::<String>());
    let line = format!("sha256digest={}", &digest('a')[7..]);
    let spec = sandbox
        .write("web.mtree", format!(". type=dir\n    gone type=file {line}\n    x type=file {line}\n"))?;
    let verification = agent::verification(&verify(&root, &spec)?)?;
    let expected = |finding: &Finding| finding.expected.as_ref().and_then(|side| side.content);
    for finding in &verification.findings {
        assert_eq!(
            expected(finding).map(|content| content.to_string()),
            Some(digest('a')),
            "{}",
            finding.path
        );
    }
    let observed = verification.findings[1].observed.as_ref().and_then(|side| side.content);
    let of_y = "sha256:a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa";
    assert_eq!(observed.map(|content| content.to_string()).as_deref(), Some(of_y));
    assert_ne!(verification.observed_root, verification.baked_root);
    assert_eq!((verification.protected.entries, verification.protected.of), (3, 3));
    Ok(())
}

#[test]
fn other_formats_show_what_a_spec_found() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let root = sandbox.path("root");
    fs::create_dir(&root)?;
    fs::write(root.join("x"), "x")?;
    let spec = sandbox.write("web.mtree", ". type=dir\n    x type=file mode=07777 md5=00\n")?;
    for (format, shown) in [
        ("sarif", &["\"CNG1003\"", "\"CNG2003\"", "md5 (1 times)"][..]),
        ("ndjson", &["\"finding_count\":1,\"gap_count\":1", "\"gap\":\"unchecked\""]),
        ("junit", &["failures=\"1\" errors=\"1\"", "classname=\"web.mtree.unchecked\" name=\"md5\""]),
        ("text", &["unchecked   md5  of 1 entry"]),
    ] {
        let arguments = ["verify", "--insecure-unsigned", "--format", format, "--root"];
        let ended = run(agent::command(&arguments)?.arg(&root).arg("--manifest").arg(&spec))?;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        for text in shown {
            assert!(ended.text().contains(text), "{text} is not in: {}", ended.text());
        }
    }
    Ok(())
}

#[test]
fn an_xattr_that_a_spec_names_is_held_to() -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let root = sandbox.path("root");
    go_tree(&root)?;
    let spec = sandbox.write("go.mtree", GO_SPECS[0].1)?;
    rustix::fs::setxattr(root.join("="), "user.note", b"y", XattrFlags::empty())?;
    assert_eq!(look(&root, &spec)?, (State::Divergent, vec!["modified /= xattr:user.note".to_owned()]));
    rustix::fs::removexattr(root.join("="), "user.note")?;
    assert_eq!(look(&root, &spec)?, (State::Divergent, vec!["modified /= xattr:user.note".to_owned()]));
    Ok(())
}
