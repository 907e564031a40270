//! How long to wait before trying again: doubling from 250 ms to 30 s, the half of it at random, so
//! that a thousand agents do not come back in one instant.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// Waits of one request.
#[derive(Debug)]
pub(super) struct Backoff {
    base: Duration,
    random: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        // The random bits of a fresh UUID seed the jitter; no better randomness is needed.
        let (_, seed) = uuid::Uuid::now_v7().as_u64_pair();
        Self::seeded(seed)
    }
}

impl Backoff {
    const fn seeded(seed: u64) -> Self {
        Self { base: FIRST, random: seed | 1 }
    }

    /// The next wait; never shorter than what the collector asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = self.base / 2;
        let jitter = half.mul_f64((self.random >> 11) as f64 / (1u64 << 53) as f64);
        self.base = (self.base * 2).min(LONGEST);
        asked.unwrap_or_default().max(half) + jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_keep_their_jitter() {
        let mut backoff = Backoff::seeded(42);
        let waits: Vec<_> = (0..12).map(|_| backoff.next(None)).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{waits:?}");
        assert!(waits[11] >= LONGEST / 2 && waits[11] <= LONGEST, "{waits:?}");
        assert!(waits[10] != waits[11], "jitter");
    }

    #[test]
    fn a_collector_that_names_a_time_is_obeyed() {
        assert!(Backoff::seeded(42).next(Some(Duration::from_secs(9))) >= Duration::from_secs(9));
    }
}
