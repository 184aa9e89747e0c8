//! Which container a process is of, by its cgroup; and whether it is frozen.

use std::path::{Path, PathBuf};

use super::Runtime;

/// The length of the ids that all runtimes make; `ctr` lets people choose.
const ID_DIGITS: usize = 64;
/// Names of scopes, as runtimes make them for their containers.
const SCOPES: [(&str, Runtime); 5] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::Crio),
    ("libpod-", Runtime::Podman),
];

/// What a cgroup says of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CgroupName {
    pub(super) id: String,
    /// None where its form is one that several runtimes have.
    pub(super) runtime: Option<Runtime>,
}

/// Reads `/proc/PID/cgroup`: `9:memory:/docker/<id>` of version 1, `0::/…` of 2.
/// The component nearest to the process counts.
pub(super) fn container(cgroups: &str) -> Option<CgroupName> {
    paths(cgroups).find_map(|(_, path)| {
        let components: Vec<_> = path.split('/').collect();
        let named = |at: usize| name(components[at], at.checked_sub(1).map(|above| components[above]));
        (0..components.len()).rev().find_map(named)
    })
}

fn paths(cgroups: &str) -> impl Iterator<Item = (&str, &str)> {
    cgroups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

fn name(component: &str, above: Option<&str>) -> Option<CgroupName> {
    let scope = component.strip_suffix(".scope").unwrap_or(component);
    let of_scope = SCOPES.into_iter().find_map(|(prefix, runtime)| {
        let id = scope.strip_prefix(prefix).filter(|id| is_hex(id))?;
        Some(CgroupName { id: id.to_owned(), runtime: Some(runtime) })
    });
    of_scope.or_else(|| {
        // With systemd: slice:runtime:id, where no runtime's own form applies.
        let id = scope.rsplit(':').next().filter(|id| is_hex(id))?;
        let runtime = (above == Some("docker")).then_some(Runtime::Docker);
        Some(CgroupName { id: id.to_owned(), runtime })
    })
}

fn is_hex(id: &str) -> bool {
    id.len() == ID_DIGITS && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the cgroup of a process is frozen, as it is while a container is paused.
pub(super) fn is_frozen(cgroups: &str, mounted: &Path) -> bool {
    files(cgroups, mounted).into_iter().any(|file| {
        let text = crate::regular::read(&file, 4_096).unwrap_or_default();
        text.starts_with(b"FROZEN") || text.split(|&b| b == b'\n').any(|line| line == b"frozen 1")
    })
}

/// The files that say so: of version 2 wherever it is mounted, and of version 1.
fn files(cgroups: &str, mounted: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (controllers, path) in paths(cgroups) {
        let path = path.trim_start_matches('/');
        if path.split('/').any(|component| component == "..") {
            continue;
        }
        if controllers.is_empty() {
            files.push(mounted.join(path).join("cgroup.events"));
            files.push(mounted.join("unified").join(path).join("cgroup.events"));
        } else if controllers.split(',').any(|one| one == "freezer") {
            files.push(mounted.join(controllers).join(path).join("freezer.state"));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_by_their_cgroups() {
        let id = "0eff7471247500fa1fac67c41d14480f087e5db32e3ad9685332694ae0e25158";
        let check = |form: &str, expected: Option<Option<Runtime>>| {
            let found = container(&form.replace("ID", id));
            let expected = expected.map(|runtime| CgroupName { id: id.to_owned(), runtime });
            assert_eq!(found, expected, "{form}");
        };
        check("9:name=systemd:/docker/ID\n0::/docker/ID\n", Some(Some(Runtime::Docker)));
        check("0::/system.slice/docker-ID.scope", Some(Some(Runtime::Docker)));
        check("0::/system.slice/docker-ID.scope/init.scope", Some(Some(Runtime::Docker)));
        check("0::/machine.slice/libpod-ID.scope/container", Some(Some(Runtime::Podman)));
        check("8:pids:/libpod_parent/libpod-ID", Some(Some(Runtime::Podman)));
        check(
            "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
            Some(Some(Runtime::Containerd)),
        );
        check("0::/kubepods.slice/crio-ID.scope", Some(Some(Runtime::Crio)));
        check("11:pids:/kubepods/besteffort/pod1/ID", Some(None));
        check("0::/system.slice:cri-containerd:ID", Some(None));
        check("0::/machine.slice/libpod-conmon-ID.scope", None);
        check("0::/machine.slice/crio-conmon-ID.scope", None);
        check("0::/default/web", None);
        check("0::/user.slice", None);
        check("1:cpu:/\n0::/\n", None);
        check("", None);
        check("nonsense\n:::\n/ID", None);
    }

    #[test]
    fn frozen_is_what_the_kernel_says() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("a/cgroup.events", "populated 1\nfrozen 1\n");
        put("b/cgroup.events", "populated 1\nfrozen 0\n");
        put("freezer/c/freezer.state", "FROZEN\n");
        put("freezer/d/freezer.state", "THAWED\n");
        for (cgroups, frozen) in [
            ("0::/a", true),
            ("0::/b", false),
            ("6:freezer:/c\n0::/b", true),
            ("6:freezer:/d", false),
            ("0::/none", false),
            ("0::/b/../a", false),
        ] {
            assert_eq!(is_frozen(cgroups, folder.path()), frozen, "{cgroups}");
        }
    }
}
