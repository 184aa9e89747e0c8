use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crc::{CRC_64_GO_ISO, Crc};
use data_encoding::BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::testing::{archive, put, unpacked};
use super::super::{IdMaps, Notes};
use super::*;
use crate::sweep::{Counters, Means};

/// The recording of the image's only layer: its files have one block of content each.
fn recording() -> File {
    recording_and("")
}

/// The same, with lines after it.
fn recording_and(more: &str) -> File {
    let archive = archive();
    let mut gzip = GzEncoder::new(tempfile::tempfile().unwrap(), Compression::fast());
    let mut at = 0;
    while at < archive.len() {
        let header = tar::Header::from_byte_slice(&archive[at..at + 512]);
        let size = header.entry_size().unwrap_or(0) as usize;
        let name = String::from_utf8(header.path_bytes().into_owned()).unwrap();
        writeln!(gzip, r#"{{"type":2,"payload":"{}"}}"#, BASE64.encode(&archive[at..at + 512])).unwrap();
        at += 512;
        if size > 0 {
            let crc = Crc::<u64>::new(&CRC_64_GO_ISO).checksum(&archive[at..at + size]);
            let crc = BASE64.encode(&crc.to_be_bytes());
            writeln!(gzip, r#"{{"type":1,"name":"{name}","size":{size},"payload":"{crc}"}}"#).unwrap();
            let padding = BASE64.encode(&archive[at + size..at + 512]);
            writeln!(gzip, r#"{{"type":2,"payload":"{padding}"}}"#).unwrap();
            at += 512;
        }
    }
    gzip.write_all(more.as_bytes()).unwrap();
    let mut file = gzip.finish().unwrap();
    file.rewind().unwrap();
    file
}

/// What is done to a layer, and what must be found.
type Case = (fn(&Path), &'static [&'static str]);

fn check_layer(diff_id: Digest, change: impl Fn(&Path)) -> Vec<String> {
    let checked = check_recording(recording(), diff_id, change).unwrap();
    let told = |finding: Finding| {
        let fields: Vec<_> = finding.fields.iter().map(ToString::to_string).collect();
        format!("{} {} {}", finding.change.name(), finding.path, fields.join(","))
    };
    checked.findings.load().unwrap().into_iter().map(told).collect()
}

fn check_recording(
    recording: File,
    diff_id: Digest,
    change: impl Fn(&Path),
) -> Result<CheckedLayer, RecordedError> {
    let directory = unpacked();
    change(directory.path());
    let means = Means::new(Some(1), None, false);
    let (counters, ids) = (Counters::default(), IdMaps::default());
    let looking = Looking {
        algorithm: Algorithm::Blake3,
        means: &means,
        counters: &counters,
        ids: &ids,
        notes: Notes::User,
    };
    let root = Root::open(Some(directory.path())).unwrap();
    let recorded = Recorded { recording, diff_id, is_lowest: true, top_mode: None };
    let findings = || FindingsWriter::spilling_to(&std::env::temp_dir());
    check_recorded(&root, recorded, looking, findings, || Timestamp::UNIX_EPOCH)
}

#[test]
fn damage_shows_by_digest_and_by_headers() {
    let diff_id = || Algorithm::Sha256.digest(&archive());
    let cases: [Case; 5] = [
        (|_| {}, &[]),
        (|at| put(at, "bin/tool", "TOOL"), &["modified /bin/tool content"]),
        // A digest of the archive does not show these.
        (
            |at| fs::set_permissions(at.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap(),
            &["modified /bin/tool mode"],
        ),
        (|at| put(at, "bin/extra", "extra"), &["added /bin/extra "]),
        (|at| fs::remove_file(at.join("etc/motd")).unwrap(), &["removed /etc/motd "]),
    ];
    for (change, expected) in cases {
        assert_eq!(check_layer(diff_id(), change), expected);
    }
}

#[test]
fn a_recording_of_something_else_is_damage_to_the_layer() {
    let other = Algorithm::Sha256.digest(b"another archive");
    assert_eq!(check_layer(other, |_| {}), ["modified / content"]);
}

/// What stands behind the end is read for the digest alone.
#[test]
fn what_follows_the_archive_is_bounded() {
    let diff_id = || Algorithm::Sha256.digest(&archive());
    let check = |size: u64| {
        let zeros = BASE64.encode(&vec![0; 1 << 20]);
        let line = format!(r#"{{"type":2,"payload":"{zeros}"}}"#) + "\n";
        check_recording(recording_and(&line.repeat(size as usize)), diff_id(), |_| {})
    };
    assert!(check(1).is_ok());
    assert!(matches!(check(65), Err(RecordedError::LongRest)));
}
