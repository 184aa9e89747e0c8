//! Images made by hand, whole and with one defect each, through `open` and `layer`.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::document::{Descriptor, ImageManifest, Index, TAG_ANNOTATION};
use super::media::OCI_MANIFEST;
use super::*;
use crate::sweep::Counters;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("packed")
}

/// A tar stream of some length that does not repeat.
fn tar_stream() -> Vec<u8> {
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, "etc/content", &content[..]).expect("appended");
    builder.into_inner().expect("an end")
}

/// A layout under way.
struct Made(tempfile::TempDir);

impl Made {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("blobs/sha256")).expect("made");
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
        Self(folder)
    }

    fn path(&self, digest: BlobDigest) -> std::path::PathBuf {
        self.0.path().join("blobs").join(digest.algorithm()).join(digest.to_hex())
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        fs::write(self.path(descriptor.digest), bytes).expect("written");
        descriptor
    }

    /// An image of one layer.
    fn image(&self, platform: &str, stream: &[u8], layer: Descriptor) -> Descriptor {
        let platform: Platform = platform.parse().expect("a platform");
        let config = serde_json::json!({
            "os": platform.os, "architecture": platform.architecture, "variant": platform.variant,
            "rootfs": {"type": "layers", "diff_ids": [BlobDigest::of(stream)]},
        });
        let config = self.blob(CONFIG, config.to_string().as_bytes());
        self.manifest(config, vec![layer])
    }

    fn manifest(&self, config: Descriptor, layers: Vec<Descriptor>) -> Descriptor {
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Default::default(),
        };
        self.blob(OCI_MANIFEST, &manifest.to_json())
    }

    fn index(&self, manifests: Vec<Descriptor>) {
        fs::write(self.0.path().join("index.json"), Index::new(manifests).to_json()).expect("written");
    }

    fn open(&self, options: &Options) -> Result<Vec<Image>, ImageError> {
        open(&Reference::Layout { directory: self.0.path().to_owned(), tag: None }, options)
    }
}

fn read(image: &Image) -> Result<Vec<u8>, ImageError> {
    image.layer(0, &Counters::default(), |stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(ImageError::read("the test's layer"))?;
        Ok(bytes)
    })
}

fn read_one(made: &Made, options: &Options) -> Result<Vec<u8>, ImageError> {
    read(&made.open(options)?[0])
}

#[test]
fn a_layer_is_read_however_it_is_packed() {
    let stream = tar_stream();
    let (head, tail) = stream.split_at(100_000);
    let many = |pack: fn(&[u8]) -> Vec<u8>| [pack(head), pack(tail), pack(b"")].concat();
    // zstd:chunked ends with a skippable frame.
    let skippable = [&zstd(&stream)[..], &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0], b"toc"].concat();
    for (media_type, packed) in [
        (PLAIN, stream.clone()),
        (GZIP, gzip(&stream)),
        (GZIP, many(gzip)),
        (ZSTD, zstd(&stream)),
        (ZSTD, many(zstd)),
        (ZSTD, skippable),
    ] {
        let made = Made::new();
        let layer = made.blob(media_type, &packed);
        made.index(vec![made.image("linux/amd64", &stream, layer)]);
        let images = made.open(&Options::default()).expect("an image");
        assert_eq!(read(&images[0]).expect(media_type), stream);
        assert_eq!(images[0].packed_bytes(), Some(packed.len() as u64));
        // A reader that stops early is no reason not to look at the rest.
        let counters = Counters::default();
        let first = images[0].layer(0, &counters, |stream| {
            let mut first = [0; 3];
            stream.read_exact(&mut first).map_err(ImageError::read("the test's layer"))?;
            Ok::<_, ImageError>(first)
        });
        assert_eq!((&first.expect("read"), counters.bytes()), (b"etc", packed.len() as u64));
    }
}

