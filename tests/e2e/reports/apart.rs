//! A report that no row of the database holds lies as a blob, in a directory or in a bucket.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use congruent_protocol::digest::Algorithm;
use congruent_tests::binaries;
use congruent_tests::collector::Collector;
use congruent_tests::program::{self, Ended, run};
use congruent_tests::s3::{BUCKET, KEY_ID, S3, SECRET};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::site::{Settings, Site};
use congruent_tests::tree;
use congruent_tests::wait::{PATIENCE, wait_for};
use serde_json::json;

use crate::watch::{count, node, sweep, wait_for_state};

/// Files that come and go. What goes is told by its paths, in one message.
const FILES: u32 = 12_000;
const NAMED: &str = "SELECT count(*) FROM report_blobs WHERE report_id IS NOT NULL";

/// An installation whose blobs lie somewhere.
struct Place {
    site: Site,
    settings: Settings,
    /// Where their files are.
    folder: PathBuf,
    _store: Option<S3>,
}

impl Place {
    fn directory() -> Result<Self> {
        let site = Site::new(Sandbox::for_trees()?, &["web-1"], tree::small)?;
        let folder = site.sandbox.path("manifests");
        Ok(Self { site, settings: Settings::default(), folder, _store: None })
    }

    fn bucket() -> Result<Self> {
        let site = Site::new(Sandbox::for_trees()?, &["web-1"], tree::small)?;
        let store = S3::start(&site.sandbox.path("store"))?;
        site.sandbox.write("s3.secret", SECRET)?;
        let more = format!(
            "blobs = {{ url = \"s3://{BUCKET}/fleet\", endpoint = {:?}, access-key-id = {KEY_ID:?}, \
             secret-access-key-file = \"s3.secret\" }}\n",
            store.endpoint()
        );
        let settings = Settings { more: more.leak(), ..Settings::default() };
        Ok(Self { folder: store.objects().join("fleet"), site, settings, _store: Some(store) })
    }

    /// The files of the bodies.
    fn bodies(&self) -> Result<Vec<PathBuf>> {
        let paths = fs::read_dir(&self.folder).into_iter().flatten().map(|entry| Ok(entry?.path()));
        let mut bodies: Vec<PathBuf> = paths.collect::<Result<_>>()?;
        bodies.retain(|path| path.extension().is_some_and(|ending| ending == "report"));
        Ok(bodies)
    }

    fn start(&self) -> Result<Collector> {
        self.site.collect(&self.settings)
    }

    /// Starts it without the copies that it had of what lies in a bucket.
    fn start_cold(&self) -> Result<Collector> {
        self.let_go("blob-cache")?;
        self.start()
    }

    fn let_go(&self, name: &str) -> Result<()> {
        let path = self.site.sandbox.path(name);
        if path.exists() { fs::remove_dir_all(path).context("cannot remove a folder") } else { Ok(()) }
    }

    fn server(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = Command::new(binaries::path("congruent-server")?);
        command.args(arguments).arg("--config").arg(self.site.sandbox.path("server.toml"));
        let ended = run(&mut command)?;
        ensure!(ended.code == Some(0), "{arguments:?}: {}", ended.stderr);
        Ok(ended)
    }

    fn log(&self) -> Result<String> {
        fs::read_to_string(self.site.sandbox.path("server.log")).context("cannot read the log")
    }
}

fn files(site: &Site) -> Vec<PathBuf> {
    let folder = site.root("web-1").join("etc");
    let name = |number: u32| Algorithm::Blake3.digest(&number.to_le_bytes()).to_hex();
    (0..FILES).map(|number| folder.join(name(number))).collect()
}

#[test]
fn a_large_report_in_a_directory_outlives_kills_backups_and_is_named_where_it_is_lost() -> Result<()> {
    check(&Place::directory()?)
}

#[test]
fn a_large_report_in_a_bucket_outlives_kills_backups_and_is_named_where_it_is_lost() -> Result<()> {
    check(&Place::bucket()?)
}

fn check(place: &Place) -> Result<()> {
    send_while_it_is_killed(place)?;
    read_back(place)?;
    name_what_is_altered(place)?;
    back_up_and_restore(place)
}

