//! A small HTTP client and the reading half of a server, over plain sockets on
//! the loopback: enough to say exactly what goes over the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
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
    let rest = url.strip_prefix("http://").context("only http:// is spoken here")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let mut stream = TcpStream::connect(authority).with_context(|| format!("cannot connect to {url}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.0\r\nhost: {authority}\r\n");
    for (name, value) in [("authorization", token.map(|token| format!("Bearer {token}")))]
        .into_iter()
        .chain([("content-type", content_type.map(str::to_owned))])
    {
        if let Some(value) = value {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).with_context(|| format!("cannot send to {url}"))?;
    // A server may refuse before it has read the whole body, and close.
    let _ = stream.write_all(body);
    let answer = Message::read(stream, true).with_context(|| format!("no answer from {url}"))?;
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
