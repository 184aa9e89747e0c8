//! Progress on a terminal; nothing anywhere else.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use walkdir::WalkDir;

use crate::sweep::Counters;

const REFRESH: Duration = Duration::from_millis(100);
const BAR: &str = "{prefix} [{bar:30}] {bytes}/{total_bytes}, {msg} entries, {bytes_per_sec}, {eta} left";
const SPINNER: &str = "{prefix} {spinner} {bytes}, {msg} entries, {bytes_per_sec}";

/// Shows how far a sweep is, while it runs.
pub(crate) struct Progress<'a> {
    what: &'static str,
    total_bytes: Total,
    counters: &'a Counters,
}

enum Total {
    Known(u64),
    /// To be counted beneath this directory, beside the sweep.
    Beneath(PathBuf),
}

impl<'a> Progress<'a> {
    /// Progress towards `total_bytes` of content.
    pub(crate) fn towards(what: &'static str, total_bytes: u64, counters: &'a Counters) -> Self {
        Self { what, total_bytes: Total::Known(total_bytes), counters }
    }

    /// Progress towards what lies beneath `root`, which is counted meanwhile.
    pub(crate) fn counting_first(what: &'static str, root: &Path, counters: &'a Counters) -> Self {
        Self { what, total_bytes: Total::Beneath(root.to_owned()), counters }
    }

    /// Runs `work` and shows its progress, if there is someone to see it.
    pub(crate) fn watch<T>(self, work: impl FnOnce() -> T) -> T {
        if !std::io::stderr().is_terminal() {
            return work();
        }
        let done = AtomicBool::new(false);
        let total = AtomicU64::new(0);
        thread::scope(|threads| {
            threads.spawn(|| match &self.total_bytes {
                Total::Known(bytes) => total.store(*bytes, Ordering::Relaxed),
                Total::Beneath(root) => total.store(count_bytes(root, &done), Ordering::Relaxed),
            });
            let painter = threads.spawn(|| self.paint(&total, &done));
            // Dropped when the work ends, also by a panic: the scope waits for
            // the threads, and they for this.
            let _end = End { done: &done, painter: painter.thread().clone() };
            work()
        })
    }

    fn paint(&self, total: &AtomicU64, done: &AtomicBool) {
        let style = |template| ProgressStyle::with_template(template).expect("the templates are constant");
        let bar =
            ProgressBar::no_length().with_style(style(SPINNER)).with_prefix(self.what).with_message("0");
        while !done.load(Ordering::Relaxed) {
            match total.load(Ordering::Relaxed) {
                0 => {}
                length if bar.length().is_none() => {
                    bar.set_style(style(BAR));
                    bar.set_length(length);
                }
                _ => {}
            }
            bar.set_message(self.counters.entries().to_string());
            bar.set_position(self.counters.progress());
            thread::park_timeout(REFRESH);
        }
        bar.finish_and_clear();
    }
}

/// Tells the other threads that the work is over.
struct End<'a> {
    done: &'a AtomicBool,
    painter: Thread,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.painter.unpark();
    }
}

/// The sum of sizes beneath `root`. Only for the bar's length, so that what
/// cannot be read is left out without a word.
fn count_bytes(root: &Path, done: &AtomicBool) -> u64 {
    WalkDir::new(root)
        .same_file_system(true)
        .into_iter()
        .take_while(|_| !done.load(Ordering::Relaxed))
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
