//! Contracts for what cannot be had here for real: trees laid out after their
//! documentation, changed as that says they change, and then otherwise.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use congruent_protocol::verification::State;
use congruent_tests::agent;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::stock;

struct Case {
    name: &'static str,
    contracts: &'static [&'static str],
    /// Files and, with a `/` at their ends, folders.
    baked: &'static [&'static str],
    /// Files that come or change as they may.
    may: &'static [&'static str],
    /// Files that must not, and folders; each is `added` or `modified`.
    may_not: &'static [&'static str],
}

const CASES: [Case; 3] = [
    Case {
        name: "RHEL-like",
        contracts: &["systemd", "logrotate", "rhel", "cloud-init"],
        baked: &[
            "etc/machine-id",
            "etc/resolv.conf",
            "etc/hostname",
            "etc/pki/entitlement/",
            "etc/pki/consumer/",
            "etc/NetworkManager/system-connections/",
            "etc/ssh/sshd_config",
            "usr/bin/rpm",
            "var/cache/dnf/",
            "var/lib/NetworkManager/",
            "var/lib/chrony/",
            "var/lib/logrotate/",
            "var/lib/rpm/rpmdb.sqlite",
            "var/lib/rsyslog/",
            "var/lib/sss/db/",
            "var/lib/sss/mc/",
            "var/log/audit/",
            "var/log/wtmp",
            "var/log/btmp",
            "var/log/lastlog",
        ],
        may: &[
            "etc/machine-id",
            "etc/resolv.conf",
            "etc/hostname",
            "etc/.updated",
            "var/.updated",
            "etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection",
            "etc/ssh/ssh_host_ed25519_key",
            "etc/ssh/ssh_host_ed25519_key.pub",
            "etc/pki/consumer/key.pem",
            "etc/pki/entitlement/1234567890123456789-key.pem",
            "var/cache/dnf/baseos.solv",
            "var/lib/NetworkManager/secret_key",
            "var/lib/NetworkManager/timestamps",
            "var/lib/NetworkManager/internal-1-eth0.lease",
            "var/lib/chrony/drift",
            "var/lib/logrotate/logrotate.status",
            "var/lib/rpm/rpmdb.sqlite-wal",
            "var/lib/rpm/rpmdb.sqlite-shm",
            "var/lib/rsyslog/imjournal.state",
            "var/lib/sss/db/cache_x.ldb",
            "var/lib/sss/mc/passwd",
            "var/log/audit/audit.log",
            "var/log/audit/audit.log.1",
            "var/log/messages",
            "var/log/messages-20260104",
            "var/log/secure-20260104.gz",
            "var/log/dnf.librepo.log",
            "var/log/wtmp",
        ],
        may_not: &[
            "etc/NetworkManager/system-connections/other.nmconnection",
            "etc/ssh/sshd_config",
            "usr/bin/rpm",
            "var/lib/rpm/rpmdb.sqlite",
            "var/log/messages.so",
        ],
    },
    Case {
        name: "a Kubernetes node",
        contracts: &["systemd", "logrotate", "debian", "kubernetes-node"],
        baked: &[
            "etc/cni/net.d/",
            "etc/containerd/config.toml",
            "etc/kubernetes/manifests/",
            "etc/machine-id",
            "opt/cni/bin/loopback",
            "usr/bin/kubelet",
            "var/lib/",
            "var/log/",
            "etc/resolv.conf",
        ],
        may: &[
            "etc/kubernetes/kubelet.conf",
            "etc/kubernetes/pki/ca.crt",
            "etc/cni/net.d/calico-kubeconfig",
            "etc/machine-id",
            "var/lib/kubelet/config.yaml",
            "var/lib/kubelet/kubeadm-flags.env",
            "var/lib/kubelet/cpu_manager_state",
            "var/lib/kubelet/pki/kubelet.crt",
            "var/lib/kubelet/pki/kubelet.key",
            "var/lib/kubelet/pki/kubelet-client-2026-01-04-10-00-00.pem",
            "var/lib/kubelet/pki/kubelet-client-current.pem",
            "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint",
            "var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
            "var/lib/cni/networks/pod/10.0.0.2",
            "var/log/pods/default_web_1/web/0.log",
            "var/log/containers/web.log",
        ],
        may_not: &[
            "etc/cni/net.d/10-other.conflist",
            "etc/containerd/config.toml",
            "etc/kubernetes/manifests/pod.yaml",
            "opt/cni/bin/loopback",
            "opt/cni/bin/other",
            "usr/bin/kubelet",
            "var/lib/kubelet/other",
        ],
    },
    Case {
        name: "distroless",
        contracts: &["distroless"],
        baked: &[
            "app/server",
            "dev/",
            "etc/passwd",
            "etc/ssl/certs/ca-certificates.crt",
            "proc/",
            "run/",
            "sys/",
            "tmp/",
            "usr/lib/os-release",
        ],
        may: &[".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "tmp/upload"],
        may_not: &["app/server", "etc/passwd", "run/other", "usr/lib/other.so"],
    },
];

#[test]
fn what_is_documented_to_change_may_and_nothing_else() -> Result<()> {
    CASES.iter().try_for_each(|case| check(case).context(case.name))
}

fn check(case: &Case) -> Result<()> {
    let sandbox = Sandbox::new()?;
    let (root, manifest) = (sandbox.path("root"), sandbox.path("manifest"));
    case.baked.iter().try_for_each(|path| put(&root, path, ""))?;
    let keys = sandbox.keygen("key")?;
    let contracts: Vec<_> = case.contracts.iter().map(|name| stock::contract(name)).collect();
    agent::bake_composed(&root, &contracts, &keys, &manifest)?;

    case.may.iter().try_for_each(|path| put(&root, path, "came"))?;
    let verification = agent::verification(&agent::verify(&manifest, &keys.public, &root)?)?;
    ensure!(verification.state == State::Congruent, "{:#?}", verification.findings);

    case.may_not.iter().try_for_each(|path| put(&root, path, "came"))?;
    let verification = agent::verification(&agent::verify(&manifest, &keys.public, &root)?)?;
    let found: BTreeSet<_> = verification.findings.iter().map(|finding| finding.path.to_string()).collect();
    let expected: BTreeSet<_> = case.may_not.iter().map(|path| format!("/{path}")).collect();
    ensure!(found == expected, "found {found:#?}\nexpected {expected:#?}");
    Ok(())
}

/// A file with `content`, or a folder where `path` ends in `/`.
fn put(root: &Path, path: &str, content: &str) -> Result<()> {
    let place = root.join(path);
    let folder = if path.ends_with('/') { Some(place.as_path()) } else { place.parent() };
    fs::create_dir_all(folder.context("a place has a folder")?)?;
    if !path.ends_with('/') {
        fs::write(&place, content)?;
    }
    Ok(())
}
