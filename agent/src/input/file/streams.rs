//! Logical streams: what is remembered between the lines of one writer, whatever files they stand in.
//!
//! A stream is a path of an input: `app.log` and the `app.log.1` it was renamed to are one, so a record may
//! begin in the old file and end in the new one. Invariant: while a record is open, the positions of
//! all files it has lines in stay before its first line there ([`LogicalStream::held`]).
//!
//! ```text
//! line ─► unwrap (CRI, Docker) ─► assemble parts ─► join lines (multiline) ─► record
//!                                 `assemble`        `process::join`
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::assemble::{Assembled, Assembler};
use super::batch::Stream;
use super::container::{self, Origin, Unwrapped};
use super::tracked::{FileId, Line};
use crate::config::Format;
use crate::process::join::{Joined, Joiner};
use crate::process::{Chain, State};

/// Streams without open files that are remembered.
const STREAMS_MAX: usize = 4096;

/// One writer.
#[derive(Debug)]
pub(crate) struct LogicalStream {
    format: Format,
    assembler: Assembler,
    join: Join,
    /// Parts of lines that were put together since the last call, but for one a line.
    joined_parts: u64,
    /// The file that the last line came from.
    pub(crate) place: (FileId, u32),
    pub(crate) state: State,
    /// What the records of the stream share; of the file read last.
    pub(crate) stream: Stream,
    pub(crate) input: usize,
}

/// Joining lines to records, and the positions that wait for it.
#[derive(Debug)]
struct Join {
    joiner: Option<Joiner<Origin>>,
    /// Where the open record begins in every file it has lines in.
    holds: BTreeMap<(FileId, u32), u64>,
    /// Files that no open record holds any more.
    released: Vec<(FileId, u32)>,
    /// The file of the last line.
    last: (FileId, u32),
}

/// A record on its way to the batch.
pub(crate) struct Finished<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) piece: Option<u32>,
    /// What the container runtime said about its first line.
    pub(crate) origin: Origin,
    /// Lines it is made of.
    pub(crate) lines: u64,
    /// The file its last line stood in, or began in.
    pub(crate) place: (FileId, u32),
}

/// Takes finished records.
type Write<'a> = dyn FnMut(&mut State, Finished<'_>) + 'a;

impl Join {
    fn take(
        &mut self,
        text: &[u8],
        origin: Origin,
        begins: &[((FileId, u32), u64)],
        place: (FileId, u32),
        now: Duration,
        write: &mut dyn FnMut(Finished<'_>),
    ) {
        let before = std::mem::replace(&mut self.last, place);
        let Some(joiner) = &mut self.joiner else {
            return write(Finished { bytes: text, piece: None, origin, lines: 1, place });
        };
        let mut has_ended = false;
        joiner.push(text, origin, now, &mut |joined: Joined<'_, Origin>| {
            has_ended = true;
            write(finished(&joined, before));
        });
        if has_ended {
            self.release();
        }
        for (place, offset) in begins {
            self.holds.entry(*place).or_insert(*offset);
        }
    }

    /// Ends the open record when it is time, or in any case with `None`.
    fn settle(&mut self, now: Option<Duration>, write: &mut dyn FnMut(Finished<'_>)) {
        let (mut has_ended, place) = (false, self.last);
        let Some(joiner) = &mut self.joiner else { return };
        let mut emit = |joined: Joined<'_, Origin>| {
            has_ended = true;
            write(finished(&joined, place));
        };
        match now {
            Some(now) => drop(joiner.settle(now, &mut emit)),
            None => joiner.flush(&mut emit),
        }
        if has_ended {
            self.release();
        }
    }

    fn release(&mut self) {
        self.released.extend(std::mem::take(&mut self.holds).into_keys());
    }
}

fn finished<'a>(joined: &Joined<'a, Origin>, place: (FileId, u32)) -> Finished<'a> {
    Finished { bytes: joined.bytes, piece: None, origin: *joined.origin, lines: joined.lines, place }
}

impl LogicalStream {
    fn new(input: usize, format: Format, stream: &Stream, chain: &Chain) -> Self {
        Self {
            format,
            assembler: Assembler::default(),
            join: Join {
                joiner: Joiner::new(&chain.settings().multiline),
                holds: BTreeMap::new(),
                released: Vec::new(),
                last: (0, 0),
            },
            joined_parts: 0,
            place: (0, 0),
            state: State::default(),
            stream: stream.clone(),
            input,
        }
    }

    /// Takes a line of a file; `write` gets the records it finishes: itself, or what was open before it.
    pub(crate) fn take(
        &mut self,
        place: (FileId, u32),
        line: Line<'_>,
        now: Duration,
        write: &mut Write<'_>,
    ) {
        self.place = place;
        if line.piece.is_some() {
            // Longer than any record of joined lines may be.
            self.flush(write);
            let (bytes, piece, origin) = (line.bytes, line.piece, Origin::default());
            return write(&mut self.state, Finished { bytes, piece, origin, lines: 1, place });
        }
        let Unwrapped { text, origin, is_part } = container::unwrap(self.format, line.bytes);
        if self.assembler.is_idle() && !is_part {
            let Self { join, state, .. } = self;
            let begins = [(place, line.offset)];
            return join.take(&text, origin, &begins, place, now, &mut |finished| write(state, finished));
        }
        let part = Unwrapped { text: Cow::Owned(text.into_owned()), origin, is_part };
        let whole = self.assembler.take(place, line.offset, part, now);
        self.take_assembled(whole, now, write);
    }

