//! Facts about the host, for the inventory. A fact that cannot be had is left
//! out; none is authority.

use std::io::Read;
use std::path::Path;

use crate::regular;
use congruent_protocol::path::escape;
use congruent_protocol::report::{Disk, Facts, Network};
use sysinfo::{CpuRefreshKind, Disks, MemoryRefreshKind, Networks, RefreshKind, System};

/// Where firmware names the machine.
const DMI: &str = "/sys/class/dmi/id";
/// Where cloud-init notes which instance this is.
const CLOUD_INIT_INSTANCE: &str = "/var/lib/cloud/data/instance-id";
/// How much of a file is read for one fact.
const MAX_FACT_BYTES: u64 = 4096;
/// The longest fact taken.
const MAX_FACT_CHARS: usize = 200;

/// Gathers what this host tells of itself.
pub(crate) fn gather() -> Facts {
    let kinds = RefreshKind::nothing()
        .with_memory(MemoryRefreshKind::nothing().with_ram())
        .with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(kinds).ok();
    let cpus = system.as_ref().map_or(&[][..], System::cpus);
    Facts {
        host_name: System::host_name().ok().as_deref().map(bounded),
        os: System::long_os_version().ok().as_deref().map(bounded),
        kernel: System::kernel_version().ok().as_deref().map(bounded),
        architecture: System::cpu_arch(),
        cpus: u32::try_from(cpus.len()).unwrap_or(u32::MAX),
        cpu_model: cpus.first().map(|cpu| bounded(cpu.brand())),
        memory_bytes: system.as_ref().map_or(0, System::total_memory),
        disks: disks(),
        networks: networks(),
        uptime_seconds: System::uptime().unwrap_or(0),
        machine_id: first_line("/etc/machine-id"),
        product_uuid: first_line(format!("{DMI}/product_uuid")),
        cloud_provider: cloud_provider(),
        cloud_instance_id: first_line(CLOUD_INIT_INSTANCE).or_else(ec2_instance_id),
    }
}

fn disks() -> Vec<Disk> {
    let disks = Disks::new_with_refreshed_list().ok();
    let mut disks: Vec<Disk> = disks
        .iter()
        .flatten()
        // Each container has one over the same disk.
        .filter(|disk| disk.file_system() != "overlay" || disk.mount_point() == Path::new("/"))
        .map(|disk| Disk {
            name: escape(disk.name().as_encoded_bytes()).into_owned(),
            mounted_at: escape(disk.mount_point().as_os_str().as_encoded_bytes()).into_owned(),
            filesystem: escape(disk.file_system().as_encoded_bytes()).into_owned(),
            total_bytes: disk.total_space(),
            available_bytes: disk.available_space(),
        })
        .collect();
    disks.sort_by(|a, b| a.mounted_at.cmp(&b.mounted_at));
    disks
}

fn networks() -> Vec<Network> {
    let networks = Networks::new_with_refreshed_list().ok();
    let mut networks: Vec<Network> = networks
        .iter()
        .flatten()
        .map(|(name, data)| Network {
            name: escape(name.as_encoded_bytes()).into_owned(),
            mac: data.mac_address().to_string(),
            addresses: {
                let networks = data.ip_networks().iter();
                let mut addresses: Vec<_> = networks.map(|ip| format!("{}/{}", ip.addr, ip.prefix)).collect();
                addresses.sort();
                addresses
            },
        })
        .filter(|network| network.name != "lo")
        .collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    networks
}

/// The cloud that the firmware names as the machine's maker.
fn cloud_provider() -> Option<String> {
    const MAKERS: [(&str, &str); 6] = [
        ("Amazon EC2", "aws"),
        ("Google", "gcp"),
        ("Microsoft Corporation", "azure"),
        ("DigitalOcean", "digitalocean"),
        ("Hetzner", "hetzner"),
        ("OpenStack Foundation", "openstack"),
    ];
    let maker = first_line(format!("{DMI}/sys_vendor"))?;
    MAKERS.iter().find(|(name, _)| maker.starts_with(name)).map(|(_, cloud)| (*cloud).to_owned())
}

/// EC2's own hypervisor puts the instance id into the board's asset tag.
fn ec2_instance_id() -> Option<String> {
    first_line(format!("{DMI}/board_asset_tag")).filter(|tag| tag.starts_with("i-"))
}

fn first_line(path: impl AsRef<Path>) -> Option<String> {
    let mut text = Vec::new();
    regular::open(path.as_ref()).ok()?.take(MAX_FACT_BYTES).read_to_end(&mut text).ok()?;
    let line = text.split(|&b| b == b'\n').next()?.trim_ascii();
    let shown: String = escape(line).chars().take(MAX_FACT_CHARS).collect();
    (!shown.is_empty()).then_some(shown)
}

fn bounded(text: impl AsRef<str>) -> String {
    escape(text.as_ref().as_bytes()).chars().take(MAX_FACT_CHARS).collect()
}
