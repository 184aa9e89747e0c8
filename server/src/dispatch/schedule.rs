//! When deliveries are tried. Pure.

use std::time::Duration;

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

/// The schedule of Standard Webhooks: after the order, and then after each
/// failed try.
pub(crate) const STANDARD_SCHEDULE: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    hours(2),
    hours(5),
    hours(10),
    hours(14),
    hours(20),
    hours(24),
];

/// The most that jitter adds, as a part of the delay.
const JITTER: f64 = 0.2;
/// The longest that a platform may ask us to wait.
const LONGEST_RETRY_AFTER: Duration = hours(24);

/// How long to wait after the failed try number `attempt`, counted from 1; none
/// when no try is left. `random` is from 0 to 1.
///
/// Jitter is added last, so that no limit takes it away; a platform's
/// `Retry-After` only ever makes the wait longer.
pub(super) fn delay_after(
    attempt: u32,
    schedule: &[Duration],
    retry_after: Option<Duration>,
    random: f64,
) -> Option<Duration> {
    let planned = *schedule.get(attempt as usize)?;
    let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    let delay = planned.max(asked);
    Some(delay + delay.mul_f64(JITTER * random.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_follow_the_schedule_with_jitter() {
        let seconds = Duration::from_secs;
        for (attempt, asked, random, expected) in [
            (1, None, 0.0, Some(seconds(5))),
            (1, None, 1.0, Some(seconds(6))),
            (2, None, 0.5, Some(seconds(330))),
            (9, None, 0.0, Some(hours(24))),
            (10, None, 0.0, None),
            (11, None, 0.0, None),
            // Retry-After only lengthens, has a limit, and makes no more tries.
            (1, Some(seconds(120)), 0.0, Some(seconds(120))),
            (2, Some(seconds(120)), 0.0, Some(seconds(300))),
            (1, Some(hours(1000)), 0.0, Some(hours(24))),
            (10, Some(seconds(1)), 0.0, None),
        ] {
            let delay = delay_after(attempt, &STANDARD_SCHEDULE, asked, random);
            assert_eq!(delay, expected, "attempt {attempt}");
        }
    }
}
