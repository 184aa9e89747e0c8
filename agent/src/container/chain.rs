//! Chain ids: what a layer and all below it are called together, as the OCI image
//! specification has it.

use congruent_protocol::digest::{Algorithm, Digest};

/// The chain id of a layer on top of `below`.
pub(super) fn above(below: Option<Digest>, diff_id: Digest) -> Digest {
    match below {
        None => diff_id,
        Some(below) => Algorithm::Sha256.digest(format!("{below} {diff_id}").as_bytes()),
    }
}

/// A digest as runtimes write it: of SHA-256, whatever else we know.
pub(super) fn sha256(text: &str) -> Option<Digest> {
    text.parse().ok().filter(|digest: &Digest| digest.algorithm() == Algorithm::Sha256 && !digest.is_keyed())
}

/// The hexadecimal digits of a digest.
pub(super) fn hex(digest: Digest) -> String {
    let text = digest.to_string();
    text.split_once(':').map_or(text.clone(), |(_, hex)| hex.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_those_of_docker() {
        // As Docker 20.10 called three layers of a real image.
        let diffs = [
            "sha256:ef17185d40731e2f62382c8735486c44207b648bacc03cb72f8d94cf5dc2491d",
            "sha256:4d1ddcc0908efc3a6477efe6842dac423fd73075e20d176186f87bc7c9d37ab1",
            "sha256:99266198a7349c851338875fc8de88907dbfcf69a6dc2e88708d81fab7d04511",
        ];
        let top = diffs.iter().fold(None, |below, diff| Some(above(below, sha256(diff).unwrap())));
        let expected = "sha256:1865e73b8921ff2b512068336bc46be9139831832028a8e000b84d9967a27ccd";
        assert_eq!(top.unwrap().to_string(), expected);
        assert_eq!(format!("sha256:{}", hex(top.unwrap())), expected);
    }

    #[test]
    fn only_sha256_is_taken() {
        for no in ["", "sha256:", "sha256:xyz", &format!("blake3:{}", "0".repeat(64)), &"0".repeat(64)] {
            assert_eq!(sha256(no), None, "{no}");
        }
    }
}
