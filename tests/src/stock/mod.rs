//! A stock Debian image with what a server has (systemd, sshd, cron, rsyslog,
//! logrotate, cloud-init, netplan, unattended-upgrades), and instances of it that
//! really boot.

mod baked;
mod booted;
mod false_findings;
mod instance;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use baked::Baked;
pub use booted::Booted;
pub use false_findings::{Counts, false_findings};
pub use instance::Instance;

use crate::fixture::{Fixture, bootstrap};
use crate::program;

/// Changes with anything that changes the tree that is made.
static STOCK: Fixture = Fixture::new("stock-bookworm-1", make);

const PACKAGES: &str = "--include=systemd-sysv,dbus,libpam-systemd,polkitd,systemd-resolved,systemd-timesyncd,udev,\
    netplan.io,iproute2,netbase,openssh-server,sudo,cloud-init,cron,logrotate,rsyslog,man-db,\
    unattended-upgrades,ca-certificates";
/// Languages and documents do not run, and are a fourth of the bytes.
const WITHOUT: [&str; 2] =
    ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"];

/// The shipped contracts that describe the image, in the order in which they are
/// composed.
pub const CONTRACTS: [&str; 5] = ["systemd", "logrotate", "debian", "cloud-init", "cloud-init-accounts"];

/// The folder with the image, made where it is not there yet.
///
/// # Errors
/// When it cannot be made: this needs root, mmdebstrap and Debian's mirror.
pub fn image() -> Result<&'static Path> {
    STOCK.root()
}

/// The folder with the shipped contracts.
pub fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/contracts")
}

/// The shipped contract of this name.
pub fn contract(name: &str) -> PathBuf {
    contracts().join(name).with_extension("toml")
}

fn make(folder: &Path) -> Result<()> {
    bootstrap(folder, &[&[PACKAGES], &WITHOUT[..]].concat())?;
    let prepare = ["-c".as_ref(), include_str!("prepare.sh").as_ref(), "prepare.sh".as_ref()];
    program::succeed("sh", prepare.into_iter().chain([folder.as_os_str()]))?;
    Ok(())
}
