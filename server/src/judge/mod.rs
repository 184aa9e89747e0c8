//! The judge: asks policy about each durable report and each change of state,
//! and records decision and plan in one transaction.
//!
//! One task judges, in the order in which reports became durable. What it has
//! not judged is marked so in the store, so that a collector that is killed
//! between the commit of a report and its judgement loses nothing. A failed
//! evaluation is recorded as such; it is never a verdict and never an action.

mod act;
mod case;
mod conclude;
mod judgement;
mod mended;
mod reconcile;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use congruent_protocol::verification::State;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tracing::{Instrument, Span, debug, error, info, info_span};

use crate::clock::Clock;
use crate::computing::Computing;
use crate::config::{Config, Mode};
use crate::ingest::{Fresh, NEVER_REPORTED, chain_of};
use crate::liveness::Liveness;
use crate::metrics::{Judging, Stopwatch, count};
use crate::policy::Policy;
use crate::serve::stopped;
use crate::silence::{falls_silent, silent_for};
use crate::store::{ReportRow, Store, StoreError, SubjectRow};
use crate::subject::SubjectId;

pub(crate) use reconcile::{OVER, end_container, reconcile, reconcile_group, retire, retire_containers};

use case::{Case, NextReports};
use conclude::Context;
use judgement::Judgement;

/// A node that gives signs of life and reports nothing is silent as well, after so many
/// times as long: what it said last is no evidence any more.
const REPORTS_MISSED: i32 = 4;
/// Why an order is held whose node's report cannot be read.
const UNREAD: &str = "the body of the node's report cannot be read";
/// How often silence is looked for, at most and at least.
const TICK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often at least where other collectors take reports as well.
const TICK_SHARED: Duration = Duration::from_secs(1);

/// Judges nodes.
pub(crate) struct Judge {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) policy: Arc<Policy>,
    pub(crate) clock: Clock,
    /// Makes ids of actions.
    pub(crate) new_id: fn() -> String,
    /// Since when the collector could hear of nodes.
    pub(crate) ready: Timestamp,
    pub(crate) signals: Signals,
    /// What was heard since, beside reports.
    pub(crate) liveness: Arc<Liveness>,
    /// What was reported to this collector a moment ago.
    pub(crate) fresh: Arc<Fresh>,
    /// How much later the store knows what other collectors heard.
    pub(crate) lag: SignedDuration,
    pub(crate) metrics: Judging,
    pub(crate) computing: Computing,
}

/// What policy said of a case, or why it was not asked.
struct Reached {
    subject: SubjectId,
    judgement: Result<Judgement, Reason>,
    now: Timestamp,
    begun: Stopwatch,
    span: Span,
}

/// Why a subject cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It is not there any more, or its group is gone.
    Unknown,
    /// The evaluation panicked.
    Panicked,
}

/// What wakes the tasks.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    /// A report waits to be judged.
    pub(crate) report: Arc<Notify>,
    /// An action is over: those that were held for it may go ahead.
    pub(crate) budget: Arc<Notify>,
    /// A group was changed: its nodes are to be judged anew.
    pub(crate) group: Arc<Notify>,
    /// All was planned anew in this term: orders that stand may go out.
    pub(crate) planned: Arc<Notify>,
    /// An order waits to be delivered.
    pub(crate) order: Arc<Notify>,
}

