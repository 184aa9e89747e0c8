//! Whether what containers run is still their image: lower layers, writable layer,
//! mounts.
//!
//! Each part has a verdict of its own, and the container one of the three. A lower
//! layer is read once however many containers lie on it; damage to it is one cause.
//! What cannot be seen from the host is a gap, and never clean.

mod caches;
mod ids;
mod init;
mod library;
mod lower;
mod mounted;
mod protected;
pub(crate) mod report;
mod surface;
mod writable;

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use congruent_protocol::digest::{ContentKey, Digest};
use congruent_protocol::ledger::FirstValue;
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::verification::{ManifestId, State, SweepMode};
use jiff::Timestamp;
use serde::Serialize;

pub(crate) use self::caches::LayerCaches;
pub(crate) use self::library::{Known, Library, Refused};
pub(crate) use self::lower::{CheckedLower, Layers, Lower, Method};
pub(crate) use self::surface::Mounts;
pub(crate) use self::writable::Writable;
use super::Container;
use crate::findings::FindingsWriter;
use crate::sweep::{Counters, Means, manifest_id};

/// What cannot be verified, and why.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PartGap {
    /// Of which part of the container.
    pub(crate) part: Part,
    /// Of which of its layers: the diff_id, or where it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<String>,
    /// Where in it; none where it is the part as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<GapPath>,
    /// Why.
    pub(crate) reason: String,
}

/// Where something cannot be verified.
#[derive(Debug, Clone)]
pub(crate) enum GapPath {
    /// Where an entry may be.
    Entry(TreePath),
    /// Where none can be; escaped.
    Foreign(String),
}

impl std::fmt::Display for GapPath {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entry(path) => path.fmt(out),
            Self::Foreign(path) => path.fmt(out),
        }
    }
}

impl Serialize for GapPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A part of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    Container,
    Lower,
    Upper,
    Mounts,
}

impl Part {
    /// The name, as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Mounts => "mounts",
        }
    }
}

/// How much of a container was seen.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Coverage {
    /// Entries that were there, in all layers.
    pub(crate) entries_seen: u64,
    /// Quick where what cannot have changed in some of its layers was not read.
    pub(crate) mode: SweepMode,
    /// Entries that were not read again, since they have the stamp that an earlier look
    /// saw.
    pub(crate) entries_recalled: u64,
    /// Bytes of content that were hashed for this container; those of shared layers
    /// count where the layer was read first.
    pub(crate) bytes_hashed: u64,
    /// What could not be verified.
    pub(crate) gaps: Vec<PartGap>,
    /// First values that the contract admits. No ledger has those of containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) first_seen: Vec<FirstValue>,
    /// When the look began.
    pub(crate) started_at: Timestamp,
    /// When it ended.
    pub(crate) finished_at: Timestamp,
}

/// What a container came to.
pub(crate) struct Verdict<'c> {
    pub(crate) container: &'c Container,
    /// What it was held to; none where no accepted manifest is its image's.
    pub(crate) known: Option<&'c Known>,
    pub(crate) state: State,
    /// The root of the merged tree as observed, and as it was baked.
    pub(crate) roots: Option<Roots>,
    pub(crate) lower: Lower,
    pub(crate) upper: Writable,
    pub(crate) mounts: Mounts,
    pub(crate) coverage: Coverage,
}

/// The tree root of what a container shows, and the one it is held to.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Roots {
    pub(crate) baked_root: Digest,
    /// As it follows from the manifest and the writable layer's findings.
    pub(crate) observed_root: Digest,
}

/// With what containers are verified.
pub(crate) struct Verifier<'a> {
    pub(crate) library: &'a Library,
    pub(crate) means: &'a Means,
    pub(crate) counters: &'a Counters,
    /// Where what was seen of layers is kept, and how it is used; none where each
    /// look is a full one that leaves nothing.
    pub(crate) caches: Option<&'a LayerCaches>,
    /// Where findings go that memory is not to hold.
    pub(crate) scratch: &'a Path,
    pub(crate) clock: fn() -> Timestamp,
    /// Under which content is told that a contract calls sensitive.
    pub(crate) content_key: &'a ContentKey,
}

impl Verdict<'_> {
    /// The manifest that it was held to.
    pub(crate) fn manifest(&self) -> Option<ManifestId> {
        self.known.map(|known| manifest_id(&known.manifest))
    }
}

