//! `congruent contract check`, `congruent contract suggest` and `congruent explain`
//! over a real Debian root.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use congruent_protocol::contract::ContractFile;
use congruent_protocol::verification::{State, Verification};
use congruent_tests::program::{Ended, run};
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use congruent_tests::{agent, debian, tree};
use serde_json::Value;

use crate::bad_input::check_refusal;

/// Rules that do something, and rules that do nothing.
const OWN: &str = "[[rule]]\npath = '/var/log/**'\nclass = 'append-only'\nforbid = ['exec']\n\
                   [[rule]]\npath = '/opt/extras/scratch/**'\nclass = 'ephemeral'\n\
                   [[rule]]\npath = '/srv/later/**'\nclass = 'create-only'\n\
                   [[rule]]\npath = '/var/log/apt/*'\nclass = 'rotating'\n\
                   [[rule]]\npath = '/var/log/**'\nclass = 'append-only'\nforbid = ['exec', 'setuid']\n";

/// A Debian root that was baked.
struct Baked {
    sandbox: Sandbox,
    keys: KeyFiles,
    contract: PathBuf,
    manifest: PathBuf,
}

impl Baked {
    fn under(contract: &str) -> Result<Self> {
        let sandbox = Sandbox::for_trees()?;
        let keys = sandbox.keygen("key")?;
        let contract = sandbox.write("own.toml", contract)?;
        let manifest = sandbox.path("web.manifest");
        agent::bake(debian::root()?, Some(&contract), &keys, &manifest)?;
        Ok(Self { sandbox, keys, contract, manifest })
    }

    /// `congruent contract check` of the contract, with these further arguments.
    fn check<S: AsRef<OsStr>>(&self, contract: &Path, more: &[S]) -> Result<Ended> {
        let mut check = agent::command(&["contract", "check"])?;
        run(check.arg(contract).arg(&self.manifest).args(more))
    }

    fn explain<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Ended> {
        run(agent::command(&["explain"])?.arg(&self.manifest).args(arguments))
    }

    fn suggest(&self, outcomes: &[PathBuf], more: &[&str]) -> Result<Ended> {
        let mut suggest = agent::command(&["contract", "suggest", "--manifest"])?;
        run(suggest.arg(&self.manifest).args(more).args(outcomes))
    }
}

fn json(ended: &Ended) -> Result<Value> {
    serde_json::from_slice(&ended.stdout).with_context(|| ended.stderr.clone())
}

