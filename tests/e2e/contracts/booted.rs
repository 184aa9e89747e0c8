//! A stock Debian that is booted, used, taken down and booted again is congruent.

use anyhow::{Result, ensure};
use congruent_protocol::verification::{State, Verification};
use congruent_tests::program::Ended;
use congruent_tests::stock::{Baked, CONTRACTS};

use super::violations;

#[test]
fn a_stock_debian_stays_congruent_over_boots_and_each_violation_is_found() -> Result<()> {
    let own = congruent_tests::sandbox::Sandbox::new()?;
    let own_contract = own.write("own.toml", violations::CONTRACT)?;
    let baked = Baked::new(&CONTRACTS, &[own_contract])?;
    let instance = baked.instance(1)?;

    instance.live_through_a_day()?;
    let (ended, first) = baked.look(instance.root(), None)?;
    check_congruent(&ended, &first)?;
    let seen: Vec<_> = first.coverage.first_seen.iter().map(|value| value.path.to_string()).collect();
    for path in [
        "/etc/machine-id",
        "/etc/ssh/ssh_host_ed25519_key",
        "/home/debian",
        "/etc/netplan/50-cloud-init.yaml",
    ] {
        ensure!(seen.iter().any(|known| known == path), "{path} is no first value: did it boot?");
    }

    let ledger = baked.record(&ended)?;
    instance.live_through_a_day()?;
    let (ended, second) = baked.look(instance.root(), Some(&ledger))?;
    check_congruent(&ended, &second)?;
    ensure!(second.coverage.first_seen.is_empty(), "there were first values at the second boot");

    violations::check(&baked, &instance, &ledger)
}

fn check_congruent(ended: &Ended, verification: &Verification) -> Result<()> {
    ensure!(
        ended.code == Some(0) && verification.state == State::Congruent && verification.findings.is_empty(),
        "exit code {:?}, {:#?}",
        ended.code,
        verification.findings
    );
    let coverage = &verification.coverage;
    ensure!(coverage.unreadable.is_empty() && coverage.unstable.is_empty(), "there are gaps");
    ensure!(coverage.hidden.is_empty(), "something was hidden: {:?}", coverage.hidden);
    Ok(())
}