    fn take_assembled(&mut self, lines: Vec<Assembled>, now: Duration, write: &mut Write<'_>) {
        let Self { join, state, .. } = self;
        for line in lines {
            self.joined_parts += line.parts - 1;
            let begins: Vec<_> = line.begins.into_iter().collect();
            // Where no line is joined to another, nothing holds the files any more.
            join.released.extend(begins.iter().map(|(place, _)| *place));
            // Where it began: so it stands before the lines that waited for it.
            let Some((place, _)) = begins.first().copied() else { continue };
            join.take(&line.text, line.origin, &begins, place, now, &mut |finished| {
                write(state, finished);
            });
        }
    }

    /// Ends what waited long enough, or everything with `None`.
    pub(crate) fn settle(&mut self, window: Option<Duration>, now: Option<Duration>, write: &mut Write<'_>) {
        if let Some(now) = now {
            let whole = self.assembler.settle(now);
            self.take_assembled(whole, now, write);
            let Self { join, state, .. } = self;
            join.settle(Some(now), &mut |finished| write(state, finished));
        } else {
            self.flush(write);
        }
        if let Some(window) = window {
            self.state.settle(window, now);
        }
    }

    /// Ends everything that is open.
    fn flush(&mut self, write: &mut Write<'_>) {
        let whole = self.assembler.flush();
        self.take_assembled(whole, Duration::ZERO, write);
        let Self { join, state, .. } = self;
        join.settle(None, &mut |finished| write(state, finished));
    }

    /// Whether a record is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.join.holds.is_empty() || !self.assembler.is_idle()
    }

    /// Bytes of what is open.
    pub(crate) fn open_bytes(&self) -> usize {
        self.assembler.bytes() + self.join.joiner.as_ref().map_or(0, Joiner::open_bytes)
    }

    /// Whether anything waits that ends by itself.
    fn is_waiting(&self) -> bool {
        self.is_open() || self.state.is_repeating()
    }

    /// Where the position of a file must stay.
    fn held(&self, place: (FileId, u32)) -> Option<u64> {
        let joining = self.join.holds.get(&place).copied();
        joining.into_iter().chain(self.assembler.held(place)).min()
    }

    /// Parts that became one line with others since the last call.
    pub(crate) const fn take_joined_parts(&mut self) -> u64 {
        std::mem::replace(&mut self.joined_parts, 0)
    }

    /// Files whose positions may move on since the last call.
    pub(crate) fn take_released(&mut self) -> Vec<(FileId, u32)> {
        std::mem::take(&mut self.join.released)
    }

    /// Forgets the open record, whose lines are read again; how many they were.
    fn forget_open(&mut self) -> u64 {
        self.join.holds.clear();
        self.join.released.clear();
        self.assembler.clear() + self.join.joiner.as_mut().map_or(0, Joiner::clear)
    }
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// By input, then by path: asked for with every block that is read, so without making a key.
    by_input: Vec<HashMap<String, LogicalStream>>,
}

impl Streams {
    /// The stream of a file.
    pub(crate) fn of(
        &mut self,
        input: usize,
        format: Format,
        stream: &Stream,
        chain: &Chain,
    ) -> &mut LogicalStream {
        if self.by_input.len() <= input {
            self.by_input.resize_with(input + 1, HashMap::new);
        }
        if !self.by_input[input].contains_key(&stream.file_path) {
            if self.by_input.iter().map(HashMap::len).sum::<usize>() >= STREAMS_MAX {
                self.by_input.iter_mut().for_each(|streams| streams.retain(|_, stream| stream.is_open()));
            }
            let logical = LogicalStream::new(input, format, stream, chain);
            self.by_input[input].insert(stream.file_path.clone(), logical);
        }
        self.by_input[input].get_mut(&stream.file_path).expect("it was there or was put there")
    }

    /// The streams of an input, which are forgotten.
    pub(crate) fn take(&mut self, input: usize) -> Vec<LogicalStream> {
        let streams = self.by_input.get_mut(input).map(std::mem::take).unwrap_or_default();
        streams.into_values().collect()
    }

    fn all(&self) -> impl Iterator<Item = &LogicalStream> {
        self.by_input.iter().flat_map(HashMap::values)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut LogicalStream> {
        self.by_input.iter_mut().flat_map(HashMap::values_mut)
    }

    /// Where the position of a file must stay, because a record that is open begins there.
    pub(crate) fn held(&self, file: FileId, generation: u32) -> Option<u64> {
        self.all().find_map(|stream| stream.held((file, generation)))
    }

    /// Forgets open records, whose lines are read again; how many they were.
    pub(crate) fn forget_open(&mut self) -> u64 {
        self.all_mut().map(LogicalStream::forget_open).sum()
    }

    /// Streams in which something waits.
    pub(crate) fn waiting_mut(&mut self) -> impl Iterator<Item = &mut LogicalStream> {
        self.all_mut().filter(|stream| stream.is_waiting())
    }

    /// Whether anything waits that ends by itself.
    pub(crate) fn has_open(&self) -> bool {
        self.all().any(LogicalStream::is_waiting)
    }
}
