//! Bodies that are far larger than they look, or than anybody needs.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use congruent_protocol::report::Refusal;
use congruent_tests::collector::Collector;
use congruent_tests::site::Settings;
use congruent_tests::wait::{PATIENCE, wait_for};

use super::report::Scene;
use crate::watch::node;

const GIB: usize = 1 << 30;
/// What a refused body may cost the collector: the limit, twice over.
const MAX_GROWTH_BYTES: u64 = 200 << 20;

/// The most memory that the collector has had so far, in bytes.
fn peak(collector: &Collector) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", collector.process_id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn check_refused(what: &str, said: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(said);
    let (body, status) = text.rsplit_once('\n').context("curl says no status")?;
    assert_eq!(status, "413", "{what}: {body}");
    assert_eq!(serde_json::from_str::<Refusal>(body)?.code, "body-too-large", "{what}: {body}");
    Ok(())
}

#[test]
fn a_few_bytes_that_become_a_gigabyte_are_refused() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let before = (peak(&scene.collector)?, node(&scene.collector, "web-1")?["state"].take());
    let mut zeros = zstd::Encoder::new(Vec::new(), 19)?;
    let chunk = vec![0; 1 << 20];
    for _ in 0..GIB / chunk.len() {
        std::io::Write::write_all(&mut zeros, &chunk)?;
    }
    let bomb = zeros.finish()?;
    let file = scene.site.sandbox.write("bomb", &bomb)?;
    let curl = scene.site.enrolled("web-1")?.curl(scene.collector.authority());
    let url = format!("{}/v1/reports", scene.collector.agents_url()?);
    let response = curl.with("--header").with("content-encoding: zstd").post_file(&url, &file)?;
    check_refused("a bomb", format!("{}\n{}", response.text(), response.status).as_bytes())?;
    let grown = peak(&scene.collector)?.saturating_sub(before.0);
    assert!(grown < MAX_GROWTH_BYTES, "the collector grew by {grown} bytes");
    scene.check_unchanged("a bomb", &before.1)?;
    println!("{} bytes that become 1 GiB: refused, {} MiB of memory", bomb.len(), grown >> 20);
    scene.check_nothing_was_lost()
}

#[test]
fn a_body_of_a_gigabyte_is_refused() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let before = (peak(&scene.collector)?, node(&scene.collector, "web-1")?["state"].take());
    let state = scene.site.state("web-1");
    let url = format!("{}/v1/reports", scene.collector.agents_url()?);
    let mut zeros = Command::new("head");
    let mut zeros = zeros.args(["-c", &GIB.to_string(), "/dev/zero"]).stdout(Stdio::piped()).spawn()?;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--noproxy", "*", "--request", "POST", "--write-out", "\n%{http_code}"]);
    curl.arg("--cacert").arg(scene.collector.authority()).arg("--cert").arg(state.join("node.crt"));
    curl.arg("--key").arg(state.join("node.key"));
    // As it comes, not first into memory.
    curl.args(["--upload-file", "-"]).arg(&url).stdin(zeros.stdout.take().context("no zeros")?);
    let sending = thread::spawn(move || curl.output());
    let ended = wait_for("the refusal", PATIENCE, || Ok(sending.is_finished().then_some(())));
    congruent_tests::program::end(&mut zeros);
    ended?;
    let said = sending.join().map_err(|_| anyhow::anyhow!("curl was not run"))??;
    // Much of it is dropped, so that who sends a little too much reads the answer; who
    // goes on is cut off, and curl may have no ear for the answer by then.
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(!said.status.success() || text.ends_with("\n413"), "{text}");
    let refusal = node(&scene.collector, "web-1")?["refusals"][0]["code"].take();
    assert_eq!(refusal, "body-too-large");
    let grown = peak(&scene.collector)?.saturating_sub(before.0);
    assert!(grown < MAX_GROWTH_BYTES, "the collector grew by {grown} bytes");
    scene.check_unchanged("a gigabyte", &before.1)?;
    println!("a body of 1 GiB: refused, {} MiB of memory", grown >> 20);
    scene.check_nothing_was_lost()
}
