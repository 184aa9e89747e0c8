//! Logs: on stderr, with names from outside escaped by those who log them.

use std::io::IsTerminal;

use clap::ValueEnum;
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
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A reader of the log that goes away must not take us with it.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    // Only a second call can fail, and then logs are already written.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
