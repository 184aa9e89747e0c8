//! What is asked of each figure, and what a measured one makes of it.
//!
//! A figure is held to its target as it is shown, so that what is printed as the
//! same is the same.

/// What a figure is to stay within.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    Over(f64),
}

/// What a figure counts.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Times,
    Megabytes,
    Bytes,
    Percent,
    /// Of so little that its fractions count.
    FinePercent,
    PerSecond,
    Milliseconds,
    Count,
}

/// What is asked of one figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    what: &'static str,
    bound: Bound,
    unit: Unit,
}

impl Target {
    pub(crate) const VERIFY_FLOOR: Self = Self::times("full verify against the floor probe", 1.25);
    pub(crate) const VERIFY_B3SUM: Self = Self::times("full verify against the best b3sum", 1.0);
    pub(crate) const QUICK: Self = Self::times("quick sweep against stat probe and manifest load", 1.5);
    pub(crate) const BAKE: Self = Self::times("bake without lint against the floor probe", 1.25);
    pub(crate) const COLD: Self = Self::times("full verify from a cold cache against the floor probe", 1.25);
    pub(crate) const COLD_READ: Self = Self::times("bytes read from the disk against the floor probe", 1.0);
    pub(crate) const MEMORY_TYPICAL: Self = Self::megabytes("130 thousand entries", 32.0);
    pub(crate) const MEMORY_SPREAD: Self = Self::megabytes("1 million entries", 64.0);
    pub(crate) const MEMORY_NAMES: Self = Self::megabytes("1 million entries in one directory", 64.0);
    pub(crate) const MEMORY_REMOVED: Self = Self::megabytes("1 million entries, all removed", 64.0);
    pub(crate) const CACHE_INSIDE: Self =
        Self::over_percent("the workload's page cache still there, its file in the tree", 90.0);
    pub(crate) const CACHE_BESIDE: Self =
        Self::over_percent("the workload's page cache still there, its file beside it", 90.0);

    pub(crate) const REPORT: Self =
        Self::at_most("report of one clean sweep, on the wire", 1500.0, Unit::Bytes);
    pub(crate) const HEARTBEAT: Self = Self::at_most("heartbeat, without TLS framing", 300.0, Unit::Bytes);
    pub(crate) const IDLE_MEMORY: Self = Self::at_most("idle agent, resident", 20.0, Unit::Megabytes);
    pub(crate) const IDLE_CPU: Self = Self::at_most("idle agent, CPU over a minute", 0.1, Unit::FinePercent);

    pub(crate) const DOCKER_DIFF: Self =
        Self::at_least("docker diff against our full look, of the same container", 5.0, Unit::Times);
    pub(crate) const DOCKER_DIFF_QUICK: Self =
        Self::at_least("docker diff against our quick look, of the same container", 5.0, Unit::Times);
    pub(crate) const LAYERS_FLOOR: Self =
        Self::times("full check of Docker's layers against the floor probe", 1.3);
    pub(crate) const LAYERS_FLOOR_SMALLEST: Self =
        Self::times("full check of the smallest image's layer against the floor probe", 1.3);
    pub(crate) const LAYERS_ONCE: Self = Self::times("bytes hashed for 50 containers against one", 1.01);

    pub(crate) const HEARTBEAT_CPU: Self =
        Self::times("collector's CPU for a heartbeat against an empty handler's", 1.6);
    pub(crate) const HEARTBEATS: Self =
        Self::at_least("heartbeats over 2,000 kept connections, 10,000/s offered", 9_900.0, Unit::PerSecond);
    pub(crate) const HEARTBEATS_P99: Self = Self::at_most("their p99", 50.0, Unit::Milliseconds);
    pub(crate) const DRIFT_REPORTS: Self =
        Self::at_least("drift reports of 10 findings, durable in SQLite", 1_500.0, Unit::PerSecond);
    pub(crate) const DRIFT_P99: Self = Self::at_most("their p99", 250.0, Unit::Milliseconds);
    pub(crate) const POSTGRES_REPORTS: Self =
        Self::at_least("drift reports of 10 findings, durable in PostgreSQL", 700.0, Unit::PerSecond);
    pub(crate) const CLEAN_REPORTS: Self =
        Self::at_least("clean-sweep reports, durable", 3_000.0, Unit::PerSecond);
    pub(crate) const CONNECTED_MEMORY: Self = Self::megabytes("memory, 5,000 connections kept", 300.0);
    pub(crate) const ENROLLED_MEMORY: Self = Self::megabytes("memory, 100,000 nodes enrolled", 300.0);
    pub(crate) const HERD_LOST: Self =
        Self::at_most("herd of 10,000: reports that were not acknowledged", 0.0, Unit::Count);
    pub(crate) const HERD_PEAK: Self = Self::times("herd: peak of arrivals against their mean", 3.0);
    pub(crate) const HERD_OPERATORS: Self =
        Self::at_most("herd: an operator's slowest call", 1_000.0, Unit::Milliseconds);
    pub(crate) const NODE_LIST: Self =
        Self::at_most("node list of 100,000, filtered and paged, p99", 50.0, Unit::Milliseconds);

