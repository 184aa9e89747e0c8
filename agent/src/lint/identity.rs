//! Identity: what a machine should make for itself at its first start. Where it
//! is baked, all copies answer to one name.

use super::places::{Place, When};
use super::{Hit, Lint, Look, add};

const HOST_KEY: &str = "private ssh host key";
const OF_ONE_MACHINE: &str = "identity of one machine";

pub(super) const PLACES: &[Place] = &[
    Place::new(Lint::MachineId, "/etc/hostid", When::Filled, OF_ONE_MACHINE),
    Place::new(Lint::MachineId, "/etc/nvme/{hostid,hostnqn}", When::Filled, OF_ONE_MACHINE),
    Place::new(
        Lint::MachineId,
        "/etc/iscsi/initiatorname.iscsi",
        When::Holds(&["\nInitiatorName="]),
        OF_ONE_MACHINE,
    ),
    Place::new(Lint::MachineId, "/var/lib/systemd/credential.secret", When::Filled, "secret of one machine"),
    Place::new(Lint::MachineId, "/var/lib/NetworkManager/secret_key", When::Filled, "secret of one machine"),
    Place::new(
        Lint::MachineId,
        "/{var/lib/systemd,var/lib/urandom,var/lib}/random-seed",
        When::Filled,
        "random seed: every copy would begin with the same",
    ),
    Place::new(
        Lint::MachineId,
        "/{boot,efi,boot/efi}/loader/random-seed",
        When::Filled,
        "random seed: every copy would begin with the same",
    ),
];

pub(super) fn look(look: Look<'_>, hits: &mut Vec<Hit>) {
    if look.head.is_empty() {
        return;
    }
    match look.path {
        b"/etc/machine-id" | b"/var/lib/dbus/machine-id" => {
            let id = look.head.trim_ascii();
            if !matches!(id, b"" | b"uninitialized") {
                add(hits, Lint::MachineId, "machine-id that is set; leave it empty or \"uninitialized\"");
            }
        }
        path if is_host_key(path) => add(hits, Lint::HostKey, HOST_KEY),
        _ => {}
    }
}

fn is_host_key(path: &[u8]) -> bool {
    let under = |folder: &[u8], start: &[u8]| {
        let name = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix(start));
        name.is_some_and(|name| name.ends_with(b"_key") && !name.contains(&b'/'))
    };
    under(b"/etc/ssh/", b"ssh_host_") || under(b"/etc/dropbear/", b"dropbear_")
}
