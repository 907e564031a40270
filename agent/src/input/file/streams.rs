//! Logical streams: what is remembered between the lines of one writer, whatever files they stand in.
//!
//! A stream is a path of an input: `app.log` and the `app.log.1` it was renamed to are one, so a record may
//! begin in the old file and end in the new one. Invariant: while a record is open, the positions of
//! all files it has lines in stay before its first line there ([`LogicalStream::held`]).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::batch::Stream;
use super::tracked::{FileId, Line};
use crate::process::join::{Joined, Joiner};
use crate::process::{Chain, State};

/// Streams without open files that are remembered.
const STREAMS_MAX: usize = 4096;

/// One writer.
#[derive(Debug)]
pub(crate) struct LogicalStream {
    joiner: Option<Joiner<()>>,
    /// Where the open record begins in every file it has lines in.
    holds: BTreeMap<(FileId, u32), u64>,
    /// Files that no open record holds any more.
    released: Vec<(FileId, u32)>,
    /// The file that the last line came from.
    pub(crate) place: (FileId, u32),
    pub(crate) state: State,
    /// What the records of the stream share; of the file read last.
    pub(crate) stream: Stream,
    pub(crate) input: usize,
}

/// A record on its way to the batch.
pub(crate) struct Finished<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) piece: Option<u32>,
    /// Lines it is made of.
    pub(crate) lines: u64,
    /// The file its last line stood in.
    pub(crate) place: (FileId, u32),
}

impl LogicalStream {
    fn new(input: usize, stream: &Stream, chain: &Chain) -> Self {
        Self {
            joiner: Joiner::new(&chain.settings().multiline),
            holds: BTreeMap::new(),
            released: Vec::new(),
            place: (0, 0),
            state: State::default(),
            stream: stream.clone(),
            input,
        }
    }

    /// Takes a line of a file; `write` gets the records it finishes: itself, or what was open before it.
    pub(crate) fn take(
        &mut self,
        (file, generation): (FileId, u32),
        line: Line<'_>,
        now: Duration,
        write: &mut dyn FnMut(&mut State, Finished<'_>),
    ) {
        let place = (file, generation);
        let Self { joiner, holds, released, state, .. } = self;
        let before = std::mem::replace(&mut self.place, place);
        let Some(joiner) = joiner else {
            return write(state, Finished { bytes: line.bytes, piece: line.piece, lines: 1, place });
        };
        let mut has_ended = false;
        let mut emit = |joined: Joined<'_, ()>| {
            has_ended = true;
            write(state, Finished { bytes: joined.bytes, piece: None, lines: joined.lines, place: before });
        };
        if line.piece.is_some() {
            // Longer than any record of joined lines may be.
            joiner.flush(&mut emit);
            release(holds, released);
            return write(state, Finished { bytes: line.bytes, piece: line.piece, lines: 1, place });
        }
        joiner.push(line.bytes, (), now, &mut emit);
        if has_ended {
            release(holds, released);
        }
        holds.entry(place).or_insert(line.offset);
    }

    /// Ends what waited long enough, or everything with `None`.
    pub(crate) fn settle(
        &mut self,
        window: Option<Duration>,
        now: Option<Duration>,
        write: &mut dyn FnMut(&mut State, Finished<'_>),
    ) {
        let Self { joiner, holds, released, state, place, .. } = self;
        let place = *place;
        let mut has_ended = false;
        if let Some(joiner) = joiner {
            let mut emit = |joined: Joined<'_, ()>| {
                has_ended = true;
                write(state, Finished { bytes: joined.bytes, piece: None, lines: joined.lines, place });
            };
            match now {
                Some(now) => drop(joiner.settle(now, &mut emit)),
                None => joiner.flush(&mut emit),
            }
        }
        if has_ended {
            release(holds, released);
        }
        if let Some(window) = window {
            state.settle(window, now);
        }
    }

    /// Whether a record is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Files whose positions may move on since the last call.
    pub(crate) fn take_released(&mut self) -> Vec<(FileId, u32)> {
        std::mem::take(&mut self.released)
    }

    /// Forgets the open record, whose lines are read again; how many they were.
    fn forget_open(&mut self) -> u64 {
        self.holds.clear();
        self.released.clear();
        self.joiner.as_mut().map_or(0, Joiner::clear)
    }
}

fn release(holds: &mut BTreeMap<(FileId, u32), u64>, released: &mut Vec<(FileId, u32)>) {
    released.extend(std::mem::take(holds).into_keys());
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    all: HashMap<(usize, String), LogicalStream>,
}

impl Streams {
    /// The stream of a file.
    pub(crate) fn of(&mut self, input: usize, stream: &Stream, chain: &Chain) -> &mut LogicalStream {
        if self.all.len() >= STREAMS_MAX {
            self.all.retain(|_, stream| stream.is_open());
        }
        let key = (input, stream.file_path.clone());
        self.all.entry(key).or_insert_with(|| LogicalStream::new(input, stream, chain))
    }

    /// Where the position of a file must stay, because a record that is open begins there.
    pub(crate) fn held(&self, file: FileId, generation: u32) -> Option<u64> {
        self.all.values().find_map(|stream| stream.holds.get(&(file, generation)).copied())
    }

    /// Forgets open records, whose lines are read again; how many they were.
    pub(crate) fn forget_open(&mut self) -> u64 {
        self.all.values_mut().map(LogicalStream::forget_open).sum()
    }

    /// Every stream.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LogicalStream> {
        self.all.values_mut()
    }

    /// Whether anything waits that ends by itself.
    pub(crate) fn has_open(&self) -> bool {
        self.all.values().any(|stream| stream.is_open() || stream.state.is_repeating())
    }
}