#[test]
fn a_contract_is_checked_against_what_was_baked() -> Result<()> {
    let baked = Baked::under(OWN)?;
    let fine = baked.check(&baked.contract, &["--format", "json", "--entries"])?;
    assert_eq!(fine.code, Some(0), "{}", fine.stderr);
    let page = json(&fine)?;
    assert_eq!((&page["schema_version"], &page["fine"]), (&1.into(), &true.into()));
    let manifest = &page["manifests"][0];
    let classes = manifest["classes"].as_object().context("classes")?;
    let counted: u64 = classes.values().filter_map(Value::as_u64).sum();
    assert_eq!(Some(counted), manifest["protected"]["of"].as_u64());
    assert_eq!(Some(counted), manifest["entries"].as_array().map(|entries| entries.len() as u64));
    let rule = |number: usize| &page["rules"][number - 1];
    // Three rules of the default contract come first.
    assert_eq!((&rule(4)["path"], &rule(4)["overruled_by"]), (&"/var/log/**".into(), &8.into()));
    assert!(rule(5)["decides"].as_u64() > Some(0), "{}", rule(5));
    assert_eq!((&rule(6)["matches"], &rule(6)["overruled_by"]), (&0.into(), &Value::Null));
    let text = baked.check(&baked.contract, &[] as &[&str])?.text();
    for says in ["note: never decides: rule 8 comes later", "note: matches nothing that was baked", "  kept"]
    {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
    Ok(())
}

#[test]
fn what_loosens_the_floor_or_contradicts_the_image_fails_the_check() -> Result<()> {
    let baked = Baked::under(OWN)?;
    let loose = "[[rule]]\npath = '/usr/bin/**'\nclass = 'append-only'\nforbid = ['setuid']\n";
    let loose = baked.sandbox.write("loose.toml", loose)?;
    let floorless =
        baked.sandbox.write("trust.toml", "floor = []\n[[signers]]\nname = '*'\nkeys = ['key.pub.pem']\n")?;
    let with = ["--with".as_ref(), loose.as_os_str()];
    let refused = baked.check(&baked.contract, &with)?;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let says = "loosened: rule 9 makes `/usr/bin/**` append-only (for instance /usr/bin/a)";
    assert!(refused.text().contains(says), "{}", refused.text());
    let more = [&with[..], &["--trust-config".as_ref(), floorless.as_os_str()]].concat();
    let contradicted = baked.check(&baked.contract, &more)?;
    assert_eq!(contradicted.code, Some(1));
    let text = contradicted.text();
    assert!(text.contains("contradicts /usr/bin/su is setuid: rule 9 forbids it there"), "{text}");
    assert!(!text.contains("loosened"), "{text}");
    let quiet = baked.sandbox.write("quiet.toml", "[[rule]]\npath = '/usr/bin/**'\nclass = 'rotating'\n")?;
    let more = [OsStr::new("--trust-config"), floorless.as_os_str()];
    assert_eq!(baked.check(&quiet, &more)?.code, Some(0));
    check_refusal(
        "no contract",
        &baked.check(Path::new("/nowhere.toml"), &[] as &[&str])?,
        &["cannot read the contract /nowhere.toml"],
    );
    Ok(())
}

#[test]
fn a_path_is_explained() -> Result<()> {
    let baked = Baked::under(OWN)?;
    let told = |path: &str| json(&baked.explain(&[path, "--format", "json"])?);
    let shadow = told("/etc/shadow")?;
    assert_eq!(
        (&shadow["class"], &shadow["decided_by"], &shadow["floor"]),
        (&"immutable".into(), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&shadow["baked"]["manifest"], &shadow["baked"]["entry"]["mode"]),
        (&"web".into(), &"0640".into())
    );
    let log = told("/var/log/apt/later")?;
    assert_eq!(
        (&log["class"], &log["decided_by"]["number"], &log["baked"]),
        (&"append-only".into(), &8.into(), &Value::Null)
    );
    assert_eq!(log["overruled"].as_array().map(Vec::len), Some(2));
    assert_eq!(told("/usr/bin/su")?["floor"], "/usr");
    assert_eq!(told("/tmp/x")?["hiding_mounts"][0]["path"], "/tmp");
    assert_eq!(told("/var/lib/congruent/spool")?["class"], "reserved");
    let text = baked.explain(&["/var/log/apt/later"])?.text();
    for says in ["decided by rule 8: /var/log/** is append-only", "overruled  rule 7", "expected   nothing"] {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
    // What a shell cannot write: "/tmp/\n".
    let odd = baked.explain(&["--path-bytes", "L3RtcC8K"])?;
    assert!(odd.text().starts_with("/tmp/\\x0a\n"), "{}", odd.text());
    let unknown = baked.explain(&[OsStr::from_bytes(b"/tmp/\xff")])?;
    assert!(unknown.text().contains("/tmp/\\xff"), "{}", unknown.text());
    for (path, says) in [("etc/passwd", "does not start with"), ("/etc/../x", "component \"..\"")] {
        check_refusal(path, &baked.explain(&[path])?, &[says]);
    }
    check_refusal("no base64", &baked.explain(&["--path-bytes", "%"])?, &["--path-bytes", "not base64"]);
    Ok(())
}

/// What an add-on holds is told as its own; beside its places it holds nothing.
#[test]
fn a_path_is_explained_by_the_manifest_that_holds_it() -> Result<()> {
    let contract = "[[rule]]\npath = '/opt/cni/**'\nclass = 'add-on'\n";
    let baked = Baked::under(contract)?;
    let (tree, add_on) = (baked.sandbox.path("cni"), baked.sandbox.path("cni.manifest"));
    fs::create_dir_all(tree.join("opt/cni"))?;
    fs::write(tree.join("opt/cni/bridge"), "bridge\n")?;
    let mut bake = agent::command(&["bake", "--add-on", "--name", "cni", "--version", "2", "--output"])?;
    let ended = run(bake.arg(&add_on).arg(&tree))?;
    ensure!(ended.code == Some(0), "{}", ended.stderr);
    for (path, expected) in [("/opt/cni/bridge", "cni"), ("/opt", "web"), ("/opt/cni/other", "")] {
        let words = [path, "--format", "json", "--add-on"].map(OsStr::new);
        let told = json(&baked.explain(&[&words[..], &[add_on.as_os_str()]].concat())?)?;
        assert_eq!(told["baked"]["manifest"].as_str().unwrap_or_default(), expected, "{path}");
    }
    assert_eq!(json(&baked.explain(&["/opt/cni/bridge", "--format", "json"])?)?["baked"], Value::Null);
    Ok(())
}

/// What one boot of the image changes: the same places as every boot, by its own
/// values and names.
fn boot(root: &Path, number: usize) -> Result<()> {
    let write = |path: String, content: String| -> Result<()> {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("it has a folder")?)?;
        fs::write(&path, content).with_context(|| path.display().to_string())
    };
    write("etc/machine-id".to_owned(), format!("{number:032x}\n"))?;
    write(format!("var/cache/work/job-{number}a/state"), "done\n".to_owned())?;
    write("var/lib/first/seed".to_owned(), format!("{number}"))?;
    let log = root.join("var/log/faillog");
    let before = fs::read(&log)?;
    fs::write(&log, [before, format!("boot {number}\n").into_bytes()].concat())?;
    Ok(())
}

#[test]
fn what_boots_change_is_suggested_and_then_congruent() -> Result<()> {
    let baked = Baked::under("")?;
    let root = baked.sandbox.path("root");
    let mut outcomes = Vec::new();
    for number in 1..=3 {
        tree::copy(debian::root()?, &root)?;
        boot(&root, number)?;
        fs::write(root.join("usr/local/evil"), "x")?;
        fs::write(root.join("srv/evil"), "x")?;
        fs::set_permissions(root.join("srv/evil"), Permissions::from_mode(0o755))?;
        let looked = agent::verify(&baked.manifest, &baked.keys.public, &root)?;
        ensure!(looked.code == Some(1), "{}", looked.stderr);
        outcomes.push(baked.sandbox.write(format!("{number}.json"), &looked.stdout)?);
        if number < 3 {
            fs::remove_dir_all(&root)?;
        }
    }
    let suggested = baked.suggest(&outcomes, &[])?;
    assert_eq!(suggested.code, Some(0), "{}", suggested.stderr);
    let text = suggested.text();
    for says in [
        "path = \"/etc/machine-id\"\nclass = \"pinned\"\nforbid = [\"exec\", \"setuid\", \"device\"]",
        "path = \"/var/cache/work/job-*\"\nclass = \"ephemeral\"",
        "path = \"/var/log/faillog\"\nclass = \"append-only\"",
        "# added in 3 of 3 outcomes: it was the same every time: better baked",
        "#   /srv/evil  added in 3 of 3 outcomes; suspicious: exec",
        "#   /usr/local/evil  added in 3 of 3 outcomes; under the floor, /usr",
    ] {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
    let page = json(&baked.suggest(&outcomes, &["--format", "json"])?)?;
    assert_eq!((&page["schema_version"], &page["outcomes"]), (&1.into(), &3.into()));

    // Under the suggested contract, the last boot is congruent but for what was
    // told apart.
    let more = baked.sandbox.write("suggested.toml", &text)?;
    ContractFile::parse(&text).context("the suggestion is no contract")?;
    let manifest = baked.sandbox.path("again.manifest");
    agent::bake_composed(debian::root()?, &[&baked.contract, &more], &baked.keys, &manifest)?;
    let look = || agent::verification(&agent::verify(&manifest, &baked.keys.public, &root)?);
    let paths =
        |look: &Verification| look.findings.iter().map(|one| one.path.to_string()).collect::<Vec<_>>();
    assert_eq!(paths(&look()?), ["/srv/evil", "/usr/local/evil"]);
    ["srv/evil", "usr/local/evil"].iter().try_for_each(|path| fs::remove_file(root.join(path)))?;
    assert_eq!(look()?.state, State::Congruent);
    Ok(())
}

#[test]
fn outcomes_that_do_not_fit_are_refused() -> Result<()> {
    let baked = Baked::under(OWN)?;
    let other = baked.sandbox.path("other");
    tree::small(&other)?;
    let manifest = baked.sandbox.path("other.manifest");
    agent::bake(&other, None, &baked.keys, &manifest)?;
    let look = agent::verify(&manifest, &baked.keys.public, &other)?;
    let look = baked.sandbox.write("other.json", &look.stdout)?;
    let says = ["outcome 1 is of the image with the root", "other.json"];
    check_refusal("another image's", &baked.suggest(&[look], &[])?, &says);
    let words = baked.sandbox.write("words.json", "{}")?;
    check_refusal("no outcome", &baked.suggest(&[words], &[])?, &["is not an outcome of `congruent verify"]);
    Ok(())
}
