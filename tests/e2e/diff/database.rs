//! dpkg's database as images have it: distroless, malformed, and with links that
//! lead elsewhere.

use std::os::unix::fs::symlink;

use congruent_tests::tree;

use super::*;

const SUM: &str = "d41d8cd98f00b204e9800998ecf8427e";

fn scene() -> Result<(Sandbox, PathBuf, PathBuf)> {
    let sandbox = Sandbox::new()?;
    let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
    tree::small(&root)?;
    fs::create_dir_all(root.join("var/lib/dpkg/status.d"))?;
    fs::create_dir_all(root.join("var/lib/dpkg/info"))?;
    Ok((sandbox, root, manifest))
}

/// The packages of a manifest, and the entries that belong to one: those that
/// change outside when all of them change.
fn packages(manifest: &Path) -> Result<Vec<String>> {
    let shown = shown(manifest)?;
    let Some(list) = shown["manifest"]["packages"]["list"].as_array() else { return Ok(Vec::new()) };
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    Ok(list
        .iter()
        .map(|package| format!("{} {}", word(&package["name"]), word(&package["version"])))
        .collect())
}

#[test]
fn distroless_images_have_a_stanza_a_file() -> Result<()> {
    let (sandbox, root, old) = scene()?;
    let stanzas = root.join("var/lib/dpkg/status.d");
    fs::write(stanzas.join("web"), "Package: web\nVersion: 1.0\nArchitecture: amd64\nDescription: x\n y\n")?;
    fs::write(stanzas.join("web.md5sums"), format!("{SUM}  bin/web\n"))?;
    fs::write(stanzas.join("doc"), "Package: doc\nVersion: 2\nArchitecture: all\n")?;
    fs::write(stanzas.join("doc.md5sums"), format!("{SUM}  usr/share/doc/README\n"))?;
    bake(&root, "1", &old, &[])?;
    assert_eq!(packages(&old)?, ["doc 2", "web 1.0"]);
    fs::write(stanzas.join("web"), "Package: web\nVersion: 1.1\nArchitecture: amd64\n")?;
    for path in ["usr/bin/web", "usr/share/doc/README", "etc/passwd"] {
        fs::write(root.join(path), "other")?;
    }
    let new = sandbox.path("new.manifest");
    bake(&root, "2", &new, &[])?;
    let (_, json) = diff_json(&old, &new, &[])?;
    assert_eq!(brief_packages(&json)?, ["updated web 1.0 1.1"]);
    let expected = [
        "modified /etc/passwd -",
        "modified /usr/bin/web web",
        "modified /usr/share/doc/README doc outside",
        "modified /var/lib/dpkg/status.d/web -",
    ];
    assert_eq!(brief(&json)?, expected);
    Ok(())
}

#[test]
fn packages_can_be_left_out() -> Result<()> {
    let (_sandbox, root, manifest) = scene()?;
    fs::write(root.join("var/lib/dpkg/status"), "Package: web\nVersion: 1.0\n")?;
    bake(&root, "1", &manifest, &["--no-packages"])?;
    assert!(packages(&manifest)?.is_empty());
    bake(&root, "1", &manifest, &[])?;
    assert_eq!(packages(&manifest)?, ["web 1.0"]);
    Ok(())
}

#[test]
fn what_is_no_database_is_told_and_baked_nonetheless() -> Result<()> {
    let status = "Package: web\nVersion: 1.0\nStatus: install ok installed\n";
    for (path, content, says) in [
        (
            "status",
            "Package: web\n",
            "malformed file /var/lib/dpkg/status: line 1: a package ends here without version",
        ),
        ("status", "Package: ../../x\nVersion: 1\n", "\"../../x\" is no package's name"),
        ("status", "Package: a\x1b[31m\nVersion: 1\n", "\"a\\x1b[31m\""),
        ("info/web.list", "usr/bin/web\n", "/var/lib/dpkg/info/web.list: line 1: is no path from the root"),
        ("diversions", "/a\n", "/var/lib/dpkg/diversions: line 1"),
    ] {
        let (_sandbox, root, manifest) = scene()?;
        fs::write(root.join("var/lib/dpkg/status"), status)?;
        fs::write(root.join("var/lib/dpkg").join(path), content)?;
        let said = bake(&root, "1", &manifest, &[])?;
        let is_told =
            said.lines().any(|line| line.starts_with("packages: none are recorded: ") && line.contains(says));
        assert!(is_told && !said.contains('\x1b'), "{path}: {said}");
        assert!(packages(&manifest)?.is_empty());
    }
    Ok(())
}

/// A link in the image means what it would mean there, not here.
#[test]
fn links_do_not_lead_out_of_the_root() -> Result<()> {
    let (sandbox, root, manifest) = scene()?;
    let outside = sandbox.write("outside", "Package: outside\nVersion: 1\n")?;
    symlink(&outside, root.join("var/lib/dpkg/status"))?;
    let said = bake(&root, "1", &manifest, &[])?;
    assert!(packages(&manifest)?.is_empty() && !said.contains("packages:"), "{said}");
    fs::remove_file(root.join("var/lib/dpkg/status"))?;
    symlink("/../../etc/status", root.join("var/lib/dpkg/status"))?;
    fs::write(root.join("etc/status"), "Package: inside\nVersion: 1\n")?;
    bake(&root, "1", &manifest, &[])?;
    assert_eq!(packages(&manifest)?, ["inside 1"]);
    // What is no file is told, and stops nobody.
    fs::remove_file(root.join("var/lib/dpkg/status"))?;
    succeed::<&OsStr>("mkfifo", [root.join("var/lib/dpkg/status").as_ref()])?;
    let said = bake(&root, "1", &manifest, &[])?;
    assert!(said.contains("cannot read /var/lib/dpkg/status: it is not a regular file"), "{said}");
    Ok(())
}
