//! A fleet that comes back at once.

use anyhow::{Context, Result};
use congruent_tests::simulated::Simulated;
use congruent_tests::site::Settings;

use super::{all, check_delivered, counts};

#[test]
fn a_herd_loses_nothing_and_operators_get_through() -> Result<()> {
    let fleet = Simulated::start(Settings::default())?;
    let outcome = fleet.run("herd", &["--nodes", "60", "--operator-asks", "/v1/nodes?limit=100"])?;
    check_delivered(&outcome, 60);
    assert_eq!(outcome.kind("heartbeat").answered, 60, "{outcome}");
    let arrivals = outcome.arrivals.context("nothing arrived")?;
    assert!(arrivals.mean_per_second > 0.0 && arrivals.peak_to_mean >= 1.0, "{arrivals:?}");
    let operator = outcome.kind("operator");
    assert!(operator.answered > 0 && operator.trouble.is_empty(), "{outcome}");
    assert_eq!(counts(&fleet, "/state")?, all("congruent", 60));
    Ok(())
}
