//! How far the clocks of services are apart, from the order in which causes and effects were recorded.
//!
//! ```text
//! caller     ├────────────────┤        a call of another service lies inside the span that made it:
//! callee  ├────────┤                   offset between  caller.start - callee.start
//!            └──► +δ                              and  caller.end - callee.end
//! message    a consumer starts when its producer has started, or after: offset ≥ producer.start - consumer.start
//! ```
//!
//! All calls between two services narrow one interval. Where it holds 0 the clocks agree; where it does not,
//! its middle is taken, as NTP does; where it is empty (a clock that jumped) the middle of its two ends.
//! Offsets are counted from a service that is taken as given, along the narrowest intervals first.
//!
//! Owns: the arithmetic. Does not own: which spans caused which (`journey`, `doctor`).

use std::collections::BTreeMap;

/// What may be added to the times of one service so that they agree with those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) least: i64,
    pub(crate) most: i64,
}

impl Bounds {
    pub(crate) const ANY: Self = Self { least: -i64::MAX / 4, most: i64::MAX / 4 };

    fn narrow(&mut self, other: Self) {
        self.least = self.least.max(other.least);
        self.most = self.most.min(other.most);
    }

    const fn turned(self) -> Self {
        Self { least: self.most.saturating_neg(), most: self.least.saturating_neg() }
    }

    const fn width(self) -> i64 {
        self.most.saturating_sub(self.least)
    }

    fn offset(self) -> i64 {
        if self.least <= 0 && 0 <= self.most {
            return 0;
        }
        match (self.least > Self::ANY.least, self.most < Self::ANY.most) {
            (true, true) => self.least / 2 + self.most / 2,
            (true, false) => self.least,
            _ => self.most,
        }
    }
}

/// For each two services that called each other: what to add to the second.
#[derive(Debug, Default)]
pub(crate) struct Pairs<'a>(BTreeMap<(&'a str, &'a str), Bounds>);

impl<'a> Pairs<'a> {
    /// Something between two services narrows what may be added to the times of `to`.
    pub(crate) fn add(&mut self, from: &'a str, to: &'a str, bounds: Bounds) {
        if from != to {
            self.0.entry((from, to)).or_insert(Bounds::ANY).narrow(bounds);
            self.0.entry((to, from)).or_insert(Bounds::ANY).narrow(bounds.turned());
        }
    }

    /// Nanoseconds to add to the times of each service whose clock is off. Services are taken as given in the
    /// order of `given`, each unless an earlier one already tells about it: those that no call joins are
    /// islands, each with its own clock.
    pub(crate) fn offsets(&self, given: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, i64> {
        let mut known: BTreeMap<&str, i64> = BTreeMap::new();
        for service in given {
            if known.contains_key(service) {
                continue;
            }
            known.insert(service, 0);
            while let Some((to, offset)) = self.surest(&known) {
                known.insert(to, offset);
            }
        }
        known
            .into_iter()
            .filter(|(_, offset)| *offset != 0)
            .map(|(name, offset)| (name.to_owned(), offset))
            .collect()
    }

    /// The service whose offset follows most surely from those that are known, and that offset.
    fn surest(&self, known: &BTreeMap<&'a str, i64>) -> Option<(&'a str, i64)> {
        let mut best: Option<(i64, &'a str, i64)> = None;
        for ((from, to), bounds) in &self.0 {
            let Some(base) = known.get(from) else { continue };
            let candidate = (bounds.width(), *to, base.saturating_add(bounds.offset()));
            if !known.contains_key(to) && best.is_none_or(|best| candidate < best) {
                best = Some(candidate);
            }
        }
        best.map(|(_, to, offset)| (to, offset))
    }
}
