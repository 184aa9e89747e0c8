//! The pool: batches go to readers in any order and come back in order.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::read::Reader;
use super::walk::{Job, Walk};
use super::{Counters, Root, Scope, Seen, raise_open_file_limit};

/// Batches in flight for each reader. With [`BATCH_JOBS`] this bounds memory and
/// open directories.
const BATCHES_PER_THREAD: usize = 8;
/// Paths in a batch: enough that a channel costs nothing beside them.
pub(super) const BATCH_JOBS: usize = 24;

/// A batch on its way to a reader, and the way back.
struct Work<'a> {
    jobs: Vec<Job<'a>>,
    done: Sender<Vec<Seen<'a>>>,
}

/// Where the walk puts its batches.
pub(super) struct BatchQueue<'a> {
    work: Sender<Work<'a>>,
    ordered: Sender<Receiver<Vec<Seen<'a>>>>,
}

/// The consumer wants no more.
pub(super) struct Stopped;

impl<'a> BatchQueue<'a> {
    pub(super) fn push(&self, jobs: Vec<Job<'a>>) -> Result<(), Stopped> {
        let (done, result) = bounded(1);
        // The ordered queue is the bounded one: it is what holds the walk back.
        self.ordered.send(result).map_err(|_| Stopped)?;
        self.work.send(Work { jobs, done }).map_err(|_| Stopped)
    }
}

/// Walks `root` and hands everything seen to `consume`, in tree order. Stops at
/// the consumer's first error.
pub(crate) fn sweep<'a, E>(
    root: &Root,
    scope: &Scope<'a>,
    counters: &Counters,
    mut consume: impl FnMut(Seen<'a>) -> Result<(), E>,
) -> Result<(), E> {
    raise_open_file_limit();
    let (ordered, results) = bounded(scope.threads * BATCHES_PER_THREAD);
    let (work, jobs) = bounded::<Work<'a>>(scope.threads * BATCHES_PER_THREAD);
    thread::scope(|threads| {
        threads.spawn(move || Walk::new(root, scope, BatchQueue { work, ordered }).run());
        for _ in 0..scope.threads {
            let jobs = jobs.clone();
            threads.spawn(move || {
                let mut reader = Reader::new(root, scope, counters);
                for Work { jobs, done } in jobs {
                    let seen = jobs.into_iter().filter_map(|job| reader.look(job)).collect();
                    // Nobody waits for it any more once the consumer has stopped.
                    let _ = done.send(seen);
                }
            });
        }
        drop(jobs);
        // Dropping `results` at the first error stops the walk, and so the readers.
        for batch in results {
            let seen = batch.recv().expect("a reader answers every batch that it takes");
            counters.add_entries(seen.len() as u64);
            seen.into_iter().try_for_each(&mut consume)?;
        }
        Ok(())
    })
}
