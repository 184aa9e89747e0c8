//! What runs in containers: one process for each mount namespace that has a root
//! of its own, or whose cgroup is a container's.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup::{self, CgroupName};
use super::{ContainerState, IdRange, LATELY};
use crate::mountinfo::{self, Mount};
use crate::regular;

/// The longest list of mounts taken.
const MAX_MOUNTINFO_BYTES: u64 = 64 << 20;
/// The longest of the other files in /proc that are read.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most ranges of ids that the kernel takes.
const MAX_ID_RANGES: usize = 340;

/// A process with what the host shows of its container.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Of its mounts, as the kernel names it.
    pub(super) namespace: PathBuf,
    /// Whether it began just now, and may not have its container's root yet.
    pub(super) is_new: bool,
    /// Whether its root is not the one of its namespace, so that its list of mounts may leave
    /// some out.
    pub(super) is_chrooted: bool,
    pub(super) cgroup: Option<CgroupName>,
    pub(super) state: ContainerState,
    pub(super) mounts: Vec<Mount>,
    /// Lines of its list of mounts that were not understood.
    pub(super) strange: usize,
    pub(super) uid_map: Vec<IdRange>,
    pub(super) gid_map: Vec<IdRange>,
    pub(super) shared: Shared,
}

/// Which namespaces a process has in common with the host's first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) pids: bool,
    pub(super) network: bool,
}

impl Process {
    /// What is mounted at its root: the last there, where there are several.
    pub(super) fn root(&self) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.path == b"/")
    }

    /// Whether its users are the host's, so that who mounted was the host's root.
    pub(super) fn is_of_host_users(&self) -> bool {
        self.uid_map == [IdRange { inside: 0, outside: 0, count: u32::MAX }]
    }
}

/// The processes of a host that are of interest, and of how many nothing can be told.
pub(super) struct Processes {
    pub(super) of_containers: Vec<Process>,
    pub(super) forbidden: usize,
    /// The host's own mounts, which say where a source lies.
    pub(super) host: Vec<Mount>,
}

/// Looks through `/proc`, mounted at `proc`; `cgroups` is where cgroups are.
pub(super) fn look(proc: &Path, cgroups: &Path) -> io::Result<Processes> {
    let mut forbidden = 0;
    // By mount namespace the process: one that sees all of it, then the first of its pids.
    let mut chosen: HashMap<PathBuf, (u32, bool, bool)> = HashMap::new();
    let hosts = std::fs::read_link(proc.join("1/ns/mnt")).ok();
    for pid in pids(proc)? {
        let namespace = match namespace(proc, pid) {
            Ok(namespace) => namespace,
            // Its mounts may be told all the same.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => pid.to_string().into(),
            // It ended, or is the kernel's.
            Err(_) => continue,
        };
        // Most are the host's own, of which it need not be asked: PID 1 stands for those.
        let is_hosts = hosts.as_ref() == Some(&namespace);
        let (first, chrooted) = (!is_hosts && is_first(proc, pid), !is_hosts && is_chrooted(proc, pid));
        let kept = chosen.entry(namespace).or_insert((pid, first, chrooted));
        if (!chrooted, first) > (!kept.2, kept.1) {
            *kept = (pid, first, chrooted);
        }
    }
    let mut order: Vec<_> = chosen.into_iter().collect();
    // The first process of its pids stands for the container, whatever came before it.
    order.sort_unstable_by_key(|&(_, (pid, first, _))| (!first, pid));
    let mut of_containers = Vec::new();
    for (namespace, (pid, _, is_chrooted)) in order {
        match read(proc, cgroups, pid, namespace, is_chrooted) {
            Ok(process) => of_containers.extend(process),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => forbidden += 1,
            Err(_) => {}
        }
    }
    let host = mounts(&proc.join("1/mountinfo")).or_else(|_| mounts(&proc.join("self/mountinfo")));
    Ok(Processes { of_containers, forbidden, host: host.map(|(mounts, _)| mounts).unwrap_or_default() })
}

/// The namespace of a process's mounts.
pub(super) fn namespace(proc: &Path, pid: u32) -> io::Result<PathBuf> {
    std::fs::read_link(proc.join(format!("{pid}/ns/mnt")))
}

fn pids(proc: &Path) -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir(proc)? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    Ok(pids)
}

/// Whether it is the first process of a pid namespace other than the host's.
fn is_first(proc: &Path, pid: u32) -> bool {
    let status = text(&proc.join(format!("{pid}/status"))).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| {
        let numbers: Vec<_> = numbers.split_ascii_whitespace().collect();
        numbers.len() > 1 && numbers.last() == Some(&"1")
    })
}

