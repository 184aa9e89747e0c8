//! One machine's turn: what it sends, and what it makes of the answer.

use std::sync::Arc;
use std::time::Duration;

use congruent_protocol::report::{Acknowledgement, HEARTBEAT_PATH, REPORTS_PATH, Refusal};
use tokio::time::Instant;

use crate::FleetError;
use crate::connection::{Answer, Body, Connection, Trouble};
use crate::node::{Made, Node};
use crate::release::Releases;
use crate::scenario::{Act, Drift};
use crate::tally::{Kind, Tally};

/// A machine with its connection, and what it still has to deliver.
pub(crate) struct Machine {
    pub(crate) node: Node,
    /// Its number in the fleet.
    pub(crate) number: usize,
    connection: Option<Connection>,
    waiting: Option<(Kind, Made)>,
}

/// What all machines share.
pub(crate) struct Shared {
    pub(crate) releases: Releases,
    /// How many findings a drifted sweep has.
    pub(crate) findings: usize,
    pub(crate) tally: Tally,
}

/// What is left to do after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// The same again; the collector may ask to be left alone for so long.
    Again(Option<Duration>),
}

impl Machine {
    pub(crate) fn new(node: Node, number: usize) -> Self {
        Self { node, number, connection: None, waiting: None }
    }

    /// Connects, where there is no connection.
    pub(crate) async fn connect(&mut self, tally: &Tally) -> Left {
        if self.connection.is_some() {
            return Left::Nothing;
        }
        tally.sent(Kind::Connect);
        let begun = Instant::now();
        let opened = Connection::open(&self.node.place, self.number, Arc::clone(&self.node.tls)).await;
        match opened {
            Ok(connection) => {
                tally.answered(Kind::Connect, begun.elapsed());
                self.connection = Some(connection);
                Left::Nothing
            }
            Err(trouble) => {
                tally.trouble(Kind::Connect, trouble.word());
                Left::Again(None)
            }
        }
    }

    /// Makes what is to be sent in this turn, unless something waits yet.
    ///
    /// # Errors
    /// When the scenario asks for what the release does not have.
    pub(crate) fn begin(&mut self, act: Act, shared: &Shared) -> Result<(), FleetError> {
        let Act::Sweep { release, drift } = act else { return Ok(()) };
        if self.waiting.is_some() {
            return Ok(());
        }
        let release = &shared.releases[release];
        let salt = format!("{} {}", self.node.boot, self.node.position().sequence);
        let (kind, set) = match drift {
            Drift::None => (Kind::Clean, Vec::new()),
            Drift::New => (Kind::Drift, release.changed(shared.findings, salt.as_bytes())?),
            Drift::Same => (Kind::Drift, release.changed(shared.findings, b"the same")?),
        };
        self.waiting = Some((kind, self.node.sweep(release, set)?));
        shared.tally.counts().reports.made += 1;
        Ok(())
    }

    /// Whether a report waits to be delivered.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Sends what waits, or a sign of life. Latency counts from when it was due.
    pub(crate) async fn send(&mut self, due: Instant, tally: &Tally) -> Left {
        if let left @ Left::Again(_) = self.connect(tally).await {
            return left;
        }
        let (kind, path, body) = match &self.waiting {
            Some((kind, made)) => (*kind, REPORTS_PATH, made.body.clone()),
            None => (Kind::Heartbeat, HEARTBEAT_PATH, self.node.heartbeat()),
        };
        match self.post(kind, path, body, tally).await {
            Ok(answer) if answer.status == 200 => {
                tally.answered(kind, due.elapsed());
                self.settle(&answer, tally)
            }
            Ok(answer) => self.refused(kind, &answer, tally),
            Err(trouble) => {
                tally.trouble(kind, trouble.word());
                self.connection = None;
                Left::Again(None)
            }
        }
    }

    async fn post(&mut self, kind: Kind, path: &str, body: Body, tally: &Tally) -> Result<Answer, Trouble> {
        let connection = self.connection.as_mut().expect("it was just connected");
        tally.sent(kind);
        connection.post(path, body).await
    }

    /// Only what is acknowledged may be forgotten.
    fn settle(&mut self, answer: &Answer, tally: &Tally) -> Left {
        let Some((kind, made)) = self.waiting.take() else { return Left::Nothing };
        match serde_json::from_slice::<Acknowledgement>(&answer.body) {
            Ok(acknowledgement)
                if (acknowledgement.sequence, acknowledgement.digest) == (made.sequence, made.digest) =>
            {
                let mut counts = tally.counts();
                counts.reports.acknowledged += 1;
                counts.reports.duplicates += u64::from(acknowledgement.duplicate);
                self.node.acknowledged(made);
                Left::Nothing
            }
            _ => {
                tally.trouble(kind, "strange-answer");
                self.waiting = Some((kind, made));
                Left::Again(None)
            }
        }
    }

    /// What is refused for good is set aside, as agents do.
    fn refused(&mut self, kind: Kind, answer: &Answer, tally: &Tally) -> Left {
        let code = serde_json::from_slice::<Refusal>(&answer.body).map(|refusal| refusal.code);
        let code = code.unwrap_or_else(|_| format!("status-{}", answer.status));
        tally.trouble(kind, &code);
        if matches!(answer.status, 408 | 429 | 500..) {
            return Left::Again(answer.retry_after);
        }
        if self.waiting.take().is_some() {
            tally.counts().reports.refused += 1;
            self.node.forget_base();
        }
        Left::Nothing
    }
}