impl<'a> Verifier<'a> {
    /// Looks at each of the containers.
    pub(crate) fn verify<'c>(&self, containers: &'c [Container]) -> Vec<Verdict<'c>>
    where
        'a: 'c,
    {
        let mut layers = Layers::default();
        containers.iter().map(|container| self.look(container, &mut layers)).collect()
    }

    /// Looks at a container, and of its layers at those that were not looked at for
    /// another.
    pub(crate) fn look<'c>(&self, container: &'c Container, layers: &mut Layers) -> Verdict<'c>
    where
        'a: 'c,
    {
        let started_at = (self.clock)();
        let before = self.counters.bytes();
        let mut gaps = of_container(container);
        let look_at_upper = || self.look_at_upper(container);
        let (mut lower, (known, mut upper, of_upper)) = if self.means.may_be_two {
            thread::scope(|scope| {
                let upper = scope.spawn(look_at_upper);
                let lower = layers.check(self, container, &mut gaps);
                (lower, upper.join().unwrap_or_else(|panicked| resume_unwind(panicked)))
            })
        } else {
            (layers.check(self, container, &mut gaps), look_at_upper())
        };
        gaps.extend(of_upper);
        let mounts = surface::check(container, known, &mut gaps);
        mounted::check(container, (self.clock)(), (&mut lower, &mut upper), &mut gaps);
        if container.has_ended() {
            gaps = note_end(container, (&mut lower, &mut upper), gaps);
        }
        let entries_seen =
            lower.layers.iter().map(|layer| layer.entries_seen).sum::<u64>() + upper.entries_seen;
        let first_seen = std::mem::take(&mut upper.first_seen);
        let roots = known.zip(upper.observed_root).map(|(known, observed_root)| Roots {
            baked_root: known.manifest.predicate().root,
            observed_root,
        });
        Verdict {
            container,
            known,
            state: state_of([lower.state, upper.state, mounts.state], known.is_some(), !gaps.is_empty()),
            roots,
            coverage: Coverage {
                entries_seen,
                mode: if upper.mode == SweepMode::Quick { upper.mode } else { lower.mode() },
                entries_recalled: lower.layers.iter().map(|layer| layer.entries_recalled).sum::<u64>()
                    + upper.entries_recalled,
                bytes_hashed: self.counters.bytes() - before,
                gaps,
                first_seen,
                started_at,
                finished_at: (self.clock)(),
            },
            lower,
            upper,
            mounts,
        }
    }

    /// Looks at the writable layer. A look that finds what was baked proves the manifest,
    /// which saves going through it twice.
    fn look_at_upper(&self, container: &Container) -> (Option<&'a Known>, Writable, Vec<PartGap>) {
        while let Some(candidate) = self.library.candidate(container) {
            let (known, mut gaps) = (candidate.known, Vec::new());
            let upper = writable::check(self, container, Some(known), &mut gaps);
            if upper.is_as_baked(known) {
                candidate.was_found();
            }
            if candidate.is_proven() {
                return (Some(known), upper, gaps);
            }
        }
        let mut gaps = Vec::new();
        let upper = writable::check(self, container, None, &mut gaps);
        (None, upper, gaps)
    }

    fn findings(&self) -> FindingsWriter {
        FindingsWriter::spilling_to(self.scratch)
    }
}

/// What differs comes before what is not known, and that before what was not seen.
fn state_of(parts: [State; 3], has_manifest: bool, has_gaps: bool) -> State {
    if parts.contains(&State::Divergent) {
        State::Divergent
    } else if !has_manifest || parts.contains(&State::Unknown) {
        State::Unknown
    } else if has_gaps || parts.contains(&State::Incomplete) {
        State::Incomplete
    } else {
        State::Congruent
    }
}

/// Notes that a container ended while it was looked at. What is taken away with it, and with
/// its image, is no difference: where that may be, nothing is told of what was seen. Another
/// container on a damaged layer tells of it.
fn note_end(
    container: &Container,
    (lower, upper): (&mut Lower, &mut Writable),
    gaps: Vec<PartGap>,
) -> Vec<PartGap> {
    let of_container =
        |reason: &str| PartGap { part: Part::Container, layer: None, path: None, reason: reason.to_owned() };
    let is_gone = |upper: &Path| upper.try_exists().is_ok_and(|is_there| !is_there);
    if !container.upper.as_deref().is_some_and(is_gone) {
        let ended = of_container("it ended while it was looked at, and may have been started anew");
        return gaps.into_iter().chain([ended]).collect();
    }
    *lower = Lower::unseen();
    *upper = Writable::unseen(State::Incomplete, upper.protected.take());
    vec![of_container("it ended and was removed while it was looked at")]
}

/// What of the container as a whole could not be found out.
fn of_container(container: &Container) -> Vec<PartGap> {
    let gap = |reason: &String| PartGap {
        part: Part::Container,
        layer: None,
        path: None,
        reason: escape(reason.as_bytes()).into_owned(),
    };
    container.gaps.iter().map(gap).collect()
}

impl PartGap {
    fn of(part: Part, error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Self { part, layer: None, path: None, reason: escape(reason.as_bytes()).into_owned() }
    }

    /// Those that a sweep left.
    fn of_sweep(
        part: Part,
        coverage: &congruent_protocol::verification::Coverage,
    ) -> impl Iterator<Item = Self> + use<'_> {
        coverage.unreadable.iter().chain(&coverage.unstable).map(move |gap| Self {
            part,
            layer: None,
            path: Some(GapPath::Entry(gap.path.clone())),
            reason: gap.reason.clone(),
        })
    }
}

/// The containers on each layer, by its directory.
pub(crate) type SharedBy = HashMap<PathBuf, Vec<String>>;

/// All that lie on each layer, whether or not they are looked at.
pub(crate) fn shared_by(containers: &[Container]) -> SharedBy {
    let mut shared = SharedBy::new();
    for container in containers {
        for layer in &container.layers {
            shared.entry(layer.directory.clone()).or_default().push(container.id.clone());
        }
    }
    shared.values_mut().for_each(|ids| ids.sort());
    shared
}

/// Layers that are damaged: one cause each, however many containers it affects.
pub(crate) fn damaged_layers<'v>(verdicts: &'v [Verdict<'_>]) -> Vec<&'v CheckedLower> {
    let mut damaged: Vec<&Rc<CheckedLower>> = Vec::new();
    for layer in verdicts.iter().flat_map(|verdict| &verdict.lower.layers) {
        if layer.state == State::Divergent && !damaged.iter().any(|known| Rc::ptr_eq(known, layer)) {
            damaged.push(layer);
        }
    }
    damaged.into_iter().map(|layer| &**layer).collect()
}
