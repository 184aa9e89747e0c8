//! Every shipped contract can be read, and none reaches what operators hold.

use std::fs;

use anyhow::{Context, Result, ensure};
use congruent_protocol::contract::{Class, Contract, ContractFile, Floor};
use congruent_tests::stock;

#[test]
fn every_contract_is_valid_keeps_off_the_floor_and_is_told_of() -> Result<()> {
    let readme = fs::read_to_string(stock::contracts().join("README.md"))?;
    let mut seen = 0;
    for entry in fs::read_dir(stock::contracts())? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        check(&fs::read_to_string(&path)?).with_context(|| name.clone())?;
        ensure!(readme.contains(&format!("`{name}`")), "README.md does not tell of {name}");
        seen += 1;
    }
    assert_eq!(seen, 8);
    Ok(())
}

fn check(text: &str) -> Result<()> {
    let contract = Contract::compose(vec![ContractFile::parse(text)?]).map_err(anyhow::Error::msg)?;
    Floor::default().check(&contract)?;
    ensure!(text.starts_with("# "), "it does not say what it is for");
    // What a class lets appear is at least no device and gives nobody rights, but
    // for what holds containers' own trees.
    let base = Contract::linux();
    for rule in contract.rules().iter().filter(|rule| !base.rules().contains(rule)) {
        let is_open = matches!(rule.terms.class, Class::Ephemeral | Class::CreateOnly);
        let is_bare = rule.terms.forbid.is_empty() && rule.path != "/var/lib/containerd/**";
        ensure!(!(is_open && is_bare), "the rule for {} forbids nothing", rule.path);
    }
    Ok(())
}
