//! Who gets through to which port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use congruent_tests::curl::Curl;
use congruent_tests::http;
use congruent_tests::program::{Ended, run};
use congruent_tests::site::token;
use serde_json::{Value, json};

use super::{AGENTS, Place};
use crate::watch::count;

fn port(url: &str) -> Result<&str> {
    url.rsplit(':').next().context("no port")
}

/// curl must fail in the handshake, or soon after: a server of TLS 1.3 tells only
/// then that it took no certificate.
fn check_no_way(ended: &Ended) {
    assert!(
        matches!(ended.code, Some(35 | 56 | 16 | 55)),
        "{:?} {}{}",
        ended.code,
        ended.text(),
        ended.stderr
    );
    assert!(ended.text().trim_end().ends_with("000"), "{}", ended.text());
}

#[test]
fn the_agents_port_is_for_enrolled_nodes_over_tls_1_3_only() -> Result<()> {
    let place = Place::new(&["web-1"], AGENTS)?;
    place.enrolled("web-1")?;
    let url = format!("{}/v1/reports", place.agents_url);
    let node = place.as_node("web-1");
    let reached = node.ask("POST", &url, "{}")?;
    assert_eq!(reached.status, 400, "the way is open: {}", reached.text());
    let nobody = Curl::new(&place.authority());
    check_no_way(&nobody.try_ask("POST", &url, "{}")?);
    check_no_way(&nobody.clone().token(&token("operator")).try_ask(
        "GET",
        &url.replace("reports", "nodes"),
        "",
    )?);
    check_no_way(&node.clone().with("--tls-max").with("1.2").try_ask("POST", &url, "{}")?);

    // As others see it.
    let mut client = Command::new("openssl");
    client.args([
        "s_client",
        "-tls1_2",
        "-connect",
        &format!("127.0.0.1:{}", port(&url)?.replace("/v1/reports", "")),
    ]);
    let ended = run(&mut client)?;
    assert!(ended.stderr.contains("alert protocol version"), "{}", ended.stderr);

    // A node of another collector, whose certificate is as good as ours.
    let other = Place::new(&["web-1"], AGENTS)?;
    other.enrolled("web-1")?;
    let stranger = other.site.state("web-1");
    let stranger =
        Curl::new(&place.authority()).identity(stranger.join("node.crt"), stranger.join("node.key"));
    check_no_way(&stranger.try_ask("POST", &url, "{}")?);

    // What is for operators is not there, and nobody speaks for another node.
    assert_eq!(node.ask("GET", &format!("{}/v1/nodes", place.agents_url), "")?.status, 404);
    let swept = place.site.sweep("web-1")?;
    assert_eq!(swept.code, Some(0), "{}", swept.stderr);
    let claimed = json!({
        "schema_version": 1, "node": "web-2", "boot": "b", "chain": "c", "sequence": 1, "previous": null,
        "agent_version": "0", "reported_at": "2026-03-01T12:00:00Z", "outcome": { "no-manifest": "none" },
        "facts": {
            "host_name": null, "os": null, "kernel": null, "architecture": "x", "cpus": 1, "cpu_model": null,
            "memory_bytes": 1, "disks": [], "networks": [], "uptime_seconds": 1, "machine_id": null,
            "product_uuid": null, "cloud_provider": null, "cloud_instance_id": null
        }
    });
    let claimed = place.site.enrolled("web-1")?.sealed_payload(claimed.to_string().as_bytes(), 2)?;
    let refused = place.site.post(&place.collector, "web-1", &claimed)?;
    let refusal: Value = refused.json()?;
    assert_eq!((refused.status, &refusal["code"]), (422, &"wrong-node".into()), "{refusal}");
    assert_eq!(count(&place.site, "SELECT count(*) FROM reports")?, 1);
    Ok(())
}

#[test]
fn operators_speak_tls_and_others_get_no_answer() -> Result<()> {
    let place = Place::new(&[], AGENTS)?;
    assert_eq!(place.collector.get("/v1/nodes")?.status, 200);
    let url = place.collector.url().to_owned();
    let tls_1_2 = Curl::new(&place.authority()).with("--tls-max").with("1.2");
    assert_eq!(tls_1_2.ask("GET", &format!("{url}/healthz"), "")?.status, 200);
    let plain = http::request("GET", &format!("{}/healthz", url.replace("https", "http")), None, None, b"");
    assert!(plain.is_err(), "{plain:?}");
    let foreign = Place::new(&[], AGENTS)?;
    let ended = Curl::new(&foreign.authority()).try_ask("GET", &format!("{url}/healthz"), "")?;
    assert_eq!(ended.code, Some(60), "a certificate of another authority: {}", ended.stderr);
    Ok(())
}

#[test]
fn without_tls_only_loopback_is_listened_on() -> Result<()> {
    let place = Place::new(&[], AGENTS)?;
    let config = place.site.sandbox.path("server.toml");
    let text = std::fs::read_to_string(&config)?.replace("tls = true", "tls = false");
    for (listen, is_taken) in [("127.0.0.1:0", true), ("0.0.0.0:0", false), ("[::]:0", false)] {
        let text = text.replacen("127.0.0.1:0", listen, 1);
        let config = place.site.sandbox.write("other.toml", text)?;
        let mut command = Command::new(congruent_tests::binaries::path("congruent-server")?);
        let ended = run(command.args(["check-config", "--config"]).arg(config))?;
        assert_eq!(ended.code == Some(0), is_taken, "{listen}: {}", ended.stderr);
        assert!(is_taken || ended.stderr.contains("take `tls = false` out"), "{}", ended.stderr);
    }
    Ok(())
}

/// Connections that say nothing, or begin and never end, on both ports.
#[test]
fn who_is_slow_holds_up_nobody() -> Result<()> {
    const SLOW: usize = 150;
    let place = Place::new(&["web-1"], AGENTS)?;
    let mut held = Vec::new();
    for url in [place.collector.url(), &place.agents_url] {
        for number in 0..SLOW {
            let mut stream = TcpStream::connect(("127.0.0.1", port(url)?.parse::<u16>()?))?;
            if number % 2 == 0 {
                // The head of a handshake record, and nothing of what it announces.
                stream.write_all(&[22, 3, 1, 2, 0, 1])?;
            }
            held.push(stream);
        }
    }
    let begun = Instant::now();
    place.enrolled("web-1")?;
    let swept = place.site.sweep("web-1")?;
    assert_eq!(swept.code, Some(0), "{}", swept.stderr);
    let took = begun.elapsed();
    // They are put out in the end.
    for mut stream in held {
        stream.set_read_timeout(Some(congruent_tests::wait::PATIENCE))?;
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let is_cut = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(ended.as_ref().is_ok() || ended.as_ref().is_err_and(is_cut), "{ended:?}");
    }
    println!("{} slow connections: enrolled and reported within {took:?}", 2 * SLOW);
    Ok(())
}

#[test]
fn who_is_slow_does_not_keep_the_collector_from_stopping() -> Result<()> {
    let place = Place::new(&[], AGENTS)?;
    let connect =
        |url: &str| -> Result<_> { Ok(TcpStream::connect(("127.0.0.1", port(url)?.parse::<u16>()?))?) };
    let held = [connect(place.collector.url())?, connect(&place.agents_url)?];
    // Another request later, both have been accepted.
    assert_eq!(place.collector.get("/v1/nodes")?.status, 200);
    let begun = Instant::now();
    assert_eq!(place.collector.stop()?, Some(0));
    // A handshake may take ten seconds, and is not waited for.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(held);
    Ok(())
}