#[test]
fn a_layer_with_a_defect_is_refused() {
    let stream = tar_stream();
    let packed = gzip(&stream);
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let check = |media_type: &str, named: &[u8], there: &[u8], diff: &[u8], part: &str| {
        let made = Made::new();
        let layer = made.blob(media_type, named);
        fs::write(made.path(layer.digest), there).expect("written");
        made.index(vec![made.image("linux/amd64", diff, layer)]);
        let error = read_one(&made, &Options::default()).expect_err(part);
        let told = format!("{:#}", anyhow::Error::new(error));
        assert!(told.contains(part), "{told} for {part}");
    };
    let check_gzip = |there: &[u8], part: &str| check(GZIP, &packed, there, &stream, part);
    check(PLAIN, &stream, &flipped(&stream, 5), &stream, "not what its digest names");
    check(PLAIN, &stream, &stream, b"another", "the image's configuration names");
    check(GZIP, &packed, &packed, b"another", "the image's configuration names");
    // In gzip's header, where unpacking does not see it.
    check_gzip(&flipped(&packed, 4), "not what its digest names");
    // Where unpacking does, its digest says why.
    let named = format!("the blob {}) is not what its digest names", BlobDigest::of(&packed));
    check_gzip(&flipped(&packed, packed.len() / 2), &named);
    check_gzip(&packed[..packed.len() - 1], "bytes long, and is");
    check_gzip(&packed[..packed.len() - 1], "get the image anew");
    check_gzip(&[&packed[..], &gzip(b"x")].concat(), "more than");
    check(GZIP, &[&packed[..], b"x"].concat(), &[&packed[..], b"x"].concat(), &stream, "unpacked");
    check(GZIP, &stream, &stream, &stream, "begins like an uncompressed");
    check(ZSTD, &packed, &packed, &stream, "begins like gzip");
    check(
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        &stream,
        &stream,
        &stream,
        "distributed",
    );
    check("application/octet-stream", &stream, &stream, &stream, "no layer");

    let made = Made::new();
    let layer = made.blob(GZIP, &packed);
    made.index(vec![made.image("linux/amd64", &stream, layer.clone())]);
    let narrow = Options { max_layer_bytes: stream.len() as u64 - 1, ..Options::default() };
    assert!(matches!(read_one(&made, &narrow), Err(ImageError::Bomb { .. })));
    fs::remove_file(made.path(layer.digest)).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", made.path(layer.digest)).expect("linked");
    assert!(matches!(read_one(&made, &Options::default()), Err(ImageError::Read { .. })));
}

#[test]
fn a_reader_that_fails_is_told_of_the_stream_first() {
    let stream = tar_stream();
    let made = Made::new();
    let layer = made.blob(PLAIN, &stream);
    made.index(vec![made.image("linux/amd64", &stream, layer.clone())]);
    let refuse = |made: &Made| {
        let image = made.open(&Options::default()).expect("an image").remove(0);
        let refused = ImageError::Refused { what: "the tar stream".to_owned(), why: "no".to_owned() };
        image.layer(0, &Counters::default(), |_| Err::<(), _>(refused)).expect_err("refused")
    };
    assert!(matches!(refuse(&made), ImageError::Refused { .. }));
    fs::write(made.path(layer.digest), vec![0; stream.len()]).expect("written");
    assert!(matches!(refuse(&made), ImageError::Digest { .. }));
}

#[test]
fn documents_are_held_to_their_digests() {
    let stream = tar_stream();
    let made = Made::new();
    let layer = made.blob(PLAIN, &stream);
    let manifest = made.image("linux/amd64", &stream, layer.clone());
    made.index(vec![manifest.clone()]);
    assert!(made.open(&Options::default()).is_ok());
    let bytes = fs::read(made.path(manifest.digest)).expect("read");
    let spaced = [&bytes[..bytes.len() - 1], b" }"].concat();
    fs::write(made.path(manifest.digest), &spaced).expect("written");
    assert!(matches!(made.open(&Options::default()), Err(ImageError::Size { .. })));
    let other = made.image("linux/arm64", &stream, layer);
    fs::write(made.path(manifest.digest), vec![b' '; bytes.len()]).expect("written");
    assert!(matches!(made.open(&Options::default()), Err(ImageError::Digest { .. })));
    made.index(vec![Descriptor { size: u64::MAX, ..other }]);
    assert!(matches!(made.open(&Options::default()), Err(ImageError::TooLong { .. })));
    fs::remove_file(made.0.path().join("oci-layout")).expect("removed");
    assert!(matches!(made.open(&Options::default()), Err(ImageError::Refused { .. })));
}

