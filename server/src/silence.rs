//! Who is silent. Pure.

use congruent_protocol::verification::State;
use jiff::{SignedDuration, Timestamp};

/// For how long nothing was heard. The time before the collector was ready does
/// not count: it could not have heard anything.
pub(crate) fn silent_for(now: Timestamp, last_seen: Option<Timestamp>, ready: Timestamp) -> SignedDuration {
    now.duration_since(last_seen.unwrap_or(ready).max(ready))
}

/// Whether a node in `state` is to become silent.
pub(crate) fn falls_silent(state: State, silent_for: SignedDuration, silent_after: SignedDuration) -> bool {
    state != State::Silent && silent_for > silent_after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::time;

    #[test]
    fn silence_counts_from_the_later_of_last_seen_and_ready() {
        let after = SignedDuration::from_mins(15);
        let check = |now: &str, seen: Option<&str>, state| {
            let quiet = silent_for(time(now), seen.map(time), time("2026-03-01T12:00:00Z"));
            falls_silent(state, quiet, after)
        };
        for (now, seen, state, expected) in [
            // Ready at noon; last seen hours before.
            ("2026-03-01T12:15:00Z", Some("2026-03-01T03:00:00Z"), State::Congruent, false),
            ("2026-03-01T12:15:01Z", Some("2026-03-01T03:00:00Z"), State::Congruent, true),
            ("2026-03-01T12:29:00Z", Some("2026-03-01T12:14:00Z"), State::Divergent, false),
            ("2026-03-01T12:29:01Z", Some("2026-03-01T12:14:00Z"), State::Divergent, true),
            // Never heard of.
            ("2026-03-01T12:15:00Z", None, State::Unknown, false),
            ("2026-03-01T12:16:00Z", None, State::Unknown, true),
            // Once is enough.
            ("2026-03-01T19:00:00Z", None, State::Silent, false),
            // A clock that was set back makes nobody silent.
            ("2026-02-01T12:00:00Z", Some("2026-03-01T12:14:00Z"), State::Congruent, false),
        ] {
            assert_eq!(check(now, seen, state), expected, "{now} {seen:?} {state:?}");
        }
    }
}
