//! Lines that break within a blob: it is gone on with from there, or read again where
//! the registry knows no ranges.

use std::fs;

use anyhow::{Result, ensure};
use congruent_tests::registry::{Guard, Registry};
use congruent_tests::registry_front::{Front, Rules, Seen};

use super::{Baked, done, named};

/// So much of an answer, its head and all, comes before it breaks off.
const CUT_AFTER: usize = 4000;

fn fetch_over_broken_lines(ignores_ranges: bool) -> Result<Vec<Seen>> {
    let baked = Baked::with_files(300)?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    baked.push("1", &registry.host())?;
    done(&baked.attach(&baked.manifest, &named(&registry.host(), "1"), &["--plain-http"])?)?;
    ensure!(
        fs::metadata(&baked.manifest)?.len() > 2 * CUT_AFTER as u64,
        "the manifest is too small to be cut"
    );
    let rules = Rules { cuts: Some((2, CUT_AFTER)), ignores_ranges, ..Rules::default() };
    let front = Front::start(&registry.host(), rules)?;
    let fetched = baked.sandbox.path("fetched.manifest");
    done(&baked.fetch(&named(&front.host(), "1"), &fetched, &["--plain-http"])?)?;
    assert_eq!(fs::read(&fetched)?, fs::read(&baked.manifest)?);
    Ok(front.seen().into_iter().filter(|seen| seen.range.is_some()).collect())
}

#[test]
fn a_blob_goes_on_where_the_line_broke() -> Result<()> {
    let ranges = fetch_over_broken_lines(false)?;
    ensure!(ranges.len() == 2, "{ranges:?}");
    let started = |seen: &Seen| {
        seen.range
            .as_deref()
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok())
    };
    ensure!(started(&ranges[0]) > Some(0) && started(&ranges[1]) > started(&ranges[0]), "{ranges:?}");
    Ok(())
}

#[test]
fn a_blob_is_read_again_where_no_ranges_are_known() -> Result<()> {
    ensure!(fetch_over_broken_lines(true)?.len() == 2);
    Ok(())
}
