//! `--allow`: what was declared passes, and what was not is named.

use super::debian::images;
use super::*;

const ALL: &str = "contract = true\n\
    [[package]]\nname = 'web-*'\nfrom = '1.0'\nto = '1.1'\n\
    [[path]]\nglob = '/usr/bin/bash'\n[[path]]\nglob = '/etc/web.conf'\n[[path]]\nglob = '/opt/site'\n\
    [[path]]\nglob = '/opt/site/**'\n[[path]]\nglob = '/var/lib/dpkg/**'\n[[path]]\nglob = '/var/log/**'\n";

fn judge(allow: &str, format: &str) -> Result<Ended> {
    let images = images()?;
    let sandbox = Sandbox::new()?;
    let allow = sandbox.write("allow.toml", allow)?;
    let allow = allow.to_str().context("the sandbox has an odd name")?;
    diff(&images.old, &images.new, &["--allow", allow, "--format", format])
}

#[test]
fn all_that_was_declared_passes() -> Result<()> {
    for (format, says) in [
        ("text", "all that changed was declared\n"),
        ("markdown", "**All that changed was declared.**"),
        ("json", "\"undeclared\": []"),
    ] {
        let ended = judge(ALL, format)?;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.text());
        assert!(ended.text().contains(says), "{}", ended.text());
    }
    Ok(())
}

#[test]
fn what_was_not_declared_fails_and_is_named() -> Result<()> {
    for (declared, instead, named) in [
        ("to = '1.1'", "to = '1.2'", "  updated      package web-app (all) 1.0 → 1.1, 4 entries\n"),
        ("'/usr/bin/bash'", "'/usr/bin/dash'", "  modified     /usr/bin/bash: content "),
        ("'/etc/web.conf'", "'/etc/db.conf'", "  added        /etc/web.conf: file "),
        ("glob = '/opt/site'", "glob = '/opt/sites'", "  added        /opt/site: directory "),
        ("contract = true", "contract = false", "  changed      the contract\n"),
    ] {
        let ended = judge(&ALL.replace(declared, instead), "text")?;
        assert_eq!(ended.code, Some(1), "{instead}: {}", ended.stderr);
        let text = ended.text();
        let (_, undeclared) = text.split_once("not declared: 1 change\n").with_context(|| text.clone())?;
        assert!(undeclared.starts_with(named), "{instead}: {undeclared}");
        assert!(ended.stderr.contains("undeclared: 1 change\n"), "{}", ended.stderr);
        let is_told = undeclared.contains("declared, and nothing changed: ");
        assert_eq!(is_told, declared != "contract = true", "{instead}: {undeclared}");
    }
    Ok(())
}

#[test]
fn bad_input_is_named() -> Result<()> {
    let images = images()?;
    let sandbox = Sandbox::new()?;
    let write = |name: &str, text: &str| -> Result<String> {
        Ok(sandbox.write(name, text)?.to_str().context("the sandbox has an odd name")?.to_owned())
    };
    let bad = write("bad.toml", "[[path]]\nglob = 'etc/**'\n")?;
    let none = write("none.manifest", "none\n")?;
    let old = images.old.to_str().context("the sandbox has an odd name")?;
    for (arguments, says) in [
        (vec![old, old, "--allow", &bad], &["bad.toml", "line 2, column 8", "must start with `/`"][..]),
        (vec![old, old, "--allow", "/nowhere"], &["/nowhere", "No such file"]),
        (vec![old, &none], &["none.manifest", "not a congruent manifest"]),
        (vec!["/nowhere", old], &["/nowhere", "No such file"]),
        (vec![old, old, "--format", "sarif"], &["text, json, markdown"]),
    ] {
        let ended = run(agent::command(&["diff"])?.args(&arguments))?;
        assert_eq!((ended.code, &*ended.text()), (Some(2), ""), "{arguments:?}");
        for word in says {
            assert!(ended.stderr.contains(word), "{arguments:?}: {word:?} is not in: {}", ended.stderr);
        }
    }
    Ok(())
}

#[test]
fn one_version_with_two_roots_is_an_error() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let [root, first, second] = ["root", "1.manifest", "2.manifest"].map(|name| sandbox.path(name));
    congruent_tests::tree::small(&root)?;
    bake(&root, "1.4.2", &first, &[])?;
    fs::write(root.join("etc/web.conf"), "listen 81\n")?;
    bake(&root, "1.4.2", &second, &[])?;
    let ended = diff(&first, &second, &[])?;
    assert_eq!((ended.code, &*ended.text()), (Some(2), ""));
    let roots =
        [&first, &second].map(|manifest| shown(manifest).map(|shown| shown["manifest"]["root"].clone()));
    for root in roots {
        let root = root?.as_str().context("no root")?.to_owned();
        assert!(ended.stderr.contains(&root), "{}", ended.stderr);
    }
    assert!(ended.stderr.contains("web 1.4.2 was baked twice"), "{}", ended.stderr);
    assert_eq!(diff(&first, &first, &[])?.code, Some(0));
    Ok(())
}
