//! An operator: who makes the token that nodes join with, and who asks, again and
//! again, while the fleet does what it does.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use congruent_protocol::report::Refusal;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use crate::FleetError;
use crate::connection::Connection;
use crate::tally::Kind;
use crate::turn::Shared;
use crate::way::Way;

/// How long a join token is good.
const TOKEN_LIFE: &str = "24h";

/// Makes a join token for a group, which any number of nodes may use.
///
/// # Errors
/// When the collector does not make one for this operator.
pub async fn join_token(way: &Way, operator_token: &str, group: &str) -> Result<String, FleetError> {
    #[derive(Deserialize)]
    struct Created {
        token: String,
    }
    let refused = FleetError::NoToken;
    let wanted = json!({ "group": group, "reusable": true, "ttl": TOKEN_LIFE });
    let mut connection = way.to_join().await?;
    let answer = connection.change("/v1/tokens", operator_token, &wanted).await;
    let answer = answer.map_err(|trouble| refused(trouble.to_string()))?;
    let refusal = || serde_json::from_slice::<Refusal>(&answer.body).map(|refusal| refusal.message);
    let created: Created = serde_json::from_slice(&answer.body)
        .map_err(|_| refused(refusal().unwrap_or_else(|_| format!("it answered {}", answer.status))))?;
    Ok(created.token)
}

/// What is asked, how often, and by whom.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The operator's token.
    pub token: String,
    /// The path with its query, such as `/v1/nodes?limit=100`.
    pub path: String,
    /// From one question to the next.
    pub every: Duration,
}

/// An operator at work, on a thread of its own: how soon there is an answer must not hang
/// on how busy the simulated nodes keep each other.
pub(crate) struct Watching {
    stop: watch::Sender<bool>,
    asking: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(self, way: Way, shared: Arc<Shared>) -> Result<Watching, FleetError> {
        let (stop, mut stopping) = watch::channel(false);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(FleetError::Runtime)?;
        let asking = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.ask(&way, &shared) => {}
                    _ = stopping.wait_for(|stop| *stop) => {}
                }
            });
        });
        Ok(Watching { stop, asking })
    }

    async fn ask(&self, way: &Way, shared: &Shared) {
        let (mut connection, mut ticks) = (None, interval(self.every));
        loop {
            let due = ticks.tick().await;
            shared.tally.sent(Kind::Operator);
            match self.ask_once(way, &mut connection).await {
                Ok(()) => shared.tally.answered(Kind::Operator, Instant::now() - due),
                Err(word) => {
                    shared.tally.trouble(Kind::Operator, &word);
                    connection = None;
                }
            }
        }
    }

    async fn ask_once(&self, way: &Way, kept: &mut Option<Connection>) -> Result<(), String> {
        if kept.is_none() {
            *kept = Some(way.to_join().await.map_err(|_| "no-connection".to_owned())?);
        }
        let connection = kept.as_mut().expect("it was just made");
        let answer = connection.ask(&self.path, &self.token).await;
        let answer = answer.map_err(|trouble| trouble.word().to_owned())?;
        if answer.status == 200 { Ok(()) } else { Err(format!("status-{}", answer.status)) }
    }
}

impl Watching {
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        // It does not panic; if it did, its counts are still there.
        let _ = tokio::task::spawn_blocking(|| self.asking.join()).await;
    }
}
