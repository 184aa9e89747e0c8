//! Bodies that nobody reads to their end. Over HTTP/2 a stream whose body is let go of is
//! reset, and its sender may lose the answer that was given; so what is left is read and
//! dropped, within bounds, while the answer goes out.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::Version;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::serve::stopped;

/// How much is read and dropped at most, and for how long.
const DRAINED_BYTES: usize = 1 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(10);
/// For how long once the collector is to stop.
const DRAINED_ON_STOP: Duration = Duration::from_secs(1);

/// A body that is read to its end in any case.
struct Drained {
    /// None once there is nothing left to read.
    body: Option<Body>,
    draining: watch::Receiver<bool>,
}

/// Has what a handler leaves of a body read, where that matters.
pub(super) fn drained(request: Request, draining: &watch::Receiver<bool>) -> Request {
    let matters = request.version() == Version::HTTP_2 && !request.body().is_end_stream();
    match matters {
        true => request.map(|body| Body::new(Drained { body: Some(body), draining: draining.clone() })),
        false => request,
    }
}

impl HttpBody for Drained {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime the connection is gone, too.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut draining = self.draining.clone();
        runtime.spawn(async move {
            let on_stop = async {
                stopped(&mut draining).await;
                sleep(DRAINED_ON_STOP).await;
            };
            tokio::select! {
                _ = timeout(DRAINED_FOR, read_to_end(body)) => {}
                () = on_stop => {}
            }
        });
    }
}

async fn read_to_end(mut body: Body) {
    let mut read = 0;
    while read < DRAINED_BYTES {
        match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}
