//! Receives orders, and says in plain words what came and whether its signature
//! is valid. For trying a collector by hand: `webhook-receiver SECRET-FILE [ADDRESS]`.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use congruent_tests::narrate;
use congruent_tests::receiver::{Answer, WebhookReceiver};
use congruent_tests::signature::WebhookSecret;

const USAGE: &str = "usage: webhook-receiver SECRET-FILE [ADDRESS]";
const DEFAULT_ADDRESS: &str = "127.0.0.1:9000";
/// Longer than anyone will watch.
const EVER: Duration = Duration::from_hours(24 * 365);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().context(USAGE)?;
    let address = arguments.next().unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    let address: SocketAddr = address.parse().with_context(|| format!("{address:?} is no address"))?;
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let secret = WebhookSecret::parse(&text).with_context(|| format!("cannot use {file}"))?;
    let receiver = WebhookReceiver::start_on(address, secret, Answer::Status(204))?;
    println!("waiting for orders at {}", receiver.url());
    for count in 1.. {
        let deliveries = receiver.wait_for(count, EVER)?;
        println!("\n{}", narrate::delivery(&deliveries[count - 1]).join("\n"));
    }
    Ok(())
}
