//! Reading: lines of the open files into records of the batch under way.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::batch::{BatchBuilder, Processing, Record, Stream};
use super::remembered::Remembered;
use super::streams::{Finished, LogicalStream};
use super::tracked::{self, FileId, Outcome};
use super::{FileTail, Input, OPEN_RECORDS_BYTES_MAX};
use crate::process::Chain;
use crate::process::limit::Bucket;
use crate::status::{DropReason, Flow};

impl FileTail {
    /// Reads every file until each has nothing more or the batch is full; whether anything was read.
    #[cfg(test)]
    pub(crate) fn read(&mut self) -> bool {
        self.look_at_all();
        self.read_touched()
    }

    /// The same of the files that do not rest: see [`FileTail::look_at_touched`].
    pub(crate) fn read_touched(&mut self) -> bool {
        let mut has_read = false;
        self.settle();
        has_read |= self.settle_packed();
        self.settle_copies(self.shared.clock.monotonic());
        let mut active = self.readable();
        active.retain(|id| !self.is_quiet(*id));
        // One block of each file in turn, so that a busy file does not keep the others waiting; but the
        // files of one stream one after the other, the oldest first.
        let undecided = self.undecided();
        let mut busy = HashSet::new();
        while !active.is_empty() && !self.builder.is_full() {
            busy.clear();
            active.retain(|id| {
                let lane = self.files.get(id).map(|file| (file.input, file.lane));
                if lane.is_some_and(|lane| busy.contains(&lane)) {
                    return true;
                }
                if lane.and_then(|lane| undecided.get(&lane)).is_some_and(|older| older < id) {
                    return false;
                }
                let outcome = self.read_block(*id);
                has_read |= outcome == Outcome::Progress;
                // The end was seen: no need to ask once more whether there is anything.
                let is_at_end =
                    outcome == Outcome::Progress && self.files.get(id).is_some_and(|file| file.is_at_end);
                if outcome == Outcome::Idle || is_at_end {
                    self.rest(*id);
                    return false;
                }
                busy.extend(lane);
                true
            });
        }
        self.bound_open_records();
        has_read || self.builder.is_full()
    }

    /// Ends all open records when they hold more than they may: joined as far as they are.
    fn bound_open_records(&mut self) {
        let bytes: usize = self.streams.waiting_mut().map(|stream| stream.open_bytes()).sum();
        if bytes <= OPEN_RECORDS_BYTES_MAX {
            return;
        }
        tracing::warn!(bytes, "too much waits to be joined; it leaves as it is");
        let now = self.shared.clock.monotonic();
        let Self { inputs, streams, builder, shared, .. } = self;
        for logical in streams.waiting_mut() {
            let Input { chain, bucket, .. } = &mut inputs[logical.input];
            settle_stream(logical, builder, &shared.files, (chain, bucket), now, None);
        }
    }