#[test]
fn an_index_has_an_image_for_each_platform() {
    let stream = tar_stream();
    let made = Made::new();
    let layer = made.blob(PLAIN, &stream);
    let image = |platform: &str| Descriptor {
        platform: Some(platform.parse().expect("a platform")),
        ..made.image(platform, &stream, layer.clone())
    };
    let attestation = Descriptor { digest: BlobDigest::of(b"not there"), ..image("unknown/unknown") };
    let inner = Index::new(vec![image("linux/amd64"), image("linux/arm/v7"), attestation]);
    let mut inner = made.blob(media::OCI_INDEX, &inner.to_json());
    inner.annotations.insert(TAG_ANNOTATION.to_owned(), "1".to_owned());
    made.index(vec![inner]);
    let platforms = |wanted: Option<&str>| {
        let platform = wanted.map(|wanted| wanted.parse().expect("a platform"));
        let images = made.open(&Options { platform, ..Options::default() })?;
        Ok::<_, ImageError>(images.iter().map(|image| image.platform.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(platforms(None).expect("images"), ["linux/amd64", "linux/arm/v7"]);
    assert_eq!(platforms(Some("linux/arm")).expect("an image"), ["linux/arm/v7"]);
    let none = platforms(Some("linux/s390x")).expect_err("no such image").to_string();
    assert!(none.contains("linux/amd64, linux/arm/v7"), "{none}");

    made.index(vec![image("linux/amd64"), image("linux/amd64")]);
    assert_eq!(platforms(None).expect("the same image twice").len(), 1);
    let other = made.blob(PLAIN, b"another");
    made.index(vec![image("linux/amd64"), made.image("linux/amd64", b"another", other)]);
    assert!(matches!(platforms(None), Err(ImageError::SamePlatform(_))));
    made.index(vec![]);
    assert!(matches!(platforms(None), Err(ImageError::NoImage)));
}

#[test]
fn what_docker_saves_is_read() {
    let stream = tar_stream();
    let config = serde_json::json!({
        "os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [BlobDigest::of(&stream), BlobDigest::of(&stream)]},
    });
    let config = config.to_string();
    let name = format!("{}.json", BlobDigest::of(config.as_bytes()).to_hex());
    let images = serde_json::json!([
        {"Config": name, "RepoTags": ["web:1"], "Layers": ["a/layer.tar", "b/layer.tar"]},
        {"Config": "other", "RepoTags": ["web:2"], "Layers": []},
    ]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut builder = tar::Builder::new(file.as_file());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).expect("appended");
    };
    add(&name, config.as_bytes());
    add("other", config.replace("amd64", "arm64").as_bytes());
    add("a/layer.tar", &stream);
    add("manifest.json", images.to_string().as_bytes());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "b/layer.tar", "../a/layer.tar").expect("appended");
    builder.into_inner().expect("an end");

    let open = |tag: Option<&str>| {
        let tag = tag.map(str::to_owned);
        open(&Reference::DockerArchive { file: Path::to_owned(file.path()), tag }, &Options::default())
    };
    let image = open(Some("web:1")).expect("an image").remove(0);
    assert_eq!(BlobDigest::of(config.as_bytes()).recorded(), Some(image.config_digest));
    for index in 0..2 {
        let bytes = image.layer(index, &Counters::default(), |stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map_err(ImageError::read("the test's layer"))?;
            Ok::<_, ImageError>(bytes)
        });
        assert_eq!(bytes.expect("a layer"), stream);
    }
    assert!(matches!(open(None), Err(ImageError::Ambiguous { .. })));
    assert!(matches!(open(Some("web:3")), Err(ImageError::NoTag { .. })));
    // Two diff_ids and no layer.
    assert!(matches!(open(Some("web:2")), Err(ImageError::Refused { .. })));
}