impl Judge {
    /// Judges until the collector stops.
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let quarter: Duration = self.config.silent_after.unsigned_abs() / 4;
        // Nobody but the store tells of reports that others took.
        let longest = if self.store.is_shared() { TICK_SHARED } else { TICK.1 };
        let mut ticks = tokio::time::interval(quarter.clamp(TICK.0, longest));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut planned = false;
        loop {
            if !planned {
                let outcome = self.plan_anew().await;
                planned = outcome.is_ok();
                log(outcome);
            }
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = self.signals.report.notified() => {}
                () = self.signals.group.notified() => {}
                () = self.signals.budget.notified() => log(self.judge_held().await),
                _ = ticks.tick() => log(self.find_silent().await),
            }
            log(self.judge_changed().await);
            log(self.judge_reports().await);
        }
    }

    /// Judges the nodes of groups that were changed. What could not be judged
    /// now is tried again with the next tick.
    pub(crate) async fn judge_changed(&self) -> Result<(), StoreError> {
        let changed = self.config.groups.take_changed();
        let nodes = self.config.nodes.all().into_iter().filter(|node| changed.contains(&node.group));
        let judged = self.judge_nodes(nodes.map(|node| node.id.clone()).collect()).await;
        if judged.is_err() {
            changed.iter().for_each(|group| self.config.groups.mark_changed(group));
        }
        judged
    }

    /// At start: judges the reports that nobody judged, then every node, since
    /// policy, groups and manifests may be others than before; and those that
    /// came in between. No order goes out before this is done: it may not be
    /// called for any more.
    pub(crate) async fn plan_anew(&self) -> Result<(), StoreError> {
        self.judge_reports().await?;
        self.judge_nodes(self.config.nodes.ids()).await?;
        self.judge_reports().await?;
        self.signals.planned.notify_one();
        Ok(())
    }

    /// Judges every report that was not judged yet.
    pub(crate) async fn judge_reports(&self) -> Result<(), StoreError> {
        loop {
            let fresh = Arc::clone(&self.fresh);
            let reading =
                self.store.read("read reports to judge", move |view| NextReports::read(view, &fresh));
            let next = reading.await?;
            if next.is_empty() {
                return Ok(());
            }
            let NextReports { cases, gone, unread } = next;
            for subject in gone {
                self.skip(&subject, Reason::Unknown).await?;
            }
            let (lost, away): (Vec<_>, Vec<_>) =
                unread.into_iter().partition(|(_, error)| error.is_lost_body());
            for (row, error) in lost {
                self.pass_over(row, &error).await?;
            }
            // Policy is asked about all of them at once; what follows is written in the order
            // in which they came, and committed together.
            let concluding = self.reach(cases).await.into_iter().map(|reached| self.conclude(reached));
            join_all(concluding).await.into_iter().collect::<Result<(), _>>()?;
            // They are judged when their bodies can be had again.
            away.into_iter().try_for_each(|(_, error)| Err(error))?;
        }
    }

    /// Judges these nodes and what runs on them anew, as they stand.
    pub(crate) async fn judge_nodes(&self, nodes: Vec<String>) -> Result<(), StoreError> {
        for node in nodes {
            let reading = self.store.read("read a node's subjects", move |view| view.subjects_of(&node));
            self.judge_subjects(reading.await?.into_iter().map(|row| row.id).collect()).await?;
        }
        Ok(())
    }

    /// Judges these subjects anew, as they stand.
    async fn judge_subjects(&self, subjects: Vec<SubjectId>) -> Result<(), StoreError> {
        for subject in subjects {
            let (config, policy) = (Arc::clone(&self.config), Arc::clone(&self.policy));
            let id = subject.clone();
            let reading = self
                .store
                .read("read a subject to judge", move |view| Case::of_subject(view, &id, &config, &policy));
            match reading.await {
                Err(error) if error.is_of_body() => self.hold_unread(&subject, &error).await?,
                case => {
                    if let Some(case) = case? {
                        self.judge(case).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Holds the order of a subject whose newest report cannot be read: its next is judged.
    async fn hold_unread(&self, subject: &SubjectId, error: &StoreError) -> Result<(), StoreError> {
        error!("cannot judge the {subject}: {}", chain_of(error));
        let (id, now) = (subject.clone(), (self.clock)());
        self.store.write("hold a subject's order", move |tx| act::hold_order(tx, &id, UNREAD, now)).await
    }

    /// Marks a report whose body is lost, so that it does not hold up others, and holds its
    /// subject's order.
    async fn pass_over(&self, row: ReportRow, error: &StoreError) -> Result<(), StoreError> {
        let ReportRow { id, report, .. } = row;
        self.hold_unread(&report.subject(), error).await?;
        self.store.write("pass over a report", move |tx| tx.mark_judged(id, None)).await
    }

    /// Judges the subjects whose actions are held, whose reason may be gone.
    async fn judge_held(&self) -> Result<(), StoreError> {
        let config = Arc::clone(&self.config);
        let reading = self.store.read("read the held actions", move |view| {
            let may_order = |subject: &SubjectId| {
                config.group_of(&subject.node).is_some_and(|group| group.mode == Mode::Replace)
            };
            Ok(view.held_subjects()?.into_iter().filter(may_order).collect())
        });
        let held = reading.await?;
        self.judge_subjects(held).await
    }

    /// Finds the subjects that have become silent, and judges them.
    pub(crate) async fn find_silent(&self) -> Result<(), StoreError> {
        let (config, now, ready) = (Arc::clone(&self.config), (self.clock)(), self.ready);
        let liveness = Arc::clone(&self.liveness);
        let lag = self.lag;
        let reading = self.store.read("look for silent subjects", move |view| {
            let is_quiet = |row: &SubjectRow| {
                let node = &row.id.node;
                let Some(known) = config.nodes.get(node) else { return false };
                // What is new is given time for its first report.
                let heard_at = |time: Option<Timestamp>| {
                    known.heard_at(time).max(Some(row.since).filter(|_| time.is_none()))
                };
                let quiet = silent_for(now, heard_at(row.last_seen).max(liveness.last(node)), ready);
                let stale = silent_for(now, heard_at(row.reported_at), ready);
                falls_silent(row.state, quiet, config.silent_after + lag)
                    || falls_silent(row.state, stale, config.silent_after * REPORTS_MISSED)
            };
            let ago = |period: SignedDuration| now.checked_sub(period).unwrap_or(Timestamp::MIN);
            let (seen, reported) =
                (ago(config.silent_after + lag), ago(config.silent_after * REPORTS_MISSED));
            Ok(view.subjects_unheard_since(seen, reported)?.into_iter().filter(is_quiet).collect::<Vec<_>>())
        });
        for row in reading.await? {
            let (id, generation) = (row.id.clone(), row.generation);
            let note = match row.reported_at {
                Some(seen) => format!("no report since {seen}"),
                None => NEVER_REPORTED.to_owned(),
            };
            let fallen = self.store.write("note that a subject is silent", move |tx| {
                // A report that came in between has another generation.
                let unchanged = tx.subject(&id)?.is_some_and(|row| row.generation == generation);
                if unchanged {
                    tx.change_state(&id, State::Silent, Some(&note), now)?;
                }
                Ok(unchanged)
            });
            if fallen.await? {
                info!("{} is silent", row.id);
                self.judge_subjects(vec![row.id]).await?;
            }
        }
        Ok(())
    }

    /// Asks policy about a case, and records what follows.
    async fn judge(&self, case: Case) -> Result<(), StoreError> {
        for reached in self.reach(vec![case]).await {
            self.conclude(reached).await?;
        }
        Ok(())
    }

    /// Asks policy about cases, by as many tasks as there are processors.
    async fn reach(&self, mut cases: Vec<Case>) -> Vec<Reached> {
        let each = cases.len().div_ceil(self.computing.processors()).max(1);
        let mut asking = Vec::new();
        while !cases.is_empty() {
            let some = cases.drain(..each.min(cases.len())).collect::<Vec<_>>();
            let (config, policy) = (Arc::clone(&self.config), Arc::clone(&self.policy));
            let (now, ready) = ((self.clock)(), self.ready);
            // Evaluation may take as long as its limit; it must not hold up requests.
            asking.push(self.computing.run(move || {
                some.into_iter().map(|case| reach(case, &config, &policy, now, ready)).collect::<Vec<_>>()
            }));
        }
        // A panic in one of them is caught.
        join_all(asking).await.into_iter().flatten().flatten().collect()
    }

    /// Records what follows from what policy said.
    async fn conclude(&self, reached: Reached) -> Result<(), StoreError> {
        let span = reached.span.clone();
        self.try_conclude(reached).instrument(span).await
    }

    async fn try_conclude(&self, reached: Reached) -> Result<(), StoreError> {
        let Reached { subject, judgement, now, begun, .. } = reached;
        let judgement = match judgement {
            Ok(judgement) => judgement,
            Err(why) => return self.skip(&subject, why).await,
        };
        let (config, new_id) = (Arc::clone(&self.config), self.new_id);
        let concluding = self.store.write("record a judgement", move |tx| {
            conclude::conclude(tx, &judgement, &Context { config: &config, now, new_id })
        });
        let conclusion = concluding.await?;
        begun.stop(&self.metrics.took);
        if let Some(verdict) = conclusion.verdict() {
            count(&self.metrics.decisions, "verdict", verdict);
        }
        conclusion.log();
        if conclusion.has_order() {
            self.signals.order.notify_one();
        }
        if conclusion.frees_budget() {
            self.signals.budget.notify_one();
        }
        Ok(())
    }

    /// Marks the reports of a subject that cannot be judged, so that they do not
    /// hold up those of others, and holds its order.
    async fn skip(&self, subject: &SubjectId, why: Reason) -> Result<(), StoreError> {
        let (id, now, config) = (subject.clone(), (self.clock)(), Arc::clone(&self.config));
        let skipping = self.store.write("skip a subject's reports", move |tx| {
            // Another collector may have enrolled it a moment ago.
            if why == Reason::Unknown && config.group_of(&id.node).is_some() && tx.subject(&id)?.is_some() {
                return Ok(false);
            }
            tx.skip_reports(&id)?;
            act::hold_order(tx, &id, &format!("the {} cannot be judged", id.kind()), now)?;
            Ok(true)
        });
        match skipping.await? {
            // It ended before what it said was judged.
            true if why == Reason::Unknown && subject.container.is_some() => debug!("the {subject} is over"),
            true => error!(?why, "cannot judge the {subject}"),
            false => {}
        }
        Ok(())
    }
}

/// Asks policy about a case.
fn reach(case: Case, config: &Config, policy: &Policy, now: Timestamp, ready: Timestamp) -> Reached {
    let begun = Stopwatch::start();
    let span = info_span!("judgement", subject = %case.subject.id, sequence = case.sequence());
    let subject = case.subject.id.clone();
    let asking = span.in_scope(|| {
        catch_unwind(AssertUnwindSafe(|| {
            let group = config.group_of(&subject.node)?;
            let known = config.nodes.get(&subject.node)?;
            let silence = silent_for(now, known.heard_at(case.subject.last_seen), ready);
            Some(Judgement::reach(case, &group, policy, silence))
        }))
    });
    let judgement = match asking {
        Ok(Some(judgement)) => Ok(judgement),
        Ok(None) => Err(Reason::Unknown),
        Err(_) => Err(Reason::Panicked),
    };
    Reached { subject, judgement, now, begun, span }
}

fn log(outcome: Result<(), StoreError>) {
    if let Err(failure) = outcome {
        error!("cannot judge now, and will try again: {}", chain_of(&failure));
    }
}
