//! A blob as it comes. Where the connection breaks, it goes on from there.

use std::io::{self, Read};
use std::thread;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::RegistryError;
use super::client::{Client, Request};
use crate::image::document::Descriptor;
use crate::retry::Retry;

/// How often a blob may break off within [`PROGRESS_BYTES`].
const MAX_BREAKS: u32 = 5;
/// So much more, and a connection is as good as any.
const PROGRESS_BYTES: u64 = 1 << 20;

/// The blob that `descriptor` names. Its bytes are not checked here.
pub(super) fn open<'a>(client: &'a Client, descriptor: &Descriptor) -> Result<Blob<'a>, RegistryError> {
    let mut blob = Blob {
        client,
        action: format!("read the blob {}", descriptor.digest),
        path: format!("blobs/{}", descriptor.digest),
        bytes: descriptor.size,
        at: 0,
        answer: None,
        piece: Vec::new(),
        taken: 0,
        breaks: 0,
        last_break: 0,
        retry: Retry::default(),
    };
    blob.ask()?;
    Ok(blob)
}

/// A blob under way.
pub(super) struct Blob<'a> {
    client: &'a Client,
    action: String,
    path: String,
    /// How many bytes it is to have.
    bytes: u64,
    /// How many were given.
    at: u64,
    answer: Option<Response>,
    piece: Vec<u8>,
    /// How many of the piece were given.
    taken: usize,
    breaks: u32,
    last_break: u64,
    retry: Retry,
}

impl Blob<'_> {
    /// Asks for the rest.
    fn ask(&mut self) -> Result<(), RegistryError> {
        let mut request = Request::new(&self.action, Method::GET, self.client.url(&self.path)?);
        if self.at > 0 {
            request = request.header(RANGE, &format!("bytes={}-", self.at));
        }
        let mut answer = self.client.send(&request)?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if self.at > 0 && starts_at(&answer, self.at) => {}
            StatusCode::PARTIAL_CONTENT => {
                return Err(RegistryError::Range { action: self.action.clone(), host: self.client.host() });
            }
            // Whoever knows no ranges begins again, and what we have is passed over.
            StatusCode::OK => self.pass_over(&mut answer)?,
            _ => return Err(self.client.refused(&self.action, answer)),
        }
        self.answer = Some(answer);
        Ok(())
    }

    fn pass_over(&mut self, answer: &mut Response) -> Result<(), RegistryError> {
        let mut left = self.at;
        while left > 0 {
            let piece = self.client.piece(answer).map_err(|error| self.client.failed(&self.action, error))?;
            let Some(piece) = piece else { return Ok(()) };
            let piece = piece.as_ref();
            let over = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= over as u64;
            self.piece = piece[over..].to_vec();
            self.taken = 0;
        }
        Ok(())
    }

    /// Gets the next piece; none at the end.
    fn advance(&mut self) -> Result<bool, RegistryError> {
        loop {
            if self.taken < self.piece.len() {
                return Ok(true);
            }
            if self.at >= self.bytes {
                return Ok(false);
            }
            let came = self.answer.as_mut().map(|answer| self.client.piece(answer));
            match came {
                Some(Ok(Some(piece))) => {
                    self.piece = piece.as_ref().to_vec();
                    self.taken = 0;
                }
                Some(Err(error)) => self.take_up(Some(error))?,
                Some(Ok(None)) | None => self.take_up(None)?,
            }
        }
    }

    /// Goes on after a break, as long as there is something to hope for.
    fn take_up(&mut self, mut error: Option<reqwest::Error>) -> Result<(), RegistryError> {
        loop {
            self.answer = None;
            if self.at >= self.last_break + PROGRESS_BYTES {
                (self.breaks, self.retry) = (0, Retry::default());
            }
            self.last_break = self.at;
            self.breaks += 1;
            if self.breaks > MAX_BREAKS {
                return match error {
                    Some(error) => Err(self.client.failed(&self.action, error)),
                    // It ends too early, and whoever holds it to its size says so.
                    None => {
                        self.bytes = self.at;
                        Ok(())
                    }
                };
            }
            tracing::debug!(blob = %self.path, at = self.at, "a blob broke off; going on from there");
            thread::sleep(self.retry.next());
            match self.ask() {
                Err(RegistryError::Request { source, .. }) => error = Some(source),
                asked => return asked,
            }
        }
    }
}

/// Whether a partial answer begins where it was to.
fn starts_at(answer: &Response, at: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.advance().map_err(io::Error::other)? {
            return Ok(0);
        }
        let left = &self.piece[self.taken..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        self.at += count as u64;
        Ok(count)
    }
}
