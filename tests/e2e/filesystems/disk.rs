//! Image files with a file system in each, and the tree that is put on them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;
use congruent_tests::mounts::{Mounted, blank_image};
use congruent_tests::program::succeed;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::tree;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

/// Larger than the smallest that xfs can be; a hole but for what is used.
const IMAGE_BYTES: u64 = 512 << 20;
/// Longer than a file that lies in its inode, or in the tail of another's block.
const LARGE_BYTES: usize = 300_000;

/// Puts a new file system of this kind on a disk of its own.
pub(super) fn mount_new(filesystem: &str, sandbox: &Sandbox) -> Result<Mounted> {
    let (image, at) = (sandbox.path(format!("{filesystem}.img")), sandbox.path(filesystem));
    if filesystem == "tmpfs" {
        return Mounted::new(filesystem, "mode=755", OsStr::new("tmpfs"), &at);
    }
    blank_image(&image, IMAGE_BYTES)?;
    succeed(&format!("mkfs.{filesystem}"), ["-q".as_ref(), image.as_os_str()])?;
    Mounted::image(filesystem, "rw", &image, &at)
}

/// Makes an ext4 image that holds `tree`, never mounted, so that nothing in memory
/// stands between its bytes and who changes them.
pub(super) fn ext4_holding(tree: &Path, sandbox: &Sandbox) -> Result<PathBuf> {
    let image = sandbox.path("ext4.img");
    blank_image(&image, IMAGE_BYTES)?;
    let words = ["-q", "-t", "ext4", "-d"].map(OsStr::new);
    succeed("mke2fs", words.into_iter().chain([tree.as_os_str(), image.as_os_str()]))?;
    Ok(image)
}

/// Makes a tree with one of each kind and attribute.
pub(crate) fn make_tree(root: &Path) -> Result<()> {
    tree::small(root)?;
    fs::write(root.join("usr/bin/large"), large())?;
    for name in ["labelled", "guarded", "capable", "linked", "removed"] {
        fs::write(root.join("usr/share").join(name), name)?;
    }
    let share = |name: &str| root.join("usr/share").join(name);
    setxattr(share("labelled"), "user.note", b"baked", XattrFlags::empty())?;
    succeed("setfacl", ["-m".as_ref(), "u:1000:r".as_ref(), share("guarded").as_os_str()])?;
    succeed("setcap", ["cap_net_raw+ep".as_ref(), share("capable").as_os_str()])?;
    fs::hard_link(share("linked"), share("linked-too"))?;
    symlink("a".repeat(200), share("long-link"))?;
    mknodat(CWD, share("pipe"), FileType::Fifo, Mode::RUSR, 0)?;
    mknodat(CWD, share("device"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 3))?;
    fs::create_dir(share("folder"))?;
    Ok(fs::write(share("folder/file"), "file")?)
}

/// Content without any two equal blocks, so that none stands for another.
pub(super) fn large() -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(LARGE_BYTES).collect()
}
