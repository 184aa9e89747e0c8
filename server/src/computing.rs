//! What takes a processor for long: parsing, hashing, asking policy. It goes beside the
//! runtime, and no more of it at once than helps, so that whatever comes in at once leaves
//! processors for those who answer.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Tasks for each processor: a report of megabytes must not hold up all small ones.
const TASKS_EACH: usize = 2;

/// Computes beside the runtime; clones share how much at once.
#[derive(Debug, Clone)]
pub(crate) struct Computing {
    room: Arc<Semaphore>,
    processors: usize,
}

impl Default for Computing {
    /// As much at once as keeps the processors busy.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { room: Arc::new(Semaphore::new(processors * TASKS_EACH)), processors }
    }
}

impl Computing {
    /// Computes when it is its turn; none where it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.room).acquire_owned().await.ok()?;
        let working = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(turn);
            outcome
        });
        working.await.ok()
    }

    /// How many processors there are.
    pub(crate) fn processors(&self) -> usize {
        self.processors
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_at_once_than_there_is_room_for_and_a_panic_gives_its_room_back() {
        let computing = Computing::default();
        let room = computing.processors() * TASKS_EACH;
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..room * 5).map(|number| {
            let (computing, now, most) = (computing.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                    assert!(number % 7 != 0, "a panic");
                    number
                };
                computing.run(work).await
            })
        });
        for (number, task) in tasks.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), (number % 7 != 0).then_some(number));
        }
        assert_eq!(most.load(Ordering::SeqCst), room);
    }
}
