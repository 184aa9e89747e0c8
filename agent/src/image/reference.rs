//! Where an image is, in the words that skopeo uses.
//!
//! `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:TAG]` and
//! `docker://HOST/REPO[:TAG|@DIGEST]`. As with skopeo, a directory or file ends at
//! the first colon, and names without a host are Docker Hub's.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::digest::BlobDigest;

/// Docker Hub, as people name it.
const HUB: &str = "docker.io";
/// Docker Hub, as it answers.
const HUB_HOST: &str = "registry-1.docker.io";
const MAX_REPOSITORY_CHARS: usize = 255;
const MAX_TAG_CHARS: usize = 128;

/// The place of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A directory in the OCI image layout.
    Layout {
        /// The directory.
        directory: PathBuf,
        /// Which of its images.
        tag: Option<String>,
    },
    /// The same in a tar file.
    LayoutArchive {
        /// The tar file.
        file: PathBuf,
        /// Which of its images.
        tag: Option<String>,
    },
    /// What `docker save` writes.
    DockerArchive {
        /// The tar file.
        file: PathBuf,
        /// Which of its images: a name with its tag, or the tag alone.
        tag: Option<String>,
    },
    /// In a registry.
    Registry(RegistryReference),
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryReference {
    /// The registry, as people name it: a host, and its port where that is not the usual one.
    pub registry: String,
    /// The repository in it.
    pub repository: String,
    /// Which of its images.
    pub version: Version,
}

/// Which image of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// The one that has this tag now.
    Tag(String),
    /// This one.
    Digest(BlobDigest),
}

/// Why text is not a [`Reference`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It names no kind of place.
    #[error(
        "{0:?} does not say where the image is; expected oci:DIR[:TAG], oci-archive:FILE[:TAG], \
         docker-archive:FILE[:TAG], or docker://HOST/REPOSITORY[:TAG|@DIGEST]"
    )]
    Transport(String),
    /// It is not there as a directory, and names no kind of place.
    #[error(
        "{0:?} is no directory that is there, and does not say where an image is; expected oci:DIR[:TAG], \
         oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], or docker://HOST/REPOSITORY[:TAG|@DIGEST]"
    )]
    NoPlace(String),
    /// A runtime keeps it.
    #[error(
        "{text:?} is kept by a runtime, which is not asked; save it, as with `{tool} save --output FILE IMAGE`, and \
         bake docker-archive:FILE"
    )]
    Kept {
        /// All of it.
        text: String,
        /// What saves it.
        tool: &'static str,
    },
    /// No directory or file is named.
    #[error("{0:?} names no directory or file, or an empty tag")]
    Empty(String),
    /// It has a tag and a digest.
    #[error("{0:?} has a tag and a digest; give one of them")]
    TagAndDigest(String),
    /// A part of it is not as registries have it.
    #[error("{text:?} is not the name of an image in a registry: its {part} is not acceptable")]
    Name {
        /// All of it.
        text: String,
        /// Which part.
        part: &'static str,
    },
}

impl Reference {
    /// Whether text begins like one, so that it is no directory's name.
    pub fn is_meant(text: &str) -> bool {
        ["oci:", "oci-archive:", "docker-archive:", "docker://"].iter().any(|start| text.starts_with(start))
    }
}

impl ReferenceError {
    /// What is to be said of text that is no reference and no directory that is there.
    pub fn of_no_place(text: &str) -> Self {
        let shown = || text.chars().take(300).collect();
        let keepers = [("docker-daemon:", "docker"), ("containers-storage:", "podman")];
        match keepers.into_iter().find(|(transport, _)| text.starts_with(transport)) {
            Some((_, tool)) => Self::Kept { text: shown(), tool },
            None => Self::NoPlace(shown()),
        }
    }
}

impl RegistryReference {
    /// The host, and port, that answers.
    pub fn host(&self) -> &str {
        if self.registry == HUB { HUB_HOST } else { &self.registry }
    }

    /// The same repository's image with this digest.
    #[must_use]
    pub fn at(&self, digest: BlobDigest) -> Self {
        Self { version: Version::Digest(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Some(name) = text.strip_prefix("docker://") {
            return name.parse().map(Self::Registry);
        }
        let shown = || text.chars().take(300).collect();
        let (transport, place) = text.split_once(':').ok_or_else(|| ReferenceError::Transport(shown()))?;
        let (path, tag) = match place.split_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (place, None),
        };
        let path_buf = PathBuf::from(path);
        let reference = match transport {
            "oci" => Self::Layout { directory: path_buf, tag: tag.clone() },
            "oci-archive" => Self::LayoutArchive { file: path_buf, tag: tag.clone() },
            "docker-archive" => Self::DockerArchive { file: path_buf, tag: tag.clone() },
            _ => return Err(ReferenceError::Transport(shown())),
        };
        if path.is_empty() || tag.as_deref() == Some("") {
            return Err(ReferenceError::Empty(shown()));
        }
        Ok(reference)
    }
}

impl FromStr for RegistryReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let shown = || text.chars().take(300).collect::<String>();
        let wrong = |part| ReferenceError::Name { text: shown(), part };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(|_| wrong("digest"))?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(name);
        let (registry, repository) = split_registry(name);
        if !is_host(&registry) {
            return Err(wrong("host"));
        }
        if !is_repository(&repository) {
            return Err(wrong("repository"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("tag"));
        }
        let version = match (tag, digest) {
            (Some(_), Some(_)) => return Err(ReferenceError::TagAndDigest(shown())),
            (_, Some(digest)) => Version::Digest(digest),
            (tag, None) => Version::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self { registry, repository, version })
    }
}

