//! How a collector stops: not ready first, then everything under way, then nothing. By
//! sockets that say exactly what came back.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use congruent_tests::collector::Collector;
use congruent_tests::http::Message;
use congruent_tests::program::end;
use congruent_tests::site::{GROUP, Settings, Site, token};
use congruent_tests::wait::{PATIENCE, wait_for};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// What stopping may take at most.
const WITHIN: Duration = Duration::from_secs(25);
const CALLERS: usize = 8;

/// One caller that keeps its connection for as long as it may.
struct Caller {
    address: String,
    kept: Option<TcpStream>,
}

impl Caller {
    fn new(collector: &Collector) -> Result<Self> {
        let address = collector.url().strip_prefix("http://").context("not plain HTTP")?.to_owned();
        Ok(Self { address, kept: None })
    }

    /// A connection, the kept one or another; none where nobody listens any more.
    fn connection(&mut self) -> Result<Option<TcpStream>> {
        if let Some(kept) = self.kept.take() {
            return Ok(Some(kept));
        }
        match TcpStream::connect(&self.address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
            Err(error) => Err(error).context("cannot connect"),
        }
    }

    /// The whole answer to a request; none where nobody listens any more.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Option<Message>> {
        let Some(mut stream) = self.connection()? else { return Ok(None) };
        stream.write_all(head(method, path, body.len()).as_bytes()).context("cannot send")?;
        stream.write_all(body.as_bytes()).context("cannot send the body")?;
        let answer = Message::read(&stream, false).context("no answer")?;
        self.kept = (answer.header("connection") != Some("close")).then_some(stream);
        Ok(Some(answer))
    }
}

fn head(method: &str, path: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: collector\r\nauthorization: Bearer {}\r\ncongruent-reason: a test\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        token("operator")
    )
}

fn status(answer: &Message) -> &str {
    answer.first_line.split(' ').nth(1).unwrap_or_default()
}

/// Makes tokens until nobody listens any more; gives the ids of those that were
/// acknowledged.
fn make_tokens(mut caller: Caller, made: &AtomicUsize) -> Result<Vec<String>> {
    let (mut ids, body) = (Vec::new(), format!("{{\"group\":\"{GROUP}\"}}"));
    while let Some(answer) = caller.ask("POST", "/v1/tokens", &body)? {
        ensure!(status(&answer) == "201", "{}", answer.first_line);
        let json: Value = serde_json::from_slice(&answer.body)?;
        ids.push(json["id"].as_str().context("no id in the answer")?.to_owned());
        made.fetch_add(1, Ordering::Relaxed);
    }
    Ok(ids)
}

fn plain() -> Settings {
    Settings { tls: false, ..Settings::default() }
}

#[test]
fn under_load_every_request_is_answered_and_nothing_acknowledged_is_lost() -> Result<()> {
    let site = Site::small(&[])?;
    let collector = site.collect(&plain())?;
    let made = AtomicUsize::new(0);
    let callers = (0..CALLERS).map(|_| Caller::new(&collector)).collect::<Result<Vec<_>>>()?;
    let (acknowledged, code, took) = thread::scope(|scope| {
        let made = &made;
        let calling: Vec<_> =
            callers.into_iter().map(|caller| scope.spawn(move || make_tokens(caller, made))).collect();
        wait_for("some load", PATIENCE, || Ok((made.load(Ordering::Relaxed) > 200).then_some(())))?;
        let begun = Instant::now();
        let code = collector.stop()?;
        let took = begun.elapsed();
        let mut all = Vec::new();
        for caller in calling {
            match caller.join() {
                Ok(ids) => all.extend(ids?),
                Err(_) => bail!("a caller panicked"),
            }
        }
        Ok((all, code, took))
    })?;
    ensure!(code == Some(0) && took < WITHIN, "{code:?} after {took:?}");
    let database = Connection::open_with_flags(site.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    for id in &acknowledged {
        let there: i64 =
            database.query_row("SELECT count(*) FROM join_tokens WHERE id = ?1", [id], |row| row.get(0))?;
        ensure!(there == 1, "{id} was acknowledged and is lost");
    }
    println!(
        "stopped under {CALLERS} callers in {} ms: {} writes acknowledged, none lost, no request without an answer",
        took.as_millis(),
        acknowledged.len()
    );
    Ok(())
}

/// How many requests curl has to make; far more than are made before the stop.
const STREAMS: usize = 30_000;
/// What curl says where nobody listens any more.
const CANNOT_CONNECT: &str = "000 7";

#[test]
fn over_http_2_every_request_is_answered_or_was_never_taken() -> Result<()> {
    let site = Site::small(&[])?;
    let collector = site.collect(&Settings::default())?;
    let said = site.sandbox.path("said");
    let url = format!("{}/v1/tokens?limit=[1-{STREAMS}]", collector.url());
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--no-progress-meter",
        "--http2",
        "--parallel",
        "--parallel-max",
        "16",
        "--noproxy",
        "*",
        "--cacert",
    ]);
    curl.arg(collector.authority())
        .args(["--header", &format!("authorization: Bearer {}", token("operator"))]);
    curl.args(["--output", "/dev/null", "--write-out", "%{http_code} %{exitcode}\n", &url]);
    let out = File::create(&said)?;
    let mut curl =
        curl.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().context("cannot start curl")?;
    let lines = || -> Result<usize> { Ok(std::fs::read_to_string(&said)?.lines().count()) };
    wait_for("some load", PATIENCE, || Ok((lines()? > 500).then_some(())))?;
    let code = collector.stop()?;
    let ended = wait_for("curl to end", PATIENCE, || Ok(curl.try_wait()?));
    if ended.is_err() {
        end(&mut curl);
    }
    ended?;
    ensure!(code == Some(0), "{code:?}");
    let (mut answered, mut refused) = (0, 0);
    for line in std::fs::read_to_string(&said)?.lines() {
        match line {
            "200 0" | "400 0" => answered += 1,
            CANNOT_CONNECT => refused += 1,
            other => bail!("a request came to {other:?}"),
        }
    }
    ensure!(answered > 500 && answered + refused == STREAMS, "{answered} and {refused}");
    println!("over HTTP/2: {answered} requests answered until it stopped, none cut off");
    Ok(())
}

