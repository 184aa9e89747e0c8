//! What a process has used of the machine, as the kernel counts it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use crate::FleetError;

/// What the kernel counts in where it tells programs of time: `USER_HZ`, the same on
/// x86 and ARM.
const TICK_NANOS: u64 = 10_000_000;

/// A process that is watched.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

/// What it used of the processors: to the nanosecond by each thread that is there, and
/// in ticks by all that ever were.
#[derive(Debug)]
pub(crate) struct Cpu {
    threads: HashMap<OsString, u64>,
    ticks: u64,
}

/// What it holds in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Process {
    /// The process that asks.
    pub fn own() -> Self {
        Self(std::process::id())
    }

    fn read(self, file: &str) -> Result<String, FleetError> {
        let read = fs::read_to_string(format!("/proc/{}/{file}", self.0));
        read.map_err(|source| FleetError::Process { process: self.0, source })
    }

    pub(crate) fn cpu(self) -> Result<Cpu, FleetError> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0))
            .map_err(|source| FleetError::Process { process: self.0, source })?;
        let threads = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((task.file_name(), text.split(' ').next()?.parse().ok()?))
        });
        // User's and kernel's, counted from behind the name, which may hold anything.
        let stat = self.read("stat")?;
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks = fields.map_while(|field| field.parse::<u64>().ok()).sum();
        Ok(Cpu { threads: threads.collect(), ticks })
    }

    pub(crate) fn memory(self) -> Result<Memory, FleetError> {
        let status = self.read("status")?;
        let bytes = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
        };
        let (resident, peak) = (bytes("VmRSS:").unwrap_or(0), bytes("VmHWM:").unwrap_or(0));
        Ok(Memory { resident, peak })
    }
}

impl Cpu {
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let used = self
            .threads
            .iter()
            .map(|(thread, nanos)| nanos.saturating_sub(*before.threads.get(thread).unwrap_or(&0)));
        let ticks = self.ticks.saturating_sub(before.ticks).saturating_mul(TICK_NANOS);
        Duration::from_nanos(ticks.max(used.sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let process = Process::own();
        let before = process.cpu().unwrap();
        let mut sum = 0_u64;
        while process.cpu().unwrap().since(&before) < Duration::from_millis(20) {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        let memory = process.memory().unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident, "{memory:?} {sum}");
        assert!(Process(u32::MAX).cpu().is_err());
    }
}
