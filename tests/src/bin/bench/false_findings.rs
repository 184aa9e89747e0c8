//! Contracts on a stock image: what is found on machines that only booted. It has
//! to be nothing.

use anyhow::{Result, ensure};
use congruent_tests::stock;

use super::options::Options;
use super::section::Section;
use super::tell;

const BOOTS: usize = 3;

pub(crate) fn section(_: &Options) -> Result<Section> {
    tell(&format!("booting a stock image {BOOTS} times"));
    let counts = stock::false_findings(BOOTS)?;
    let text = format!(
        "False findings on a stock Debian image of {} entries, each boot of a fresh copy.\n\n\
         | boots | false findings |\n|---|---|\n| {} | {} |\n",
        counts.entries, counts.boots, counts.false_findings
    );
    ensure!(counts.false_findings == 0, "{text}\n{}", counts.listed.join("\n"));
    Ok(Section { title: "False findings", text, picture: None })
}
