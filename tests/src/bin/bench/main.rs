//! Measures the whole program beside its peers, in one run, and prints one table
//! for each thing that is measured, with what is asked of it; leaves them as
//! `target/bench.md`, and with `--save` in `docs/bench/`.

mod agent;
mod bake;
mod cache;
mod cgroup;
mod cold;
mod collector;
mod containers;
mod false_findings;
mod manifests;
mod measure;
mod memory;
mod options;
mod peers;
mod quick;
mod race;
mod section;
mod subject;
mod svg;
mod target;
mod verify;
mod wire;

use std::env;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use congruent_tests::binaries;
use congruent_tests::program::succeed;

use options::Options;
use section::Section;

type Measure = fn(&Options) -> Result<Section>;

/// What can be measured, in the order in which it is.
const TABLES: [(&str, Measure); 11] = [
    ("verify", verify::section),
    ("bake", bake::section),
    ("quick", quick::section),
    ("cold", cold::section),
    ("memory", memory::section),
    ("cache", cache::section),
    ("manifests", manifests::section),
    ("agent", agent::section),
    ("collector", collector::section),
    ("containers", containers::section),
    ("false-findings", false_findings::section),
];

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == measure::WORD).is_some() {
        return measure::measure(arguments);
    }
    let options = Options::read(arguments)?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let (mut page, mut pictures, mut failed) = (section::head(&date), Vec::new(), Vec::new());
    print!("{page}");
    for (name, measure) in TABLES.iter().filter(|(name, _)| options.wants(name)) {
        tell(name);
        // One that cannot be made here leaves the others.
        let text = match measure(&options) {
            Ok(section) => {
                pictures.extend(section.picture.clone().map(|picture| (*name, picture)));
                section.to_markdown()
            }
            Err(error) => {
                failed.push(*name);
                format!("## {name}\n\nNot measured: {error:#}\n\n")
            }
        };
        print!("{text}");
        page.push_str(&text);
    }
    keep(&binaries::folder()?.join(".."), "bench", &page, &pictures)?;
    ensure!(failed.is_empty(), "could not be measured: {}", failed.join(", "));
    if options.save {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench");
        keep(&folder, &date, &page, &pictures)?;
    }
    Ok(())
}

/// Leaves the page and its pictures in a folder.
fn keep(folder: &Path, name: &str, page: &str, pictures: &[(&str, String)]) -> Result<()> {
    section::write(&folder.join(format!("{name}.md")), page)?;
    for (name, picture) in pictures {
        section::write(&folder.join(format!("{name}.svg")), picture)?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a program's progress")]
pub(crate) fn tell(what: &str) {
    eprintln!("bench: {what}");
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// How many entries and bytes lie in a folder, in words.
fn counts_of(folder: &Path) -> Result<String> {
    let probe = binaries::path("floor-probe")?;
    let counted = succeed(&probe.to_string_lossy(), [folder])?.text();
    counts_in(&counted).with_context(|| format!("the floor probe counts nothing: {counted}"))
}

fn counts_in(counted: &str) -> Option<String> {
    let mut numbers = counted.split(", ").map_while(|part| part.split(' ').next()?.parse::<u64>().ok());
    let (entries, bytes) = numbers.next().zip(numbers.next())?;
    let (thousands, rest) = (entries / 1000, entries % 1000);
    let entries = if thousands > 0 { format!("{thousands},{rest:03}") } else { rest.to_string() };
    Some(format!("{entries} entries, {:.2} GB", bytes as f64 / 1e9))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use congruent_tests::sandbox::Sandbox;

    use super::*;

    #[test]
    fn the_outcome_is_kept() {
        let sandbox = Sandbox::new().unwrap();
        let folder = sandbox.path("docs/bench");
        for text in ["first", "second"] {
            keep(&folder, "2026-11-25", text, &[("verify", format!("<svg>{text}</svg>"))]).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("2026-11-25.md"), "second");
        assert_eq!(read("verify.svg"), "<svg>second</svg>");
    }

    #[test]
    fn counts_in_words() {
        for (counted, expected) in [
            ("133411 entries, 5898953700 bytes hashed, 0 unreadable", Some("133,411 entries, 5.90 GB")),
            ("12 entries, 0 bytes hashed", Some("12 entries, 0.00 GB")),
            ("1002 entries, 1000000000 bytes hashed", Some("1,002 entries, 1.00 GB")),
            ("none", None),
        ] {
            assert_eq!(counts_in(counted).as_deref(), expected, "{counted}");
        }
    }
}
