//! `congruent diff`: what changed between images that real package managers
//! made, in each format, and held to what was declared.

mod database;
mod debian;
mod declared;
mod rpm;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use congruent_tests::agent;
use congruent_tests::program::{Ended, run, succeed};
use congruent_tests::sandbox::Sandbox;
use serde_json::Value;

/// Bakes `root` as this version of `web`; gives what was said.
fn bake(root: &Path, version: &str, output: &Path, more: &[&str]) -> Result<String> {
    let mut bake = agent::command(&["bake", "--no-lint", "--name", "web", "--version", version])?;
    let ended = run(bake.args(more).arg("--output").arg(output).arg(root))?;
    ensure!(ended.code == Some(0), "congruent bake failed ({:?}): {}", ended.code, ended.stderr);
    Ok(ended.stderr)
}

fn diff(old: &Path, new: &Path, more: &[&str]) -> Result<Ended> {
    run(agent::command(&["diff"])?.arg(old).arg(new).args(more))
}

/// What `diff --format json` prints, and its exit code.
fn diff_json(old: &Path, new: &Path, more: &[&str]) -> Result<(Option<i32>, Value)> {
    let ended = diff(old, new, &[&["--format", "json"], more].concat())?;
    let json = serde_json::from_slice(&ended.stdout).with_context(|| format!("no JSON: {}", ended.stderr))?;
    Ok((ended.code, json))
}

/// What `show --format json` prints of a manifest.
fn shown(manifest: &Path) -> Result<Value> {
    let ended = run(agent::command(&["show", "--format", "json", "--entries"])?.arg(manifest))?;
    serde_json::from_slice(&ended.stdout).with_context(|| format!("no JSON: {}", ended.stderr))
}

/// The entries that differ: how, where, and what they belong to.
fn brief(json: &Value) -> Result<Vec<String>> {
    let changes = json["changes"].as_array().context("no changes")?;
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |change: &Value| {
        let outside = if change["outside"] == true { " outside" } else { "" };
        let package = word(&change["package"]["name"]);
        format!("{} {} {package}{outside}", word(&change["change"]), word(&change["path"]))
    };
    Ok(changes.iter().map(line).collect())
}

/// The packages that changed: how, which, and from what to what.
fn brief_packages(json: &Value) -> Result<Vec<String>> {
    let changes = json["packages"]["changes"].as_array().with_context(|| format!("no packages: {json}"))?;
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |change: &Value| {
        [&change["change"], &change["name"], &change["from"], &change["to"]].map(word).join(" ")
    };
    Ok(changes.iter().map(line).collect())
}

/// Makes a .deb of these files, as `path content`.
fn deb(sandbox: &Sandbox, version: &str, files: &[(&str, &str)]) -> Result<PathBuf> {
    let (tree, output) = (sandbox.path(format!("deb-{version}")), sandbox.path(format!("web_{version}.deb")));
    let control = format!(
        "Package: web-app\nVersion: {version}\nArchitecture: all\nMaintainer: Web <web@example.com>\nDescription: web\n"
    );
    for (path, content) in files.iter().copied().chain([("DEBIAN/control", &*control)]) {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().context("a file has no folder")?)?;
        fs::write(path, content)?;
    }
    fs::set_permissions(tree.join("DEBIAN"), fs::Permissions::from_mode(0o755))?;
    succeed::<&OsStr>(
        "dpkg-deb",
        ["--root-owner-group".as_ref(), "--build".as_ref(), tree.as_ref(), output.as_ref()],
    )?;
    Ok(output)
}

/// Installs a .deb beneath `root` by dpkg.
fn install_deb(root: &Path, deb: &Path) -> Result<()> {
    let option = |name: &str, path: &Path| {
        let mut option = OsString::from(name);
        option.push(path);
        option
    };
    let options = [option("--root=", root), option("--log=", &root.join("var/log/dpkg.log"))];
    succeed::<&OsStr>("dpkg", options.iter().map(|o| &**o).chain(["--install".as_ref(), deb.as_ref()]))?;
    Ok(())
}