/// Whether a process has another root than its namespace of mounts.
fn is_chrooted(proc: &Path, pid: u32) -> bool {
    std::fs::read_link(proc.join(format!("{pid}/root"))).is_ok_and(|root| root != Path::new("/"))
}

/// A process, if its root is an overlay or its cgroup a container's.
fn read(
    proc: &Path,
    cgroup_mount: &Path,
    pid: u32,
    namespace: PathBuf,
    is_chrooted: bool,
) -> io::Result<Option<Process>> {
    let file = |name: &str| proc.join(format!("{pid}/{name}"));
    let cgroups = text(&file("cgroup"))?;
    let cgroup = cgroup::container(&cgroups);
    let (mounts, strange) = mounts(&file("mountinfo"))?;
    let frozen = cgroup::is_frozen(&cgroups, cgroup_mount);
    let state = if frozen { ContainerState::Paused } else { ContainerState::Running };
    let id_map = |name| text(&file(name)).map(|map| parse_id_map(&map));
    let (uid_map, gid_map) = (id_map("uid_map")?, id_map("gid_map")?);
    let (is_new, shared) = (is_new(&file("stat")), shared(proc, pid));
    let process = Process {
        pid,
        namespace,
        is_new,
        is_chrooted,
        cgroup,
        state,
        mounts,
        strange,
        uid_map,
        gid_map,
        shared,
    };
    let overlay = process.root().is_some_and(|root| root.filesystem.ends_with(b"overlay"));
    let fuse = process.root().is_some_and(|root| root.filesystem == b"fuse.fuse-overlayfs");
    Ok((overlay || fuse || process.cgroup.is_some()).then_some(process))
}

/// Whether a process began lately, or has ended by now.
fn is_new(stat: &Path) -> bool {
    let began = text(stat).ok().and_then(|stat| began(&stat, rustix::param::clock_ticks_per_second()));
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::from_secs(now.tv_sec.unsigned_abs());
    began.is_none_or(|began| now < began + LATELY)
}

/// How long after the machine a process began. Its name, which may be anything, stands in
/// parentheses before all that is told in numbers (proc_pid_stat(5)).
fn began(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let ticks: u64 = after_name.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Duration::from_secs(ticks.checked_div(ticks_per_second)?))
}

/// What cannot be told apart is taken for one.
fn shared(proc: &Path, pid: u32) -> Shared {
    let is_shared = |name: &str| {
        let of = |process: &str| std::fs::read_link(proc.join(process).join("ns").join(name)).ok();
        let host = of("1").or_else(|| of("self"));
        host.zip(of(&pid.to_string())).is_none_or(|(host, own)| host == own)
    };
    Shared { pids: is_shared("pid"), network: is_shared("net") }
}

fn mounts(path: &Path) -> io::Result<(Vec<Mount>, usize)> {
    Ok(mountinfo::parse(&regular::read(path, MAX_MOUNTINFO_BYTES)?))
}

fn text(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&regular::read(path, MAX_FILE_BYTES)?).into_owned())
}

/// `         0     100000      65536`: inside, outside, how many.
fn parse_id_map(map: &str) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdRange { inside: next()?, outside: next()?, count: next()? })
    };
    map.lines().filter_map(range).take(MAX_ID_RANGES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_maps_are_parsed() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        assert_eq!(parse_id_map("         0          0 4294967295\n"), [range(0, 0, u32::MAX)]);
        let two = "0 1000 1\n1 100000 65536\nodd\n-1 2 3\n";
        assert_eq!(parse_id_map(two), [range(0, 1000, 1), range(1, 100_000, 65_536)]);
    }

    #[test]
    fn when_a_process_began_is_known() {
        let rest = "S 1 2 3 4 -1 5 6 7 8 9 10 11 12 13 20 0 1 0 4321 99 98";
        for name in ["sleep", "a ) b", ")(", ""] {
            assert_eq!(began(&format!("7 ({name}) {rest}"), 100), Some(Duration::from_secs(43)), "{name}");
        }
        for broken in ["", "7 (sleep", "7 (sleep) S 1 2", &format!("7 (a) {}", rest.replace("4321", "-"))] {
            assert_eq!(began(broken, 100), None, "{broken}");
        }
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let stat = |pid: u32| format!("/proc/{pid}/stat").into();
        let (new, old): (PathBuf, PathBuf) = (stat(child.id()), stat(1));
        let is_so = is_new(&new) && !is_new(&old);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_so && is_new(&new), "what has ended is about to change");
    }

    #[test]
    fn what_runs_here_can_be_looked_at() {
        let found = look(Path::new("/proc"), Path::new("/sys/fs/cgroup")).unwrap();
        assert!(found.host.iter().any(|mount| mount.path == b"/"));
    }
}
