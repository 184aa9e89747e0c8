//! What every Prometheus client tells of its process, under the names that all of
//! them use. Read from `/proc` at each look; what cannot be read is left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The process that this is.
#[derive(Debug)]
pub(super) struct Process;

/// What `/proc/self/stat` says.
struct Stat {
    cpu_seconds: f64,
    threads: u64,
    /// After the boot.
    started_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
        };
        let stat = stat();
        let of = |take: fn(&Stat) -> f64| stat.as_ref().map(take);
        let bytes = Some(&Unit::Bytes);
        gauge("process_resident_memory", "Memory in use", bytes, of(|stat| stat.resident_bytes as f64))?;
        gauge("process_virtual_memory", "Addresses in use", bytes, of(|stat| stat.virtual_bytes as f64))?;
        gauge("process_threads", "Threads", None, of(|stat| stat.threads as f64))?;
        gauge("process_open_fds", "Open file descriptors", None, open_descriptors())?;
        let most = getrlimit(Resource::Nofile).current;
        gauge("process_max_fds", "File descriptors that may be open", None, most.map(|most| most as f64))?;
        let started = stat.as_ref().map(|stat| booted() + stat.started_seconds);
        gauge("process_start_time", "When it started, since 1970", Some(&Unit::Seconds), started)?;
        let Some(stat) = stat else { return Ok(()) };
        let help = "Time on processors, user and system";
        let cpu = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter);
        cpu?.encode_counter::<NoLabelSet, _, u64>(&stat.cpu_seconds, None)
    }
}

fn stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; the state is the first after it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
    Some(Stat {
        cpu_seconds: seconds(number(11)? + number(12)?),
        threads: number(17)?,
        started_seconds: seconds(number(19)?),
        virtual_bytes: number(20)?,
        resident_bytes: number(21)? * page_size() as u64,
    })
}

fn open_descriptors() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

/// When the machine booted, in seconds since 1970. `/proc/stat` has it too, and is hidden
/// from services that are confined.
fn booted() -> f64 {
    let seconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    seconds(ClockId::Realtime) - seconds(ClockId::Boottime)
}
