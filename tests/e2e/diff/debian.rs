//! Two real Debian roots: one is the other, with a package upgraded by dpkg, and
//! with changes that no package explains.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use congruent_protocol::manifest::{ListedEntry, Manifest};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{debian, peer, tree};

use super::*;

/// Names that break tables, pages, terminals and links.
const HOSTILE: [&[u8]; 9] = [
    b"a|b",
    b"`code`",
    b"<img src=x onerror=alert(1)>",
    b"line\nbreak",
    b"@everyone #1 !2",
    b"www.example.com",
    b"[x](http:x)",
    b"\xff\x1b[31m",
    "\u{202e}gpj".as_bytes(),
];

const CONTRACT: &str = "[[rule]]\npath = '/var/log/**'\nclass = 'append-only'\n";

/// Both manifests and the key that signed them, in a folder of one's own.
pub(super) struct Images {
    sandbox: Sandbox,
    public: PathBuf,
    pub(super) old: PathBuf,
    pub(super) new: PathBuf,
}

/// The same as bytes: what is static is never dropped, and a folder would stay.
struct Baked {
    public: Vec<u8>,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Both images, baked once for all tests.
pub(super) fn images() -> Result<Images> {
    static BAKED: OnceLock<Result<Baked, String>> = OnceLock::new();
    let baked = BAKED.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    let Baked { public, old, new } = baked.as_ref().map_err(|error| anyhow!("{error}"))?;
    let sandbox = Sandbox::new()?;
    Ok(Images {
        public: sandbox.write("key.pub.pem", public)?,
        old: sandbox.write("old.manifest", old)?,
        new: sandbox.write("new.manifest", new)?,
        sandbox,
    })
}

fn make() -> Result<Baked> {
    let sandbox = Sandbox::for_trees()?;
    let keys = sandbox.keygen("key")?;
    let [root, old, new] = ["root", "old.manifest", "new.manifest"].map(|name| sandbox.path(name));
    tree::copy(debian::root()?, &root)?;
    let secret = keys.secret.to_str().context("the sandbox has an odd name")?;
    // Listed beneath /bin, which is a link to /usr/bin.
    let first = deb(&sandbox, "1.0", &[("bin/web-app", "one"), ("usr/share/web-app/old", "x")])?;
    install_deb(&root, &first)?;
    bake(&root, "1.0", &old, &["--key", secret, "--ticket", "CHG-1"])?;
    let second = deb(&sandbox, "1.1", &[("bin/web-app", "two"), ("usr/share/web-app/new/x", "x")])?;
    install_deb(&root, &second)?;
    OpenOptions::new().append(true).open(root.join("usr/bin/bash"))?.write_all(b"\0")?;
    fs::write(root.join("etc/web.conf"), "listen 80\n")?;
    fs::create_dir_all(root.join("opt/site"))?;
    for name in HOSTILE {
        fs::write(root.join("opt/site").join(OsStr::from_bytes(name)), "x")?;
    }
    // A time alone is no change.
    fs::File::open(root.join("etc/passwd"))?.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
    let contract = sandbox.write("contract.toml", CONTRACT)?;
    let contract = contract.to_str().context("the sandbox has an odd name")?;
    bake(&root, "1.1", &new, &["--key", secret, "--ticket", "CHG-2", "--contract", contract])?;
    Ok(Baked { public: fs::read(&keys.public)?, old: fs::read(&old)?, new: fs::read(&new)? })
}

#[test]
fn every_package_of_debian_is_recorded() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let manifest = sandbox.path("web.manifest");
    bake(debian::root()?, "1", &manifest, &[])?;
    let shown = shown(&manifest)?;
    assert_eq!(shown["manifest"]["packages"]["manager"], "dpkg");
    let packages = shown["manifest"]["packages"]["list"].as_array().context("no packages")?;
    let mut admin = OsString::from("--admindir=");
    admin.push(debian::root()?.join("var/lib/dpkg"));
    let asked = ["--show".as_ref(), "--showformat=${Package} ${Version} ${Architecture}\\n".as_ref()];
    let told = succeed::<&OsStr>("dpkg-query", [&*admin].into_iter().chain(asked))?.text();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let named = packages.iter().map(|p| [&p["name"], &p["version"], &p["architecture"]].map(word).join(" "));
    let (mut named, mut told): (Vec<_>, Vec<_>) =
        (named.collect(), told.lines().map(str::to_owned).collect());
    named.sort();
    told.sort();
    assert_eq!(named, told);
    Ok(())
}

/// Held to dpkg's own lists, read here in the plainest way.
#[test]
fn every_file_of_debian_has_the_owner_that_dpkg_lists() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let path = sandbox.path("web.manifest");
    bake(debian::root()?, "1", &path, &[])?;
    let mut file = fs::File::open(&path)?;
    let manifest = Manifest::read_unchecked(&mut file)?;
    let packages = &manifest.predicate().packages.as_ref().context("no packages")?.list;
    let mut listed = owners_by_lists()?;
    for entry in manifest.entries(&file)? {
        let ListedEntry { path, entry } = entry?;
        let owner = entry.package.checked_sub(1).map(|place| packages[place as usize].name.clone());
        if !entry.node.is_directory() && !MERGED.contains(&&*path.to_string()) {
            assert_eq!(owner, listed.remove(&path.to_string()), "{path}");
        }
    }
    listed.retain(|path, _| debian::root().is_ok_and(|root| root.join(&path[1..]).is_file()));
    assert_eq!(listed, BTreeMap::new(), "listed, there, and not baked");
    Ok(())
}