    fn read_block(&mut self, id: FileId) -> Outcome {
        let Some(file) = self.files.get_mut(&id).filter(|file| file.is_placed && file.copy_of.is_none())
        else {
            return Outcome::Idle;
        };
        if self.builder.is_full() {
            return Outcome::Full;
        }
        let (before, generation, input) = (file.read.offset, file.generation, file.input);
        let now = self.shared.clock.monotonic();
        let Input { settings, chain, bucket, .. } = &mut self.inputs[input];
        let (builder, flow) = (&mut self.builder, &self.shared.files);
        // A file without a new line needs no stream.
        let (mut streams, mut found) = (Some(&mut self.streams), None::<&mut LogicalStream>);
        let mut take = |stream: &Stream, line: tracked::Line<'_>| {
            if builder.is_full() {
                return ControlFlow::Break(());
            }
            if let Some(streams) = streams.take() {
                found = Some(streams.of(input, settings.format, stream, chain));
            }
            let Some(logical) = &mut found else { return ControlFlow::Break(()) };
            flow.entered(1, line.span);
            logical.take((id, generation), line, now, &mut |state, finished| {
                write(builder, flow, stream, finished, Processing { chain, state, bucket, now });
            });
            flow.dropped(DropReason::Joined, logical.take_joined_parts());
            ControlFlow::Continue(())
        };
        let outcome = file.read_lines(&mut self.block, (now, self.shared.clock.now()), &mut take);
        for (file, generation) in found.map(LogicalStream::take_released).unwrap_or_default() {
            self.builder.touch(file, generation);
        }
        if file.read.offset > before {
            self.has_unsaved_stream |= !file.is_saved;
            self.builder.touch(id, generation);
        }
        match outcome {
            Ok(Outcome::Truncated) => {
                self.truncated(id);
                Outcome::Truncated
            }
            Ok(outcome) => {
                file.problem = None;
                outcome
            }
            Err(error) => {
                file.problem = Some(format!("cannot read: {error}"));
                Outcome::Idle
            }
        }
    }

    /// Ends records that waited long enough for another line, and windows of repetitions.
    pub(crate) fn settle(&mut self) {
        let now = self.shared.clock.monotonic();
        let Self { inputs, streams, builder, shared, .. } = self;
        for logical in streams.waiting_mut() {
            let Input { chain, bucket, .. } = &mut inputs[logical.input];
            settle_stream(logical, builder, &shared.files, (chain, bucket), now, Some(now));
        }
    }

    /// Ends the open record of a file's stream, because no line of the file can follow.
    fn end_stream(&mut self, id: FileId) {
        let now = self.shared.clock.monotonic();
        let Some(file) = self.files.get(&id) else { return };
        let Input { settings, chain, bucket, .. } = &mut self.inputs[file.input];
        let logical = self.streams.of(file.input, settings.format, &file.stream, chain);
        settle_stream(logical, &mut self.builder, &self.shared.files, (chain, bucket), now, None);
    }

    /// When something waits that ends by itself.
    pub(crate) fn has_open(&self) -> bool {
        self.streams.has_open()
    }

    /// A file holds other bytes than were read: what was read is remembered, reading begins anew.
    fn truncated(&mut self, id: FileId) {
        self.end_stream(id);
        let Some(file) = self.files.get_mut(&id) else { return };
        let input = self.inputs[file.input].name.clone();
        let old = Remembered::of(file, input);
        let (path, size, offset) = (file.path.clone(), file.size, file.read.offset);
        file.restart();
        self.note_truncation(&path, size, offset);
        self.remember(old);
        self.has_unsaved = true;
    }

    pub(super) fn note_truncation(&self, path: &Path, size: u64, offset: u64) {
        self.shared.truncations.fetch_add(1, Relaxed);
        tracing::info!(path = %path.display(), size, offset, "file was truncated; reading it from its beginning");
    }
}

/// Writes a finished record and counts what became of its lines.
fn write(
    builder: &mut BatchBuilder,
    flow: &Flow,
    stream: &Stream,
    finished: Finished<'_>,
    processing: Processing<'_>,
) {
    if finished.lines > 1 {
        flow.dropped(DropReason::Joined, finished.lines - 1);
    }
    let (file, generation) = finished.place;
    builder.turn_to(file, generation);
    let record = Record { bytes: finished.bytes, piece: finished.piece, origin: finished.origin };
    if let Err(reason) = builder.push(stream, record, processing) {
        flow.dropped(reason, 1);
    }
    flow.entered(builder.take_summaries(), 0);
}

/// Ends what waited long enough in a stream, or everything when `until` is `None`.
pub(super) fn settle_stream(
    logical: &mut LogicalStream,
    builder: &mut BatchBuilder,
    flow: &Flow,
    (chain, bucket): (&Chain, &mut Bucket),
    now: Duration,
    until: Option<Duration>,
) {
    let stream = logical.stream.clone();
    logical.settle(chain.repeat_window(), until, &mut |state, finished| {
        write(builder, flow, &stream, finished, Processing { chain, state, bucket, now });
    });
    flow.dropped(DropReason::Joined, logical.take_joined_parts());
    let (file, generation) = logical.place;
    builder.turn_to(file, generation);
    builder.push_summary(&stream, &mut logical.state);
    flow.entered(builder.take_summaries(), 0);
    for (file, generation) in logical.take_released() {
        builder.touch(file, generation);
    }
}
