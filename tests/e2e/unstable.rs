//! What changes while it is looked at is a gap in coverage, never a finding.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use congruent_protocol::verification::State;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, tree};

/// Large enough that a look at it takes far longer than a write to it.
const BYTES: usize = 128 << 20;

#[test]
fn a_file_that_is_written_meanwhile_is_unstable() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
    tree::small(&root)?;
    let busy = root.join("var/log/busy");
    fs::write(&busy, vec![b'x'; BYTES])?;
    let keys = sandbox.keygen("key")?;
    agent::bake(&root, None, &keys, &manifest)?;

    let file = File::options().write(true).open(&busy)?;
    let done = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // What was there before, so that only its times tell.
                file.write_all_at(b"x", 0).expect("the file stays writable");
            }
        });
        let ended = agent::verify(&manifest, &keys.public, &root);
        done.store(true, Ordering::Relaxed);
        ended
    })?;
    let verification = agent::verification(&ended)?;
    let unstable: Vec<_> = verification.coverage.unstable.iter().map(|gap| gap.path.to_string()).collect();
    assert_eq!(unstable, ["/var/log/busy"]);
    assert!(verification.findings.is_empty() && verification.conditional, "{:?}", verification.findings);
    assert_eq!((verification.state, ended.code), (State::Incomplete, Some(3)));
    assert_eq!(verification.observed_root, verification.manifest.root);

    // Left alone, it is what was baked.
    assert_eq!(agent::verify(&manifest, &keys.public, &root)?.code, Some(0));
    Ok(())
}
