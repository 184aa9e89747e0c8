//! Whether what an action was called for is gone, where nothing says what a container's
//! merged tree is to be: no look at such a container ever finds it congruent. Pure.

use congruent_protocol::report::{LayerReport, Outcome, Report};
use congruent_protocol::verification::State;

/// Whether a look found nothing any more, and saw all of what the look `then` saw, at which
/// something was found: both without a manifest, at the same layers. What had a manifest
/// then had a writable layer and mounts that were looked at, and now are not.
pub(super) fn is_mended(then: &Report, now: &Report) -> bool {
    let (Outcome::NoManifest(_), Outcome::NoManifest(_)) = (&then.outcome, &now.outcome) else {
        return false;
    };
    let (Some(then), Some(now)) = (&then.container, &now.container) else { return false };
    then.has_findings()
        && !now.has_findings()
        && now.looked.is_some()
        && then.layers.len() == now.layers.len()
        && then.layers.iter().zip(&now.layers).all(|(then, now)| is_seen(then, now))
}

/// Whether a layer was seen to be as it was made, or could not be seen then either.
fn is_seen(then: &LayerReport, now: &LayerReport) -> bool {
    let place = |layer: &LayerReport| (layer.place.diff_id, layer.place.directory.clone());
    place(then) == place(now)
        && match now.state {
            State::Congruent => true,
            State::Unknown => then.state == State::Unknown,
            State::Divergent | State::Incomplete | State::Silent => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::containers::{damaged, looked};
    use crate::testing::tampered;

    fn without_manifest(report: Report) -> Report {
        Report { outcome: Outcome::NoManifest("none is of its image".to_owned()), ..report }
    }

    /// A look at a container of which one layer was damaged, and the next at it, changed.
    fn check(change: impl FnOnce(&mut Report, &mut Report)) -> bool {
        // Of a second layer nothing is known, then and now.
        let mut then = without_manifest(damaged("web-1", 1, "c1"));
        let mut now = without_manifest(looked("web-1", 2, "c1", vec![], &[]));
        for report in [&mut then, &mut now] {
            let layers = &mut report.container.as_mut().unwrap().layers;
            let mut other = looked("web-1", 2, "c1", vec![], &[]).container.unwrap().layers.remove(0);
            (other.state, other.method, other.place.diff_id) = (State::Unknown, None, None);
            layers.push(other);
        }
        change(&mut then, &mut now);
        is_mended(&then, &now)
    }

    #[test]
    fn what_was_found_is_gone_where_all_of_it_was_seen_again() {
        fn layers(report: &mut Report) -> &mut Vec<LayerReport> {
            &mut report.container.as_mut().unwrap().layers
        }
        assert!(check(|_, _| {}));
        assert!(check(|then, now| {
            layers(then).pop();
            layers(now).pop();
        }));
        for state in [State::Incomplete, State::Unknown, State::Divergent] {
            assert!(!check(|_, now| layers(now)[0].state = state), "{state:?}");
        }
        assert!(!check(|then, _| layers(then)[1].state = State::Congruent), "seen then, and not now");
        assert!(!check(|_, now| layers(now)[1].state = State::Incomplete), "not looked at");
        assert!(!check(|_, now| layers(now).truncate(1)), "not all of its layers");
        assert!(!check(|_, now| layers(now)[0].place.directory.push_str("/other")), "elsewhere");
        assert!(!check(|_, now| now.container.as_mut().unwrap().looked = None), "no look");
        assert!(!check(|then, now| *then = without_manifest(now.clone())), "nothing was found");
        // With a manifest more was looked at than layers, or may have been.
        let withheld = || Outcome::Withheld("too much".to_owned());
        assert!(!check(|then, _| then.outcome = withheld()));
        assert!(!check(|_, now| now.outcome = withheld()));
        assert!(!check(|then, _| then.outcome = looked("web-1", 1, "c1", tampered(), &[]).outcome));
        assert!(!check(|_, now| now.container = None), "a node without a manifest was not looked at");
    }
}
