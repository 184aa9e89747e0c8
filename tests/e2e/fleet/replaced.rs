//! A bad release on a whole fleet: what is ordered, and what is not.

use anyhow::Result;
use congruent_protocol::action::ActionState;
use congruent_tests::receiver::{Answer, WebhookReceiver};
use congruent_tests::signature::WebhookSecret;
use congruent_tests::simulated::Simulated;
use congruent_tests::site::Settings;
use congruent_tests::wait::{PATIENCE, wait_for};

use super::{all, check_delivered, counts};
use crate::watch;

#[test]
fn a_bad_release_on_all_nodes_replaces_no_more_than_the_budget() -> Result<()> {
    let secret = WebhookSecret::new(*b"a secret of thirty-two bytes ...");
    let receiver = WebhookReceiver::start(secret, Answer::Status(204))?;
    let fleet = Simulated::start(Settings::replacing(receiver.url()))?;
    check_delivered(&fleet.run("bad-release", &["--nodes", "12"])?, 24);
    watch::settle(&fleet.site)?;
    assert_eq!(counts(&fleet, "/state")?, all("divergent", 12));
    assert_eq!(counts(&fleet, "/verdict")?, all("replace", 12), "policy would replace each");
    let in_state = |state: ActionState| -> Result<usize> {
        let actions = watch::actions(&fleet.collector)?;
        Ok(actions.iter().filter(|action| action["state"] == state.name()).count())
    };
    wait_for("the order to be delivered", PATIENCE, || {
        Ok((in_state(ActionState::Dispatched)? > 0).then_some(()))
    })?;
    assert_eq!(in_state(ActionState::Dispatched)?, 1, "one at a time in a group");
    assert_eq!(in_state(ActionState::Held)?, 11, "the others wait for its end");
    assert_eq!(receiver.wait_for(1, PATIENCE)?.len(), 1, "one order reached the platform");
    Ok(())
}
