//! A herd: every node comes back at once after an outage, with a report that waited.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::FleetError;
use crate::run::deliver;
use crate::scenario::Scenario;
use crate::turn::{Machine, Shared};

/// How long a herd may take until the last of it is in.
const PATIENCE: Duration = Duration::from_mins(30);

/// Lets all machines loose, and waits until each has delivered its report and given a
/// sign of life. Whoever is turned away waits as agents do.
pub(crate) async fn come_back(
    machines: Vec<Machine>,
    shared: &Arc<Shared>,
) -> Result<Vec<Machine>, FleetError> {
    let count = machines.len() as u64;
    let deadline = Instant::now() + PATIENCE;
    let mut coming = JoinSet::new();
    for mut machine in machines {
        let shared = Arc::clone(shared);
        coming.spawn(async move {
            machine.begin(Scenario::Herd.act(machine.number as u64, count, 0), &shared)?;
            deliver(&mut machine, Instant::now(), deadline, &shared).await;
            machine.send(Instant::now(), &shared.tally).await;
            Ok(machine)
        });
    }
    coming.join_all().await.into_iter().collect()
}
