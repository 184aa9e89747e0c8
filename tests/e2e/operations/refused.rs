//! Requests that are refused before their body was read, over HTTP/2.

use anyhow::{Result, ensure};
use congruent_tests::curl::Curl;
use congruent_tests::site::{Settings, Site};

/// How often it is tried: what may go wrong is a race.
const ROUNDS: usize = 40;
/// More than fits into what a connection has under way without being read.
const BODY_BYTES: usize = 700_000;

#[test]
fn over_http_2_who_is_refused_gets_the_answer_and_no_reset() -> Result<()> {
    let site = Site::small(&[])?;
    let collector = site.collect(&Settings::default())?;
    let body = site.sandbox.write("body", vec![b'x'; BODY_BYTES])?;
    let curl = Curl::new(collector.authority()).with("--http2");
    let (tokens, nowhere) = (format!("{}/v1/tokens", collector.url()), format!("{}/none", collector.url()));
    for round in 0..ROUNDS {
        for (url, status) in [(&tokens, 401), (&nowhere, 404)] {
            let answer = curl.post_file(url, &body)?;
            ensure!(answer.status == status, "round {round}: {url}: {} {}", answer.status, answer.text());
        }
    }
    ensure!(collector.stop()? == Some(0));
    println!("{} requests of {BODY_BYTES} bytes refused over HTTP/2: each with its answer", 2 * ROUNDS);
    Ok(())
}
