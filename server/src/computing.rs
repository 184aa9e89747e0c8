//! Work that holds up a thread: parsing, hashing, asking policy, reading the database. It
//! goes beside the runtime, and no more of it at once than helps, so that whatever comes in
//! at once leaves processors for those who answer.
//!
//! Whoever has done a piece takes the next by itself. A turn that went by way of the runtime
//! would wait behind everything that the runtime has to do, while nobody works.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Pieces of computing for each processor: a report of megabytes must not hold up all small
/// ones.
const PIECES_EACH: usize = 2;

/// Works beside the runtime, on some pieces at once and in the order in which they come;
/// clones share them.
#[derive(Clone)]
pub(crate) struct Crew(Arc<Shared>);

struct Shared {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
    /// How many threads are at work.
    working: usize,
}

/// A crew that computes.
#[derive(Debug, Clone)]
pub(crate) struct Computing {
    crew: Crew,
    processors: usize,
}

impl Crew {
    /// One that works on `most` pieces at once.
    pub(crate) fn of(most: usize) -> Self {
        Self(Arc::new(Shared { most, state: Mutex::default() }))
    }

    /// Does a piece when it is its turn; none where it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.submit(Box::new(move || {
            if let Ok(outcome) = catch_unwind(AssertUnwindSafe(work)) {
                // Who asked may have gone away meanwhile.
                let _ = answer.send(outcome);
            }
        }));
        answered.await.ok()
    }

    fn submit(&self, piece: Box<dyn FnOnce() + Send>) {
        let mut state = self.state();
        state.waiting.push_back(piece);
        if state.working < self.0.most {
            state.working += 1;
            let crew = self.clone();
            tokio::task::spawn_blocking(move || crew.work());
        }
    }

    /// Works until nothing waits.
    fn work(&self) {
        while let Some(piece) = self.next() {
            piece();
        }
    }

    fn next(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.working -= 1;
        }
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Crew of {}", self.0.most)
    }
}

impl Default for Computing {
    /// As much at once as keeps the processors busy.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { crew: Crew::of(processors * PIECES_EACH), processors }
    }
}

impl Computing {
    /// Computes when it is its turn; none where it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.crew.run(work).await
    }

    /// How many processors there are.
    pub(crate) fn processors(&self) -> usize {
        self.processors
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_at_once_than_there_may_be_and_a_panic_ends_nothing_else() {
        const MOST: usize = 3;
        let crew = Crew::of(MOST);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..2 {
            let pieces = (0..MOST * 5).map(|number| {
                let (crew, now, most) = (crew.clone(), Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        now.fetch_sub(1, Ordering::SeqCst);
                        assert!(number % 7 != 0, "a panic");
                        number
                    };
                    crew.run(work).await
                })
            });
            for (number, piece) in pieces.collect::<Vec<_>>().into_iter().enumerate() {
                assert_eq!(piece.await.unwrap(), (number % 7 != 0).then_some(number));
            }
            assert_eq!((most.load(Ordering::SeqCst), crew.state().waiting.len()), (MOST, 0));
        }
    }
}