    const fn at_least(what: &'static str, least: f64, unit: Unit) -> Self {
        Self { what, bound: Bound::AtLeast(least), unit }
    }

    const fn times(what: &'static str, most: f64) -> Self {
        Self::at_most(what, most, Unit::Times)
    }

    const fn megabytes(what: &'static str, most: f64) -> Self {
        Self::at_most(what, most, Unit::Megabytes)
    }

    const fn at_most(what: &'static str, most: f64, unit: Unit) -> Self {
        Self { what, bound: Bound::AtMost(most), unit }
    }

    const fn over_percent(what: &'static str, least: f64) -> Self {
        Self { what, bound: Bound::Over(least), unit: Unit::Percent }
    }

    pub(crate) fn what(&self) -> &'static str {
        self.what
    }

    fn is_held_by(&self, shown: f64) -> bool {
        match self.bound {
            Bound::AtMost(most) => shown <= most,
            Bound::AtLeast(least) => shown >= least,
            Bound::Over(least) => shown > least,
        }
    }

    fn row(&self, measured: f64) -> String {
        let (scale, places, unit) = match self.unit {
            Unit::Times => (100.0, 2, "×"),
            Unit::Megabytes => (10.0, 1, "MB"),
            Unit::Bytes => (1.0, 0, "bytes"),
            Unit::Percent => (10.0, 1, "%"),
            Unit::FinePercent => (1000.0, 3, "%"),
            Unit::PerSecond => (1.0, 0, "/s"),
            Unit::Milliseconds => (10.0, 1, "ms"),
            Unit::Count => (1.0, 0, "reports"),
        };
        let shown = (measured * scale).round() / scale;
        let bound = match self.bound {
            Bound::AtMost(most) => format!("at most {most:.places$} {unit}"),
            Bound::AtLeast(least) => format!("at least {least:.places$} {unit}"),
            Bound::Over(least) => format!("over {least:.places$} {unit}"),
        };
        let verdict = if self.is_held_by(shown) { "held" } else { "**missed**" };
        format!("| {} | {bound} | {shown:.places$} {unit} | {verdict} |\n", self.what)
    }
}

/// Targets beside what was measured.
pub(crate) fn table(figures: &[(Target, f64)]) -> String {
    let rows: String = figures.iter().map(|(target, measured)| target.row(*measured)).collect();
    format!("| | target | measured | |\n|---|---|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        for (target, measured, row_end) in [
            (Target::VERIFY_FLOOR, 1.2, "at most 1.25 × | 1.20 × | held |\n"),
            (Target::VERIFY_FLOOR, 1.254, "at most 1.25 × | 1.25 × | held |\n"),
            (Target::VERIFY_FLOOR, 1.256, "at most 1.25 × | 1.26 × | **missed** |\n"),
            (Target::VERIFY_B3SUM, 1.0, "at most 1.00 × | 1.00 × | held |\n"),
            (Target::VERIFY_B3SUM, f64::NAN, "at most 1.00 × | NaN × | **missed** |\n"),
            (Target::MEMORY_TYPICAL, 32.04, "at most 32.0 MB | 32.0 MB | held |\n"),
            (Target::MEMORY_REMOVED, 64.1, "at most 64.0 MB | 64.1 MB | **missed** |\n"),
            (Target::CACHE_BESIDE, 90.0, "over 90.0 % | 90.0 % | **missed** |\n"),
            (Target::REPORT, 1500.4, "at most 1500 bytes | 1500 bytes | held |\n"),
            (Target::IDLE_CPU, 0.1008, "at most 0.100 % | 0.101 % | **missed** |\n"),
            (Target::CLEAN_REPORTS, 2999.4, "at least 3000 /s | 2999 /s | **missed** |\n"),
            (Target::CLEAN_REPORTS, 3000.0, "at least 3000 /s | 3000 /s | held |\n"),
            (Target::HERD_LOST, 1.0, "at most 0 reports | 1 reports | **missed** |\n"),
            (Target::HEARTBEATS_P99, 49.96, "at most 50.0 ms | 50.0 ms | held |\n"),
            (Target::CACHE_BESIDE, 99.96, "over 90.0 % | 100.0 % | held |\n"),
        ] {
            let row = target.row(measured);
            assert!(row.ends_with(row_end), "{row}");
        }
    }
}
