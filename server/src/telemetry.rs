//! Logs: on stderr. What names from outside hold does no harm in them, whoever logged it:
//! a line is a line, and no character acts on a terminal or turns what is read around.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use congruent_protocol::path::plain;
use tracing_subscriber::EnvFilter;

/// The environment variable that says what is logged, such as `debug`.
pub(crate) const LOG_VARIABLE: &str = "CONGRUENT_LOG";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log. Without [`LOG_VARIABLE`], from `info` up.
pub(crate) fn start(format: LogFormat) {
    start_from("info", format);
}

/// Begins to log, for a command whose outcome is what counts: from `warn` up.
pub(crate) fn start_quiet() {
    start_from("warn", LogFormat::Text);
}

fn start_from(level: &str, format: LogFormat) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let colours = format == LogFormat::Text && io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Inert { out: io::stderr(), colours })
        // A reader of the log that goes away must not take us with it.
        .log_internal_errors(false)
        .with_ansi(colours);
    // Only a second call can fail, and then logs are already written.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Writes lines, each given whole, with what is not plain escaped as JSON does; which
/// is what JSON needs, and people know.
struct Inert<W> {
    out: W,
    /// Whether what sets colours is let through.
    colours: bool,
}

impl<W: Write> Write for Inert<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut inert = String::with_capacity(text.len() + 1);
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let length = colour(rest).filter(|_| self.colours).unwrap_or(c.len_utf8());
            let (part, after) = rest.split_at(length);
            match plain(part.as_bytes()) {
                None if length == c.len_utf8() => escape(&mut inert, c),
                _ => inert.push_str(part),
            }
            rest = after;
        }
        inert.push('\n');
        self.out.write_all(inert.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// How long the sequence is that `text` begins with and that sets a colour or a weight;
/// other sequences have no business in a log.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
}

fn escape(inert: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        inert.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, colours: bool) -> String {
        let mut inert = Inert { out: Vec::new(), colours };
        inert.write_all(line.as_bytes()).unwrap();
        String::from_utf8(inert.out).unwrap()
    }

    #[test]
    fn what_names_hold_does_no_harm() {
        for (line, colours, expected) in [
            ("a plain line: é, 中, \"quoted\"\n", false, "a plain line: é, 中, \"quoted\"\n"),
            ("one\ntwo\r\n", false, "one\\u000atwo\\u000d\n"),
            ("\x1b]0;owned\x07", true, "\\u001b]0;owned\\u0007\n"),
            ("\x1b[2mdim\x1b[0m \x1b[31;1mred\n", true, "\x1b[2mdim\x1b[0m \x1b[31;1mred\n"),
            ("\x1b[2mdim\n", false, "\\u001b[2mdim\n"),
            ("\x1b[2Jgone \x1b[m\n", true, "\\u001b[2Jgone \x1b[m\n"),
            (
                "{\"node\":\"a\u{202e}b\u{9b}\u{e0001}\"}\n",
                false,
                "{\"node\":\"a\\u202eb\\u009b\\udb40\\udc01\"}\n",
            ),
        ] {
            assert_eq!(check(line, colours), expected, "{line:?}");
        }
    }
}
