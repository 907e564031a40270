//! A token bucket: so many records a second, so many more at once after a quiet time.

use std::time::Duration;

use crate::config::process::RateLimit;

/// What is left of one limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    tokens: f64,
    filled: Option<Duration>,
}

impl Bucket {
    /// Takes one token, if there is one at `now`.
    pub(crate) fn takes(&mut self, limit: &RateLimit, now: Duration) -> bool {
        let most = f64::from(limit.burst.unwrap_or(limit.lines.saturating_mul(2)));
        self.tokens = match self.filled.replace(now) {
            None => most,
            Some(filled) => {
                let gained = now.saturating_sub(filled).as_secs_f64() * f64::from(limit.lines);
                (self.tokens + gained).min(most)
            }
        };
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}