/// A tag follows the last colon, unless that is a port's.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
        _ => (name, None),
    }
}

/// The first part is a host where it cannot be part of a repository's name.
fn split_registry(name: &str) -> (String, String) {
    let named = name.split_once('/').filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost");
    let (registry, repository) = named.unwrap_or((HUB, name));
    let registry = if registry == "index.docker.io" { HUB } else { registry };
    let is_short = registry == HUB && !repository.contains('/');
    let repository = if is_short { format!("library/{repository}") } else { repository.to_owned() };
    (registry.to_owned(), repository)
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            return is_address && (after.is_empty() || after.strip_prefix(':').is_some_and(is_port));
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

/// As <https://github.com/opencontainers/distribution-spec> has names.
fn is_repository(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_component = |component: &str| {
        let separators = component.split(|c: char| c.is_ascii() && is_letter(c as u8));
        component.bytes().next().is_some_and(is_letter)
            && component.bytes().next_back().is_some_and(is_letter)
            && separators.into_iter().all(|between| {
                matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
            })
    };
    text.len() <= MAX_REPOSITORY_CHARS && text.split('/').all(is_component)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_TAG_CHARS).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, tag) = match self {
            Self::Registry(reference) => return write!(f, "docker://{reference}"),
            Self::Layout { directory, tag } => ("oci", directory, tag),
            Self::LayoutArchive { file, tag } => ("oci-archive", file, tag),
            Self::DockerArchive { file, tag } => ("docker-archive", file, tag),
        };
        write!(f, "{transport}:{}", path.display())?;
        tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_read_and_told() {
        let check = |text: &str, told: &str| {
            let reference: Reference = text.parse().expect(text);
            assert_eq!(reference.to_string(), told);
            assert_eq!(told.parse(), Ok(reference));
        };
        check("oci:images/web", "oci:images/web");
        check("oci:/images:web:1.2", "oci:/images:web:1.2");
        check("oci-archive:web.tar", "oci-archive:web.tar");
        check("docker-archive:web.tar:r.example/web:1", "docker-archive:web.tar:r.example/web:1");
        check("docker://debian", "docker://docker.io/library/debian:latest");
        check("docker://index.docker.io/debian:12", "docker://docker.io/library/debian:12");
        check("docker://grafana/loki:3", "docker://docker.io/grafana/loki:3");
        check("docker://localhost/web", "docker://localhost/web:latest");
        check("docker://localhost:5000/a/b__c/d--e", "docker://localhost:5000/a/b__c/d--e:latest");
        check("docker://[::1]:5000/web:x", "docker://[::1]:5000/web:x");
        let by_digest = format!("docker://r.example/web@{DIGEST}");
        check(&by_digest, &by_digest);
    }

    #[test]
    fn what_is_no_place_is_told_what_one_is() {
        let check = |text: &str, says: &str| {
            let error = ReferenceError::of_no_place(text).to_string();
            assert!(error.contains(says), "{error}");
        };
        check("docker-daemon:web:1", "`docker save --output FILE IMAGE`");
        check("containers-storage:web", "`podman save");
        for other in ["web:1", "debian", "dir:web", "docker:web", "ghcr.io/a/b"] {
            check(other, "docker://HOST/REPOSITORY[:TAG|@DIGEST]");
        }
    }

    #[test]
    fn docker_hub_answers_elsewhere() {
        let host = |text: &str| text.parse::<RegistryReference>().expect(text).host().to_owned();
        assert_eq!(host("debian"), "registry-1.docker.io");
        assert_eq!(host("r.example:443/debian"), "r.example:443");
    }

    #[test]
    fn other_text_is_refused() {
        let both = format!("docker://r.example/web:1@{DIGEST}");
        for bad in [
            "",
            "debian",
            "/srv/root",
            "dir:web",
            "oci:",
            "oci::tag",
            "oci:web:",
            "docker-archive:",
            "docker://",
            "docker:///web",
            "docker://r.example/",
            "docker://r.example/Web",
            "docker://r.example/web/",
            "docker://r.example/we..b",
            "docker://r.example/-web",
            "docker://r.example/we___b",
            "docker://r.example/web:",
            "docker://r.example/web:.x",
            "docker://r.example:0/web",
            "docker://r.example:/web",
            "docker://r.example:99999/web",
            "docker://us er@r.example/web",
            "docker://-r.example/web",
            "docker://r..example/web",
            "docker://[::1/web",
            "docker://[x]:1/web",
            "docker://r.example/web@sha256:00",
            "docker://r.example/wéb",
            "docker://r.example/web?x=1",
            "docker://r.example/web#x",
            &both,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
