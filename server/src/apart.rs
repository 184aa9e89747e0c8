//! A runtime of its own for the port of operators and enrolment. Whatever an enrolled fleet
//! sends at once, such as thousands of handshakes after an outage, keeps the threads of the
//! other busy, and not these.

use std::io;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime; what runs on it ends when this is dropped.
pub(crate) struct Apart(Option<Runtime>);

impl Apart {
    /// Starts its threads.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("operators").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn what is to run on it.
    pub(crate) fn handle(&self) -> &Handle {
        self.runtime().handle()
    }

    /// Has a port's connections come in on its threads.
    pub(crate) fn take(&self, listener: TcpListener) -> io::Result<TcpListener> {
        let listener = listener.into_std()?;
        let _inside = self.runtime().enter();
        TcpListener::from_std(listener)
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // A runtime must not wait for its threads within another.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
