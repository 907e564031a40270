//! Head sampling without chance: a share of traces by their id, of other records by counting.

use model::TraceId;

/// What is owed to the share.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sampler {
    owed: f64,
}

impl Sampler {
    /// Whether a record is in the share. All records of one trace get the same answer, on every host.
    pub(crate) fn keeps(&mut self, share: f64, trace_id: Option<&TraceId>) -> bool {
        if let Some(id) = trace_id {
            // The last 7 bytes are random by W3C Trace Context level 2.
            let random = id.as_bytes()[9..].iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
            return (random as f64) < share * (1u64 << 56) as f64;
        }
        self.owed += share;
        let is_due = self.owed >= 1.0;
        if is_due {
            self.owed -= 1.0;
        }
        is_due
    }
}
