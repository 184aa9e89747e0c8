//! A small HTTP client and the reading half of a server, over sockets on the
//! loopback, plain or with TLS: enough to say exactly what goes over the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::de::DeserializeOwned;

use crate::wait::PATIENCE;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is anything else; with the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {}", self.status, self.text()))
    }
}

/// The head and body of a request or an answer, as they came.
#[derive(Debug, Clone)]
pub struct Message {
    /// The first line.
    pub first_line: String,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads a message whose body has a stated length or, where `to_end`, goes
    /// on to the end of the connection.
    ///
    /// # Errors
    /// When the connection fails or what comes is not HTTP.
    pub fn read(stream: impl Read, to_end: bool) -> Result<Self> {
        let mut input = BufReader::new(stream);
        let first_line = read_line(&mut input)?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(&mut input)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self { first_line, headers, body: Vec::new() };
        match message.header("content-length").map(str::parse) {
            Some(length) => {
                message.body.resize(length.context("content-length is not a number")?, 0);
                input.read_exact(&mut message.body).context("the body is cut short")?;
            }
            None if to_end => {
                input.read_to_end(&mut message.body).context("cannot read the body")?;
            }
            None => {}
        }
        Ok(message)
    }
}

/// Sends one request and reads the answer. HTTP/1.0, so that no answer is chunked.
///
/// # Errors
/// When the server cannot be reached, or what it says is not HTTP.
pub fn request(
    method: &str,
    url: &str,
    token: Option<&str>,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Response> {
    let (host, path) = parts(url, "http://")?;
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers = [("authorization", bearer.as_deref()), ("content-type", content_type)];
    let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    exchange(connect(host)?, (method, host, path), &headers, body).with_context(|| url.to_owned())
}

/// The same over TLS, to a server of the authority whose certificate is in the file
/// `authority`.
///
/// # Errors
/// When the server cannot be reached or is another, or what it says is not HTTP.
pub fn request_tls(
    authority: &Path,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    let (host, path) = parts(url, "https://")?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
    let name = ServerName::try_from(name).context("the URL names no host")?;
    let tls = ClientConnection::new(Arc::new(trusting(authority)?), name).context("cannot begin TLS")?;
    let stream = StreamOwned::new(tls, connect(host)?);
    exchange(stream, (method, host, path), headers, body).with_context(|| url.to_owned())
}

/// TLS to whoever is of this authority.
fn trusting(authority: &Path) -> Result<ClientConfig> {
    let certificate = CertificateDer::from_pem_file(authority)
        .with_context(|| format!("{} is no certificate", authority.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).context("the authority's certificate cannot be used")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.context("cannot set up TLS")?.with_root_certificates(roots).with_no_client_auth())
}

/// The host with its port, and the path.
fn parts<'a>(url: &'a str, scheme: &str) -> Result<(&'a str, &'a str)> {
    let rest = url.strip_prefix(scheme).with_context(|| format!("only {scheme} is spoken here: {url}"))?;
    Ok(rest.find('/').map_or((rest, "/"), |at| rest.split_at(at)))
}

fn connect(host: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(host).with_context(|| format!("cannot connect to {host}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(
    mut stream: impl Read + Write,
    (method, host, path): (&str, &str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    let mut head = format!("{method} {path} HTTP/1.0\r\nhost: {host}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).context("cannot send")?;
    // A server may refuse before it has read the whole body, and close.
    let _ = stream.write_all(body);
    let answer = Message::read(stream, true).context("no answer")?;
    let status = answer.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("{:?} is not HTTP", answer.first_line))?;
    Ok(Response { status, body: answer.body })
}

fn read_line(input: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    input.read_line(&mut line).context("cannot read a line")?;
    // A sender that is killed says nothing, or half a line.
    ensure!(line.ends_with('\n'), "the connection ended within the head");
    Ok(line.trim_end().to_owned())
}
