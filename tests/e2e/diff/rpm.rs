//! The real rpm: packages that rpmbuild made, installed into an empty root.

use congruent_tests::tree;

use super::*;

struct Scene {
    sandbox: Sandbox,
    root: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let root = sandbox.path("root");
        tree::small(&root)?;
        Ok(Self { sandbox, root })
    }

    /// Builds and installs, or upgrades to, this version of `hello`.
    fn install(&self, version: &str, greeting: &str) -> Result<()> {
        let spec = format!(
            "Name: hello\nEpoch: 2\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n\
             %description\nx\n%install\nmkdir -p %{{buildroot}}/opt/hello %{{buildroot}}/bin\n\
             echo {greeting} > \"%{{buildroot}}/opt/hello/it's\"\necho x > %{{buildroot}}/bin/hello\n\
             %files\n/opt/hello\n/bin/hello\n"
        );
        let spec = self.sandbox.write(format!("hello-{version}.spec"), spec)?;
        let top = self.sandbox.path("top");
        let define = format!("_topdir {}", top.display());
        succeed::<&OsStr>("rpmbuild", ["-bb".as_ref(), "--define".as_ref(), define.as_ref(), spec.as_ref()])?;
        let rpm = top.join(format!("RPMS/noarch/hello-{version}-1.noarch.rpm"));
        let database = ["--dbpath", "/var/lib/rpm", "--upgrade"].map(OsStr::new);
        let root = ["--root".as_ref(), self.root.as_os_str()];
        succeed::<&OsStr>("rpm", root.into_iter().chain(database).chain([rpm.as_os_str()]))?;
        Ok(())
    }

    fn bake(&self, version: &str) -> Result<PathBuf> {
        let manifest = self.sandbox.path(format!("{version}.manifest"));
        let said = bake(&self.root, version, &manifest, &[])?;
        ensure!(!said.contains("packages:"), "{said}");
        Ok(manifest)
    }

    /// Every byte and time of the database.
    fn database(&self) -> Result<Vec<(PathBuf, Vec<u8>, std::time::SystemTime)>> {
        let mut files = Vec::new();
        for file in fs::read_dir(self.root.join("var/lib/rpm"))? {
            let path = file?.path();
            files.push((path.clone(), fs::read(&path)?, fs::metadata(&path)?.modified()?));
        }
        files.sort();
        Ok(files)
    }
}

#[test]
fn changes_are_told_by_package() -> Result<()> {
    let scene = Scene::new()?;
    scene.install("1.0", "hello")?;
    let before = scene.database()?;
    let old = scene.bake("1")?;
    assert_eq!(scene.database()?, before, "baking wrote to the database");
    scene.install("1.1", "hi")?;
    fs::write(scene.root.join("etc/web.conf"), "listen 81\n")?;
    let (code, json) = diff_json(&old, &scene.bake("2")?, &[])?;
    assert_eq!((code, &json["packages"]["manager"]), (Some(0), &"rpm".into()));
    assert_eq!(brief_packages(&json)?, ["updated hello 2:1.0-1 2:1.1-1"]);
    let changes: Vec<_> = brief(&json)?.into_iter().filter(|line| !line.contains("/var/lib/rpm")).collect();
    assert_eq!(changes, ["modified /etc/web.conf -", "modified /opt/hello/it's hello"]);
    Ok(())
}

#[test]
fn what_changed_behind_the_back_of_rpm_is_told() -> Result<()> {
    let scene = Scene::new()?;
    scene.install("1.0", "hello")?;
    let old = scene.bake("1")?;
    // Listed as /bin/hello, and /bin is a link.
    fs::write(scene.root.join("usr/bin/hello"), "hacked\n")?;
    let (_, json) = diff_json(&old, &scene.bake("2")?, &[])?;
    assert_eq!(brief(&json)?, ["modified /usr/bin/hello hello outside"]);
    Ok(())
}

#[test]
fn a_database_that_cannot_be_read_is_told_and_nothing_is_recorded() -> Result<()> {
    let scene = Scene::new()?;
    scene.install("1.0", "hello")?;
    let output = scene.sandbox.path("web.manifest");
    // A PATH without rpm in it.
    let mut bake = agent::bake_command(&scene.root, &output)?;
    let ended = run(bake.env("PATH", scene.sandbox.folder()))?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the program rpm, which reads it, is not on this machine"),
        "{}",
        ended.stderr
    );
    assert!(shown(&output)?["manifest"]["packages"].is_null());
    for file in fs::read_dir(scene.root.join("var/lib/rpm"))? {
        fs::write(file?.path(), "no database")?;
    }
    let said = super::bake(&scene.root, "1", &output, &[])?;
    assert!(
        said.contains("packages: none are recorded: rpm cannot read rpm's database /var/lib/rpm"),
        "{said}"
    );
    assert!(shown(&output)?["manifest"]["packages"].is_null());
    Ok(())
}