/// The collector is killed as soon as the blob is there, whatever it was about to do.
fn send_while_it_is_killed(place: &Place) -> Result<()> {
    let site = &place.site;
    let collector = place.start()?;
    sweep(site, "web-1", 0)?;
    let files = files(site);
    files.iter().try_for_each(|path| fs::write(path, ""))?;
    sweep(site, "web-1", 1)?;
    assert_eq!((count(site, NAMED)?, place.bodies()?.len()), (0, 0), "a cover and pages are small");

    files.iter().try_for_each(fs::remove_file)?;
    let mut agent = site.agent("web-1")?.arg("--once").stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let put = wait_for("the blob", PATIENCE, || Ok((!place.bodies()?.is_empty()).then_some(())));
    collector.kill();
    program::end(&mut agent);
    put?;
    let named = count(site, "SELECT count(*) FROM report_blobs")?;
    assert!(named >= 1, "a blob lies there of which the database knows nothing");

    // It is delivered again, or was acknowledged, and so is a clean sweep.
    let collector = place.start_cold()?;
    sweep(site, "web-1", 0)?;
    let named = count(site, NAMED)?;
    // Where the first was not acknowledged, the next tells of the same difference.
    assert!((1..=2).contains(&named), "{named} large reports");
    assert_eq!(count(site, "SELECT count(*) FROM reports")?, 4);
    assert_eq!(count(site, "SELECT count(*) FROM report_bodies")?, 4 - named);
    assert_eq!(count(site, "SELECT count(*) FROM refusals")?, 0);
    let rows = count(site, "SELECT count(*) FROM report_blobs")?;
    let (bodies, rows) = (place.bodies()?.len(), usize::try_from(rows)?);
    assert!(bodies <= rows, "{bodies} blobs, {rows} names");
    collector.kill();

    // And another that is acknowledged, and the newest.
    let collector = place.start()?;
    files.iter().try_for_each(|path| fs::write(path, ""))?;
    sweep(site, "web-1", 1)?;
    files.iter().try_for_each(fs::remove_file)?;
    sweep(site, "web-1", 0)?;
    collector.kill();
    assert_eq!(count(site, NAMED)?, named + 1);
    Ok(())
}

/// The newest report of the node is the one that lies apart.
fn read_back(place: &Place) -> Result<()> {
    let collector = place.start_cold()?;
    wait_for_state(&collector, "web-1", "congruent")?;
    let shown = node(&collector, "web-1")?;
    assert_eq!(shown["report"]["sequence"], 6);
    assert!(shown["facts"]["architecture"].is_string() && shown["coverage"]["mode"] == "full", "{shown}");
    let items = collector.get("/v1/cmdb/items")?;
    assert!(items.status == 200 && items.text().contains("architecture"), "{}", items.text());
    let told = place.server(&["report", "--from", "2020-01-01", "--to", "2199-01-01"])?;
    assert!(String::from_utf8_lossy(&told.stdout).contains("web-1"));
    assert_eq!(collector.stop()?, Some(0));
    Ok(())
}

/// The blob of the newest report.
fn newest(place: &Place) -> Result<PathBuf> {
    let database = rusqlite::Connection::open(place.site.database())?;
    let sql = "SELECT name FROM report_blobs WHERE report_id IS NOT NULL ORDER BY report_id DESC LIMIT 1";
    let name: String = database.query_row(sql, [], |row| row.get(0))?;
    Ok(place.folder.join(name))
}

fn name_what_is_altered(place: &Place) -> Result<()> {
    let blob = newest(place)?;
    let whole = fs::read(&blob)?;
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    let name = blob.file_name().context("no name")?.to_string_lossy().into_owned();
    for (content, says) in [(Some(&altered), "not what its name says"), (None, "is missing")] {
        match content {
            Some(content) => fs::write(&blob, content)?,
            None => fs::remove_file(&blob)?,
        }
        let collector = place.start_cold()?;
        for path in ["/v1/nodes/web-1", "/v1/cmdb/items"] {
            let answer = collector.get(path)?;
            let told = answer.text();
            assert_eq!(answer.status, 503, "{told}");
            assert_eq!(answer.json::<serde_json::Value>()?["code"], "evidence-unavailable");
            assert!(
                told.contains("report 6 of node") && told.contains(&name) && told.contains(says),
                "{told}"
            );
        }
        // It is no verdict, and the rest is served.
        assert_eq!(collector.json("/v1/nodes")?["nodes"][0]["state"], json!("congruent"));
        assert_eq!(collector.stop()?, Some(0));
    }
    let log = place.log()?;
    assert!(log.contains("the body of a report is missing") && log.contains(&name), "{log}");
    fs::write(&blob, whole)?;
    let collector = place.start_cold()?;
    assert_eq!(node(&collector, "web-1")?["report"]["sequence"], 6);
    assert_eq!(collector.stop()?, Some(0));
    Ok(())
}

/// How a backup tells what it has, from the word before the number of reports on.
fn and_large_reports(large: i64) -> String {
    format!(" and {large} large report{}", if large == 1 { "" } else { "s" })
}

fn back_up_and_restore(place: &Place) -> Result<()> {
    let output = place.site.sandbox.path("backup").to_string_lossy().into_owned();
    let large = count(&place.site, NAMED)?;
    let made = place.server(&["backup", "--output", &output])?.text();
    assert!(made.contains(&and_large_reports(large)) && !made.contains("missing"), "{made}");
    for ending in ["", "-wal", "-shm"] {
        let path = place.site.sandbox.path(format!("congruent.db{ending}"));
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    place.bodies()?.iter().try_for_each(fs::remove_file)?;
    place.server(&["restore", "--input", &output])?;
    let collector = place.start_cold()?;
    let shown = node(&collector, "web-1")?;
    assert_eq!((&shown["report"]["sequence"], &shown["state"]), (&json!(6), &json!("congruent")));
    sweep(&place.site, "web-1", 0)?;

    // A backup of what was lost says so.
    fs::remove_file(newest(place)?)?;
    place.let_go("blob-cache")?;
    fs::remove_dir_all(&output)?;
    let made = place.server(&["backup", "--output", &output])?.text();
    assert!(
        made.contains(&and_large_reports(large - 1)) && made.contains("missing, and not in it: blake3-"),
        "{made}"
    );
    Ok(())
}
