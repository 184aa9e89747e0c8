//! Specs that are refused, and what is said but not checked.

use std::fs;

use anyhow::Result;
use congruent_protocol::verification::State;
use congruent_tests::agent;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;

use super::verify;

#[test]
fn a_spec_has_no_signature_and_says_so() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let spec = sandbox.write("web.mtree", ". type=dir\n")?;
    let key = sandbox.keygen("key")?.public.to_string_lossy().into_owned();
    for (trust, says) in [
        (&[][..], "or take an unsigned manifest's word with --insecure-unsigned"),
        (&["--trust", &key], "if it is an mtree spec, no key can vouch for it, and --insecure-unsigned"),
    ] {
        let ended = run(agent::command(&["verify", "--manifest"])?.arg(&spec).args(trust))?;
        assert_eq!((ended.code, ended.text()), (Some(2), String::new()));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    Ok(())
}

#[test]
fn what_only_a_manifest_has_is_refused() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let spec = sandbox.write("web.mtree", ". type=dir\n")?;
    let name = spec.to_string_lossy().into_owned();
    for option in ["--add-on", "--ledger", "--content-key"] {
        let arguments = ["verify", "--insecure-unsigned", option, "/dev/null", "--manifest"];
        let ended = run(agent::command(&arguments)?.arg(&spec))?;
        assert_eq!((ended.code, ended.text()), (Some(2), String::new()));
        let says = format!("cannot use {option} with {name}");
        assert!(ended.stderr.contains(&says), "{}", ended.stderr);
    }
    Ok(())
}

#[test]
fn malformed_specs_are_refused_by_line() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let root = sandbox.path("root");
    fs::create_dir(&root)?;
    for (spec, says) in [
        (". type=dir\nx type=door\n", "line 2: the keywords cannot be used: `type` cannot be \"door\""),
        ("#!/bin/sh\n", "the spec ends and has named no path"),
        ("\u{7f}ELF and so on", "`and` is no keyword of its own"),
        (". type=dir\n..\n..\n", "line 3: this leaves the root"),
    ] {
        let spec = sandbox.write("bad.mtree", spec)?;
        let ended = verify(&root, &spec)?;
        assert_eq!((ended.code, ended.text()), (Some(2), String::new()));
        let name = spec.to_string_lossy().into_owned();
        assert!(ended.stderr.contains(says) && ended.stderr.contains(&name), "{}", ended.stderr);
    }
    Ok(())
}

#[test]
fn what_is_not_checked_is_named_once_and_is_no_proof() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let root = sandbox.path("root");
    fs::create_dir(&root)?;
    fs::write(root.join("x"), "x")?;
    fs::write(root.join("y"), "y")?;
    let sha256 = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    for (x, y, state, names) in [
        (String::new(), "", State::Congruent, &[][..]),
        ("md5=9dd4e461268c8034f5c8564e155c67a6".to_owned(), "md5=00", State::Incomplete, &["md5 (2 times)"]),
        (
            format!("md5digest=00 sha256={sha256}"),
            "",
            State::Congruent,
            &["md5digest (1 times): another digest"],
        ),
        ("flags=none".to_owned(), "flags=none", State::Congruent, &[]),
        ("flags=schg".to_owned(), "cksum=7", State::Incomplete, &["cksum (1 times)", "flags (1 times)"]),
        ("uname=nobody".to_owned(), "", State::Incomplete, &["uname (1 times): the root's own /etc/passwd"]),
        ("uname=nobody uid=0".to_owned(), "", State::Congruent, &["uname (1 times): the number"]),
        (
            "xattr.security.selinux=eA==".to_owned(),
            "",
            State::Incomplete,
            &["xattr.security.selinux (1 times)"],
        ),
        ("link=elsewhere".to_owned(), "", State::Incomplete, &["link (1 times)"]),
        ("inode=7".to_owned(), "", State::Incomplete, &["inode (1 times): congruent does not know"]),
    ] {
        let spec = format!(". type=dir\n    x type=file {x}\n    y type=file {y}\n");
        let spec = sandbox.write("web.mtree", spec)?;
        let ended = verify(&root, &spec)?;
        let verification = agent::verification(&ended)?;
        assert_eq!((verification.state, verification.findings.len()), (state, 0), "{x}, {y}");
        assert_eq!(ended.code, Some(if state == State::Congruent { 0 } else { 3 }), "{x}, {y}");
        assert_eq!(verification.coverage.unchecked.len(), names.len(), "{x}, {y}");
        assert_eq!(ended.stderr.lines().count(), names.len(), "{}", ended.stderr);
        for name in names {
            assert!(ended.stderr.contains(&format!("not checked: {name}")), "{}", ended.stderr);
        }
    }
    Ok(())
}