/// Links into /usr, which packages list as directories.
const MERGED: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"];

/// The package that lists each path.
fn owners_by_lists() -> Result<BTreeMap<String, String>> {
    let info = debian::root()?.join("var/lib/dpkg/info");
    let mut owners = BTreeMap::new();
    for file in fs::read_dir(info)? {
        let file = file?.path();
        let Some(stem) = file.to_str().and_then(|file| file.strip_suffix(".list")) else { continue };
        let stem = stem.rsplit('/').next().unwrap_or_default();
        let package = stem.split(':').next().unwrap_or_default();
        for path in fs::read_to_string(&file)?.lines() {
            let is_moved = MERGED.iter().any(|link| path.starts_with(&format!("{link}/")));
            let path = if is_moved { format!("/usr{path}") } else { path.to_owned() };
            owners.insert(path, package.to_owned());
        }
    }
    MERGED.iter().for_each(|link| drop(owners.remove(*link)));
    Ok(owners)
}

#[test]
fn changes_are_told_by_package_and_by_directory() -> Result<()> {
    let images = images()?;
    let (code, json) = diff_json(&images.old, &images.new, &[])?;
    assert_eq!(code, Some(0));
    assert_eq!(brief_packages(&json)?, ["updated web-app 1.0 1.1"]);
    let explained: Vec<_> = brief(&json)?.into_iter().filter(|line| !line.ends_with(" -")).collect();
    let expected = [
        "modified /usr/bin/bash bash outside",
        "modified /usr/bin/web-app web-app",
        "added /usr/share/web-app/new web-app",
        "added /usr/share/web-app/new/x web-app",
        "removed /usr/share/web-app/old web-app",
    ];
    assert_eq!(explained, expected);
    let directories = json["directories"].as_array().context("no directories")?;
    let directory = |one: &Value| format!("{} {}", one["path"].as_str().unwrap_or("-"), one["whole"]);
    let directories: Vec<_> = directories.iter().map(directory).collect();
    assert_eq!(directories, ["/etc null", "/opt/site \"added\"", "/var/lib/dpkg null", "/var/log null"]);
    assert!(!brief(&json)?.iter().any(|line| line.contains("/etc/passwd")));
    assert_eq!(json["contract"]["rules"]["added"][0]["path"], "/var/log/**");
    assert_eq!((&json["origin"][0]["old"], &json["origin"][0]["new"]), (&"CHG-1".into(), &"CHG-2".into()));
    Ok(())
}

#[test]
fn text_names_what_changed_outside_a_version() -> Result<()> {
    let images = images()?;
    let text = diff(&images.old, &images.new, &[])?.text();
    for words in [
        "not checked; give --trust PUB.pem",
        "changed outside their package's version:\n  bash (amd64) ",
        "    modified     /usr/bin/bash  content ",
        "packages (dpkg): 1 updated\n  updated      web-app (all)  1.0 → 1.1  (entries: 2 added, 1 removed, 1 modified)",
        "  /opt/site  added with all in it, 10 entries",
        "  added        append-only /var/log/**",
        "  ticket               CHG-1 → CHG-2",
        "/opt/site/line\\x0abreak",
    ] {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text}");
    Ok(())
}

#[test]
fn signatures_are_checked_where_keys_are_given() -> Result<()> {
    let images = images()?;
    let public = images.public.to_str().context("the sandbox has an odd name")?;
    let (code, json) = diff_json(&images.old, &images.new, &["--trust", public])?;
    assert_eq!(
        (code, &json["old"]["was_checked"], &json["new"]["was_checked"]),
        (Some(0), &true.into(), &true.into())
    );
    let other = images.sandbox.keygen("other")?;
    let other = other.public.to_str().context("the sandbox has an odd name")?;
    let refused = diff(&images.old, &images.new, &["--trust", other])?;
    assert_eq!((refused.code, &*refused.text()), (Some(2), ""), "{}", refused.stderr);
    assert!(refused.stderr.contains("no trusted key signed"), "{}", refused.stderr);
    Ok(())
}

/// Rendered by another's program, every name is text and nothing else.
#[test]
fn no_name_escapes_from_markdown() -> Result<()> {
    let images = images()?;
    let markdown = diff(&images.old, &images.new, &["--format", "markdown"])?.stdout;
    let page: Value = serde_json::from_slice(&peer::ask::<&str>("markdown.py", &[], &markdown)?)?;
    let ours = [
        "code", "details", "h2", "h3", "p", "strong", "summary", "table", "tbody", "td", "th", "thead", "tr",
    ];
    assert_eq!(page["elements"], serde_json::json!(ours));
    let rows = page["rows"].as_array().context("no rows")?;
    for name in HOSTILE {
        let path = format!("/opt/site/{}", congruent_protocol::path::escape(name));
        let is_cell =
            |row: &Value| row[0] == "added" && row[1] == path && row.as_array().is_some_and(|r| r.len() == 3);
        assert!(
            rows.iter().any(is_cell),
            "{path} is no cell of its own: {}",
            String::from_utf8_lossy(&markdown)
        );
    }
    Ok(())
}
