//! Which parser, and what it parses: where an image is, the documents that it is made
//! of, and what a registry asks for. What was read is told, and read again the same.
#![no_main]

use congruent_agent::image::digest::BlobDigest;
use congruent_agent::image::document::{ArchivedImage, Document, ImageConfig, Index};
use congruent_agent::image::reference::Reference;
use congruent_agent::image::registry::challenge;
use congruent_agent::image::registry::credentials::DockerConfig;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    let text = || std::str::from_utf8(bytes).unwrap_or_default();
    match which % 8 {
        0 => check_reference(text()),
        1 => check_digest(text()),
        2 => drop(Document::parse(bytes, None)),
        3 => drop(Document::parse(bytes, Some("application/vnd.oci.image.index.v1+json"))),
        4 => drop(Index::parse(bytes)),
        5 => drop(ImageConfig::parse(bytes).map(|config| assert!(config.diff_ids().len() <= 1000))),
        6 => drop(ArchivedImage::parse(bytes)),
        _ => {
            for challenge in challenge::parse(text()) {
                assert!(!challenge.scheme.is_empty());
            }
            if let Ok(config) = DockerConfig::parse(bytes) {
                let _ = config.stored("r.example", "team/web");
            }
        }
    }
});

fn check_reference(text: &str) {
    let Ok(reference) = text.parse::<Reference>() else { return };
    assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
    if let Reference::Registry(named) = reference {
        // What goes into an address is nothing that an address is split at.
        assert!(
            !named.host().contains(['/', '@', '?', '#']) && !named.repository.contains(['?', '#', '%', ':'])
        );
        assert!(named.repository.split('/').all(|part| !matches!(part, "" | "." | "..")));
    }
}

fn check_digest(text: &str) {
    if let Ok(digest) = text.parse::<BlobDigest>() {
        assert_eq!(digest.to_string(), text);
    }
}
