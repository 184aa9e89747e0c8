//! Leftovers: what building an image leaves behind, and every copy would carry.

use super::places::{Place, When};
use super::{Hit, Lint, Look, add};

const fn left(glob: &'static str, when: When, what: &'static str) -> Place {
    Place::new(Lint::Leftover, glob, when, what)
}

const HISTORY: &str = "history of what was typed";
const LISTS: &str = "package lists";
const ARCHIVES: &str = "package archives and caches";
const LEASES: &str = "network leases";
const CLOUD: &str = "cloud-init's instance";
const BUILDER: &str = "builder's";

pub(super) const PLACES: &[Place] = &[
    // Shells and what else keeps a history.
    left(
        "/**/.{bash,zsh,ash,sh,ksh,python,node_repl,mysql,psql,sqlite,rediscli,irb}_history",
        When::Filled,
        HISTORY,
    ),
    left("/**/fish/fish_history", When::Filled, HISTORY),
    left("/**/{.histfile,.lesshst,.viminfo,.wget-hsts}", When::Filled, HISTORY),
    left("/**/.local/state/{python_history,lesshst,bash/history}", When::Filled, HISTORY),
    // Ways in.
    left("/**/.ssh/{authorized_keys,authorized_keys2}", When::Filled, "keys that may log in"),
    left("/**/.ssh/{known_hosts,known_hosts.old}", When::Filled, "hosts that were connected to"),
    left(
        "/etc/sudoers.d/{90-cloud-init-users,90-cloudimg-ubuntu,vagrant,packer,ec2-user,90-incus,90-lxd}",
        When::Filled,
        "sudo for the builder's user",
    ),
    // Builders.
    left(
        "/home/{packer,vagrant,builder,build,imagebuilder,jenkins,runner,gitlab-runner,circleci,ec2-user,cloud-user}",
        When::There,
        "home of a builder's user",
    ),
    left("/{root,home/*}/.cache/*", When::There, "cache of a user"),
    left("/{root,home/*}/{.ansible,.packer.d,.chef,.npm,.bundle,.gradle,.m2}", When::There, BUILDER),
    left("/{root,home/*}/{packer-*,script_*.sh,nohup.out}", When::There, BUILDER),
    left("/{vagrant,packer,.dockerinit}", When::There, BUILDER),
    left("/{.dockerenv,run/.containerenv}", When::There, "mark of a running container"),
    left(
        "/root/{anaconda-ks.cfg,original-ks.cfg,initial-setup-ks.cfg,install.log,ks-*.log}",
        When::There,
        "installer's",
    ),
    left("/{preseed.cfg,autoinst.xml,ks.cfg}", When::There, "installer's"),
    left("/var/lib/congruent/**", When::NoDirectory, "state of an agent that ran here"),
    // cloud-init, when the builder was booted.
    left("/var/lib/cloud/{instance,instances/*}", When::There, CLOUD),
    left("/var/lib/cloud/{data,sem}/*", When::NoDirectory, CLOUD),
    left("/var/lib/cloud/scripts/per-{boot,instance,once}/*", When::Filled, "cloud-init's scripts"),
    left("/var/lib/cloud/seed/**", When::Filled, "cloud-init's seed"),
    left("/etc/netplan/50-cloud-init.yaml", When::Filled, CLOUD),
    left("/etc/network/interfaces.d/50-cloud-init*", When::Filled, CLOUD),
    // Package managers.
    left("/var/lib/apt/lists/*", When::Filled, LISTS),
    left("/var/cache/apt/*.bin", When::Filled, ARCHIVES),
    left("/var/cache/apt/archives/**/*.deb", When::Filled, ARCHIVES),
    left("/var/cache/{dnf,yum,libdnf5,zypp/packages}/**", When::Filled, ARCHIVES),
    left("/var/cache/{apk,pacman/pkg}/*", When::Filled, ARCHIVES),
    // Networks that the builder was on.
    left("/var/lib/{dhcp,dhclient,dhcpcd,NetworkManager}/*.lease*", When::Filled, LEASES),
    left("/etc/udev/rules.d/*persistent-{net,cd}*.rules", When::Filled, "names of the builder's devices"),
    // What ran.
    left("/{tmp,var/tmp}/*", When::There, "temporary"),
    left("/var/log/**", When::Filled, "log with content"),
    left("/var/{mail,spool/mail}/*", When::Filled, "mail"),
    left("/var/{lib/systemd/coredump,crash}/*", When::Filled, "crash dump"),
];

/// What is known by its content.
pub(super) fn look(look: Look<'_>, hits: &mut Vec<Hit>) {
    if is_core_dump(look.head) {
        add(hits, Lint::Leftover, "core dump");
    }
}

/// Whether this is an ELF file of type `ET_CORE`, in its own byte order.
fn is_core_dump(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
        && matches!((head.get(5), head.get(16..18)), (Some(1), Some([4, 0])) | (Some(2), Some([0, 4])))
}