#[test]
fn it_is_unready_before_it_stops_and_answers_what_is_under_way() -> Result<()> {
    let site = Site::small(&[])?;
    let collector = site.collect(&Settings { more: "drain-delay = \"2s\"\n", ..plain() })?;
    let mut caller = Caller::new(&collector)?;
    let ready = caller.ask("GET", "/readyz", "")?.context("no answer")?;
    ensure!(status(&ready) == "200", "{}", ready.first_line);
    let mut slow = Caller::new(&collector)?.connection()?.context("nobody listens")?;
    let body = format!("{{\"group\":\"{GROUP}\"}}");
    let (first, rest) = body.split_at(5);
    slow.write_all(head("POST", "/v1/tokens", body.len()).as_bytes())?;
    slow.write_all(first.as_bytes())?;
    collector.terminate()?;
    let unready = wait_for("it to be unready", PATIENCE, || {
        let answer = caller.ask("GET", "/readyz", "")?.context("it stopped before it was unready")?;
        Ok((status(&answer) == "503").then_some(answer))
    })?;
    let json: Value = serde_json::from_slice(&unready.body)?;
    ensure!(json["checks"][0]["name"] == "running" && json["checks"][0]["ok"] == false, "{json}");
    ensure!(unready.header("connection") == Some("close"), "who keeps a connection learns of it");
    let list = caller.ask("GET", "/v1/tokens", "")?.context("requests are still taken")?;
    ensure!(status(&list) == "200", "{}", list.first_line);
    slow.write_all(rest.as_bytes())?;
    let answer = Message::read(&slow, false)?;
    ensure!(status(&answer) == "201" && answer.header("connection") == Some("close"), "{answer:?}");
    ensure!(collector.ended()? == Some(0));
    Ok(())
}

#[test]
fn a_second_signal_ends_it_at_once() -> Result<()> {
    let site = Site::small(&[])?;
    let collector = site.collect(&plain())?;
    // A request that never comes to its end.
    let mut slow = Caller::new(&collector)?.connection()?.context("nobody listens")?;
    slow.write_all(head("POST", "/v1/tokens", 100).as_bytes())?;
    let mut caller = Caller::new(&collector)?;
    collector.terminate()?;
    wait_for("it to stop listening", PATIENCE, || {
        Ok(caller.ask("GET", "/healthz", "")?.is_none().then_some(()))
    })?;
    let begun = Instant::now();
    collector.terminate()?;
    let code = collector.ended()?;
    ensure!(
        code == Some(2) && begun.elapsed() < Duration::from_secs(5),
        "{code:?} after {:?}",
        begun.elapsed()
    );
    let log = std::fs::read_to_string(site.sandbox.path("server.log"))?;
    ensure!(log.contains("a second signal came before"), "{log}");
    Ok(())
}
