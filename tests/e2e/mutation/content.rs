//! Rows that change what files hold, or only seem to.

use std::fs::{self, File, FileTimes};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use rustix::fs::{FallocateFlags, fallocate};

use super::row::{Row, modified, nothing, row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("nothing at all", |_| Ok(()), nothing),
        row("content of the same size, times restored", same_size, |_| {
            vec![modified("/usr/bin/ls", &["content"])]
        }),
        row(
            "one bit of the last byte, times restored",
            |root| overwrite(&root.join("usr/bin/bash"), -1, |byte| byte ^ 1),
            |_| vec![modified("/usr/bin/bash", &["content"])],
        ),
        row("appended", append, |_| vec![modified("/etc/passwd", &["content", "size"])]),
        row(
            "truncated",
            |root| Ok(writable(&root.join("etc/passwd"))?.set_len(10)?),
            |_| vec![modified("/etc/passwd", &["content", "size"])],
        ),
        row(
            "emptied",
            |root| Ok(writable(&root.join("etc/passwd"))?.set_len(0)?),
            |_| vec![modified("/etc/passwd", &["content", "size"])],
        ),
        row(
            "a hole where content was",
            |root| punch(&root.join("usr/bin/bash")),
            |_| vec![modified("/usr/bin/bash", &["content"])],
        ),
        row("a hole where zeros were", |root| punch(&root.join("opt/extras/zeros")), nothing),
        row(
            "made longer by a hole",
            |root| Ok(writable(&root.join("opt/extras/zeros"))?.set_len(1 << 20)?),
            |_| vec![modified("/opt/extras/zeros", &["content", "size"])],
        ),
        row(
            "content behind one of two hard links",
            |root| Ok(fs::write(root.join("opt/extras/linked"), "LINKED")?),
            |_| {
                ["/opt/extras/linked", "/opt/extras/linked-too"]
                    .map(|path| modified(path, &["content"]))
                    .into()
            },
        ),
        row("content of a file with a capability, which the kernel then drops", capable, |_| {
            vec![modified("/opt/extras/capable", &["content", "xattr:security.capability"])]
        }),
        row("times only", touch, nothing),
        row(
            "rewritten with equal content",
            |root| {
                let path = root.join("usr/bin/ls");
                Ok(fs::write(&path, fs::read(&path)?)?)
            },
            nothing,
        ),
        row("equal content under another inode", another_inode, nothing),
        row("a hard link made two files of equal content", split_link, nothing),
    ]
}

fn writable(path: &Path) -> Result<File> {
    Ok(File::options().write(true).read(true).open(path)?)
}

fn same_size(root: &Path) -> Result<()> {
    overwrite(&root.join("usr/bin/ls"), 5000, |byte| !byte)
}

/// Changes one byte, counted from the end where negative, and nothing else that
/// a user could see.
fn overwrite(path: &Path, at: i64, change: fn(u8) -> u8) -> Result<()> {
    let about = fs::metadata(path)?;
    let mut file = writable(path)?;
    let from = if at < 0 { SeekFrom::End(at) } else { SeekFrom::Start(at.unsigned_abs()) };
    let at = file.seek(from)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[change(byte[0])], at)?;
    Ok(file.set_times(FileTimes::new().set_modified(about.modified()?).set_accessed(about.accessed()?))?)
}

fn append(root: &Path) -> Result<()> {
    let mut file = File::options().append(true).open(root.join("etc/passwd"))?;
    Ok(file.write_all(b"mallory::0:0::/:/bin/sh\n")?)
}

fn punch(path: &Path) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(writable(path)?, flags, 8192, 8192)?)
}

fn capable(root: &Path) -> Result<()> {
    Ok(fs::write(root.join("opt/extras/capable"), "CAPABLE")?)
}

fn touch(root: &Path) -> Result<()> {
    let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::new(1, 5));
    for path in ["usr/bin/ls", "usr/bin", "etc/passwd", ""] {
        File::open(root.join(path))?.set_times(times.set_accessed(SystemTime::UNIX_EPOCH))?;
    }
    Ok(())
}

fn another_inode(root: &Path) -> Result<()> {
    let (path, beside) = (root.join("usr/bin/ls"), root.join("usr/bin/ls.new"));
    fs::copy(&path, &beside)?;
    Ok(fs::rename(beside, path)?)
}

fn split_link(root: &Path) -> Result<()> {
    let (path, beside) = (root.join("opt/extras/linked-too"), root.join("opt/extras/beside"));
    fs::copy(&path, &beside)?;
    Ok(fs::rename(beside, path)?)
}
