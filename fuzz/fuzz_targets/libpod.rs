//! Any bytes as Podman's database: refused, or each container that is started again once.
#![no_main]

use std::collections::HashSet;

use congruent_agent::container::bolt::Bolt;
use congruent_agent::container::libpod::restarted;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(database) = Bolt::new(bytes.to_vec()) else { return };
    let Ok(found) = restarted(&database, |_| true) else { return };
    let ids: HashSet<_> = found.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), found.len());
});
