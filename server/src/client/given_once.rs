//! Tokens that the collector gives once: into a file for their owner alone, or to
//! standard output.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use reqwest::Method;
use serde_json::Value;

use super::connection::{Connection, Content};
use super::{Format, output};

/// Asks for what has a token, and gives the token to `file`, or to standard output.
pub(super) async fn create(
    connection: &Connection,
    path: &[&str],
    reason: &str,
    wanted: Value,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let file = file.map(TokenFile::create).transpose()?;
    let answer = connection.change(Method::POST, path, reason, Content::Json(wanted)).await;
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            file.iter().for_each(TokenFile::remove);
            return Err(error.into());
        }
    };
    let token = answer["token"].as_str().unwrap_or_default().to_owned();
    if let (Some(mut file), Value::Object(members)) = (file, &mut answer) {
        members.remove("token");
        file.write(&token)?;
        return output::one(connection.format, &answer);
    }
    match connection.format {
        Format::Json => output::one(Format::Json, &answer),
        Format::Text => output::write(&format!("{token}\n")),
    }
}

/// A file for a token, made before the token is: one that cannot be written
/// would lose it.
struct TokenFile<'a> {
    path: &'a Path,
    file: fs::File,
}

impl<'a> TokenFile<'a> {
    fn create(path: &'a Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn write(&mut self, token: &str) -> anyhow::Result<()> {
        let written = writeln!(self.file, "{token}").and_then(|()| self.file.sync_all());
        written.with_context(|| {
            format!(
                "it was created, but its token cannot be written to {}: revoke it, and create another",
                self.path.display()
            )
        })
    }

    fn remove(&self) {
        // It is empty; left over it is in the way, and no more.
        let _ = fs::remove_file(self.path);
    }
}
