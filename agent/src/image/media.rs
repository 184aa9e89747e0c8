//! Media types: what a document is, and how a layer is packed.

/// OCI's image index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI's image manifest.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's manifest list, of schema 2.
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest, of schema 2.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// What Docker's first manifests were, signed or not.
const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// What a manifest document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It names manifests, by platform.
    Index,
    /// It names a configuration and layers.
    Manifest,
}

impl Kind {
    /// What a media type says; none where it says nothing of the sort.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_INDEX | DOCKER_LIST => Some(Self::Index),
            OCI_MANIFEST | DOCKER_MANIFEST => Some(Self::Manifest),
            _ => None,
        }
    }
}

/// Whether a media type is that of Docker's first manifests.
pub(crate) fn is_schema_1(media_type: &str) -> bool {
    media_type.starts_with(DOCKER_SCHEMA_1)
}

/// Whether a media type is that of an image's configuration, and of no other artifact's.
pub(crate) fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// How a layer's tar stream is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, of one member or, as estargz has it, many.
    Gzip,
    /// Zstandard, of one frame or, as zstd:chunked has it, many.
    Zstd,
}

/// Why a layer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Foreign,
    Encrypted,
    Unknown,
}

impl Unreadable {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Foreign => "it lies outside the registry and may not be distributed",
            Self::Encrypted => "it is encrypted",
            Self::Unknown => "it is no layer that this version of congruent reads",
        }
    }
}

impl Packing {
    /// What a layer's media type says.
    pub(crate) fn of(media_type: &str) -> Result<Self, Unreadable> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Ok(Self::Plain)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Self::Zstd),
            _ if media_type.ends_with("+encrypted") => Err(Unreadable::Encrypted),
            _ if media_type.contains(".nondistributable.") || media_type.contains(".foreign.") => {
                Err(Unreadable::Foreign)
            }
            _ => Err(Unreadable::Unknown),
        }
    }

    /// What a blob's first bytes say. Zstandard may begin with a skippable frame.
    pub(crate) fn by_magic(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "an uncompressed tar stream",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_known_by_their_media_type() {
        let oci = |suffix| format!("application/vnd.oci.image.layer.{suffix}");
        for (media_type, expected) in [
            (oci("v1.tar"), Ok(Packing::Plain)),
            (oci("v1.tar+gzip"), Ok(Packing::Gzip)),
            (oci("v1.tar+zstd"), Ok(Packing::Zstd)),
            (oci("v1.tar+gzip+encrypted"), Err(Unreadable::Encrypted)),
            (oci("nondistributable.v1.tar+gzip"), Err(Unreadable::Foreign)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip".into(), Ok(Packing::Gzip)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into(), Err(Unreadable::Foreign)),
            ("application/vnd.in-toto+json".into(), Err(Unreadable::Unknown)),
        ] {
            assert_eq!(Packing::of(&media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn blobs_are_known_by_their_first_bytes() {
        for (bytes, expected) in [
            (&[0x1f, 0x8b, 8, 0][..], Packing::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd], Packing::Zstd),
            (&[0x50, 0x2a, 0x4d, 0x18], Packing::Zstd),
            (b"etc/", Packing::Plain),
            (&[0x1f], Packing::Plain),
            (&[], Packing::Plain),
        ] {
            assert_eq!(Packing::by_magic(bytes), expected, "{bytes:?}");
        }
    }
}
