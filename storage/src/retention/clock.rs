//! The wall clock as far as rows are removed by it: a clock that jumps far ahead must not empty the store.
//!
//! ```text
//! wall   ──────────────┐ jumps by more than an hour
//!                      └──────────────────────────────────►  believed from an hour on
//! now    ──────────────────────────────────►┘               until then: what it would be without the jump
//! ```
//!
//! A machine that slept looks the same, and is believed an hour later. What the clock was before the process began nobody knows.

use std::time::Duration;

use model::UnixNano;

/// A larger step is a jump. 1 h.
const JUMP_NANO: i64 = 3_600 * 1_000_000_000;
/// How long a person has to set the clock right. 1 h.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What the time is, for those who remove rows.
#[derive(Debug, Default)]
pub(crate) struct BelievedClock {
    /// The wall clock when it was last believed, and the monotonic one then.
    believed: Option<(UnixNano, Duration)>,
    /// When it was first seen to have jumped.
    jumped_at: Option<Duration>,
}

impl BelievedClock {
    /// The time, given both clocks. One that goes back is believed at once: it removes nothing.
    pub(crate) fn now(&mut self, wall: UnixNano, monotonic: Duration) -> UnixNano {
        let (before, then) = *self.believed.get_or_insert((wall, monotonic));
        let passed = i64::try_from(monotonic.saturating_sub(then).as_nanos()).unwrap_or(i64::MAX);
        let expected = before.plus(passed);
        let has_jumped = wall.since(expected) > JUMP_NANO;
        let jumped_at = *self.jumped_at.get_or_insert(monotonic);
        if has_jumped && monotonic.saturating_sub(jumped_at) < PATIENCE {
            if jumped_at == monotonic {
                tracing::error!(
                    "the clock jumped from {expected} to {wall}: if that is wrong, set it right within an hour, before rows are removed by it"
                );
            }
            return expected;
        }
        (self.believed, self.jumped_at) = (Some((wall, monotonic)), None);
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600 * 1_000_000_000;

    /// What is believed after each step: hours that passed, hours on the wall.
    fn believed(steps: &[(u64, i64)]) -> Vec<i64> {
        let mut clock = BelievedClock::default();
        let mut now = |(passed, wall): &(u64, i64)| {
            clock.now(UnixNano(wall * HOUR), Duration::from_secs(passed * 3_600)).0 / HOUR
        };
        steps.iter().map(&mut now).collect()
    }

    #[test]
    fn a_jump_ahead_is_believed_after_an_hour_and_forgotten_when_it_is_mended() {
        assert_eq!(believed(&[(0, 100), (5, 105), (6, 107)]), [100, 105, 107]);
        assert_eq!(believed(&[(0, 100), (1, 9_000), (1, 9_000), (2, 9_001)]), [100, 101, 101, 9_001]);
        assert_eq!(believed(&[(0, 100), (1, 9_000), (2, 102), (3, 9_000)]), [100, 101, 102, 103]);
        assert_eq!(believed(&[(0, 100), (1, 50), (2, 51)]), [100, 50, 51]);
    }
}
