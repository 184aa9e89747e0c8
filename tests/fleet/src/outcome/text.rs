//! An outcome, for people.

use std::fmt;

use super::{OfCollector, OfKind, Outcome};

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} nodes enrolled, {} took turns, {:.1} s; the simulator took {:.0} % of a processor",
            self.scenario,
            self.nodes,
            self.connections,
            self.seconds,
            self.simulator_cpu * 100.0
        )?;
        writeln!(
            f,
            "{:<14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "sent", "answered", "per s", "p50 ms", "p90 ms", "p99 ms", "max ms"
        )?;
        for (name, kind) in &self.kinds {
            row(f, name, kind)?;
        }
        for (name, kind) in &self.kinds {
            for (word, count) in &kind.trouble {
                writeln!(f, "{name}: {count} × {word}")?;
            }
        }
        let reports = &self.reports;
        writeln!(
            f,
            "reports: {} made, {} acknowledged ({} had been received before), {} refused, {} waiting, {} lost",
            reports.made,
            reports.acknowledged,
            reports.duplicates,
            reports.refused,
            reports.waiting,
            reports.lost
        )?;
        if let Some(arrivals) = &self.arrivals {
            writeln!(
                f,
                "arrivals: {:.0} per s over {:.1} s, at most {:.0} per s: {:.1} × the mean",
                arrivals.mean_per_second, arrivals.seconds, arrivals.peak_per_second, arrivals.peak_to_mean
            )?;
        }
        self.collector.as_ref().map_or(Ok(()), |collector| of_collector(f, collector))
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, kind: &OfKind) -> fmt::Result {
    let latency = &kind.latency;
    writeln!(
        f,
        "{name:<14} {:>9} {:>9} {:>9.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
        kind.sent,
        kind.answered,
        kind.per_second,
        latency.p50_ms,
        latency.p90_ms,
        latency.p99_ms,
        latency.max_ms
    )
}

fn of_collector(f: &mut fmt::Formatter<'_>, collector: &OfCollector) -> fmt::Result {
    write!(
        f,
        "collector: {:.2} s of processor time, {:.1} µs a message; {:.1} MB resident, {:.1} MB at most",
        collector.cpu_seconds,
        collector.cpu_micros_per_message,
        collector.resident_bytes as f64 / 1e6,
        collector.peak_bytes as f64 / 1e6
    )?;
    match (collector.database_growth_bytes, collector.database_bytes_per_report) {
        (Some(growth), Some(each)) => {
            writeln!(f, "; the database grew by {:.1} MB, {each:.0} bytes a report", growth as f64 / 1e6)
        }
        _ => writeln!(f),
    }
}
