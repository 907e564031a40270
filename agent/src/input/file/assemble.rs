//! Puts the parts of lines together again that a container runtime cut, across files if need be.
//!
//! A runtime writes stdout and stderr of a container into one file, each cut into parts on its own, and
//! it may rotate between two parts. Lines leave in the order in which they began, and only at *clean cuts*: where no
//! part of a line that left stands behind the beginning of one that stays. So there is always one position a
//! file behind which everything is still to come.
//!
//! ```text
//! parts   P(out)  F(err)  P(out)  F(out)  P(err) …
//!         └──────── line 1 ──────────┘
//!                 └ line 2: waits for line 1   └ line 3 is open: the position stays here
//! ```
//!
//! Bounds: 256 KiB a line and a stream; then what is open ends as it is. So does what no part followed
//! for 5 s.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::batch::JOINED_PART_BYTES_MAX;
use super::container::{Origin, Unwrapped};
use super::tracked::FileId;

/// How long a line waits for its next part.
const PART_TIMEOUT: Duration = Duration::from_secs(5);
/// What an open line counts besides its text.
const LINE_OVERHEAD: usize = 128;

/// A file and its generation.
pub(crate) type Place = (FileId, u32);

/// A line that is whole.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) text: Vec<u8>,
    pub(crate) origin: Origin,
    /// Parts it was made of.
    pub(crate) parts: u64,
    /// Where its first part in each file begins.
    pub(crate) begins: BTreeMap<Place, u64>,
    first_part: u64,
    last_part: u64,
    is_open: bool,
}

/// The lines of one logical stream that are not whole yet, and those behind them.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    lines: VecDeque<Assembled>,
    parts: u64,
    bytes: usize,
    last: Duration,
}

impl Assembler {
    /// Whether nothing waits: a whole line may pass by.
    pub(crate) fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a part, or a whole line while others wait; gives the lines that may leave.
    pub(crate) fn take(
        &mut self,
        place: Place,
        offset: u64,
        part: Unwrapped<'_>,
        now: Duration,
    ) -> Vec<Assembled> {
        self.parts += 1;
        self.last = now;
        self.bytes += part.text.len() + LINE_OVERHEAD;
        let is_mine = |line: &&mut Assembled| line.is_open && line.origin.iostream == part.origin.iostream;
        match self.lines.iter_mut().find(is_mine) {
            Some(line) => {
                line.text.extend_from_slice(&part.text);
                line.parts += 1;
                line.begins.entry(place).or_insert(offset);
                (line.last_part, line.is_open) = (self.parts, part.is_part);
            }
            None => self.lines.push_back(Assembled {
                text: part.text.into_owned(),
                origin: part.origin,
                parts: 1,
                begins: BTreeMap::from([(place, offset)]),
                first_part: self.parts,
                last_part: self.parts,
                is_open: part.is_part,
            }),
        }
        if self.bytes > JOINED_PART_BYTES_MAX {
            return self.flush();
        }
        self.release()
    }

    /// Lines that waited too long for another part.
    pub(crate) fn settle(&mut self, now: Duration) -> Vec<Assembled> {
        let is_due = !self.is_idle() && now.saturating_sub(self.last) >= PART_TIMEOUT;
        if is_due { self.flush() } else { Vec::new() }
    }

    /// Everything, whole or not.
    pub(crate) fn flush(&mut self) -> Vec<Assembled> {
        self.bytes = 0;
        std::mem::take(&mut self.lines).into()
    }

    /// Forgets everything; how many parts it was.
    pub(crate) fn clear(&mut self) -> u64 {
        self.flush().iter().map(|line| line.parts).sum()
    }

    /// Where the first line that waits begins in each file.
    pub(crate) fn held(&self, place: Place) -> Option<u64> {
        self.lines.iter().filter_map(|line| line.begins.get(&place)).min().copied()
    }

    fn release(&mut self) -> Vec<Assembled> {
        let (mut cut, mut last_part) = (0, 0);
        for (at, line) in self.lines.iter().enumerate() {
            if line.is_open {
                break;
            }
            last_part = last_part.max(line.last_part);
            if self.lines.get(at + 1).is_none_or(|next| next.first_part > last_part) {
                cut = at + 1;
            }
        }
        let leaving: Vec<_> = self.lines.drain(..cut).collect();
        let freed: usize =
            leaving.iter().map(|line| line.text.len() + line.parts as usize * LINE_OVERHEAD).sum();
        self.bytes = self.bytes.saturating_sub(freed);
        leaving
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::container::IoStream;
    use super::*;

    fn part(iostream: IoStream, text: &str, is_part: bool) -> Unwrapped<'_> {
        let origin = Origin { time: None, iostream: Some(iostream) };
        Unwrapped { text: Cow::Borrowed(text.as_bytes()), origin, is_part }
    }

    fn texts(lines: &[Assembled]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    #[test]
    fn a_line_whose_parts_stand_in_two_files_is_one_and_holds_both() {
        let mut assembler = Assembler::default();
        let now = Duration::ZERO;
        assert!(assembler.take((1, 0), 100, part(IoStream::Stdout, "a", true), now).is_empty());
        assert!(assembler.take((2, 0), 0, part(IoStream::Stdout, "b", true), now).is_empty());
        assert_eq!((assembler.held((1, 0)), assembler.held((2, 0))), (Some(100), Some(0)));
        let lines = assembler.take((2, 0), 30, part(IoStream::Stdout, "c", false), now);
        assert_eq!(texts(&lines), ["abc"]);
        assert_eq!(lines[0].parts, 3);
        assert!(assembler.is_idle() && assembler.held((1, 0)).is_none());
    }

    #[test]
    fn lines_leave_in_order_and_only_at_clean_cuts() {
        let mut assembler = Assembler::default();
        let (now, place) = (Duration::ZERO, (1, 0));
        assert!(assembler.take(place, 0, part(IoStream::Stdout, "1a", true), now).is_empty());
        assert!(assembler.take(place, 10, part(IoStream::Stderr, "2", false), now).is_empty());
        assert!(assembler.take(place, 20, part(IoStream::Stderr, "3a", true), now).is_empty());
        // Line 1 is whole, but its end stands behind the beginning of line 3.
        assert!(assembler.take(place, 30, part(IoStream::Stdout, "1b", false), now).is_empty());
        assert_eq!(assembler.held(place), Some(0));
        let lines = assembler.take(place, 40, part(IoStream::Stderr, "3b", false), now);
        assert_eq!(texts(&lines), ["1a1b", "2", "3a3b"]);
    }

    #[test]
    fn what_waits_too_long_or_grows_too_large_leaves_as_it_is() {
        let mut assembler = Assembler::default();
        assembler.take((1, 0), 0, part(IoStream::Stdout, "half", true), Duration::ZERO);
        assert!(assembler.settle(Duration::from_secs(4)).is_empty());
        assert_eq!(texts(&assembler.settle(Duration::from_secs(5))), ["half"]);
        let long = "x".repeat(JOINED_PART_BYTES_MAX / 2);
        assert!(assembler.take((1, 0), 0, part(IoStream::Stdout, &long, true), Duration::ZERO).is_empty());
        assert_eq!(assembler.take((1, 0), 9, part(IoStream::Stdout, &long, true), Duration::ZERO).len(), 1);
        assert!(assembler.is_idle());
    }
}
