//! The whole path on a real root file system, told in plain words: bake, agent,
//! collector, policy, plan, webhook.
//!
//! `scripts/demo` gives it an empty folder, and cleans up whatever happens; what
//! is started here is noted in the folder by process id.

mod change;
mod source;
mod stage;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use congruent_protocol::verification::State;
use congruent_tests::narrate;

use stage::Stage;

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).context("usage: demo EMPTY-FOLDER")?.into();
    ensure!(folder.is_dir(), "{} is not a folder", folder.display());
    let begun = Instant::now();

    title("1. Bake: what the image is, to the last byte");
    let mut stage = Stage::new(&folder)?;
    say(&source::plant(&stage.root())?);
    stage.bake()?;

    title("2. Run: a collector, and an agent on the machine web-1");
    stage.start()?;
    let node = stage.wait_for(State::Congruent, 0)?;
    say(&format!("The collector says: web-1 is CONGRUENT, all of its {} entries verified.", node.entries));

    title("3. Change three things, as an intruder or a well-meaning colleague would");
    let changes = change::make(&stage.root())?;
    changes.iter().for_each(|change| say(&format!("- {change}")));

    title("4. Found by the next sweep");
    let node = stage.wait_for(State::Divergent, changes.len())?;
    say(&format!("The collector says: web-1 is DIVERGENT, {} findings:", node.findings.len()));
    node.findings.iter().for_each(|finding| say(&format!("- {}", narrate::finding(finding))));

    title("5. Decided by policy, and confirmed by a second full sweep before anything is ordered");
    let delivery = stage.wait_for_order()?;
    let order = delivery.order()?;
    narrate::decision(&order.decision).iter().for_each(|line| say(line));
    say(&format!("The plan: {}.", stage.plan_reason(&order.action_id)?));

    title("6. Ordered: what the platform's webhook received");
    narrate::delivery(&delivery).iter().for_each(|line| say(line));
    ensure!(delivery.fault.is_none(), "the signature is not valid");

    stage.stop()?;
    title("That is all");
    say("The platform would now put a fresh copy into web-1's place. Nothing was patched.");
    say(&format!(
        "It took {} seconds; everything that was made is being removed.",
        begun.elapsed().as_secs()
    ));
    Ok(())
}

fn title(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.chars().count()));
}

fn say(text: &str) {
    println!("  {text}");
}
