//! From lines to one export request, and the ranges of files it covers.
//!
//! A request has one section a file, in the order of its ranges, so that the store can tell which record
//! stood where. Within a section, records of one service share a resource; where the service changes, a
//! new `ResourceLogs` begins. Every record carries `log.file.name` and `log.file.path`.
//!
//! ```text
//! request = section of file 3: [ResourceLogs cart: r r r] [ResourceLogs bank: r]   ranges[0]: 4 records
//!           section of file 7: [ResourceLogs cart: r r]                            ranges[1]: 2 records
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::dialect::{Dialect, ParsedLine, parse_line};
use model::otlp::logs::{LogRecordParts, LogsWriter, put_record_attribute};
use model::positions::{self, StreamId};
use model::vector::find_byte;
use model::{Clock, UnixNano};

use super::container::Origin;
use super::identity::Mark;
use super::tracked::FileId;
use crate::config::Compression;
use crate::export::pack::Packer;
use crate::process::limit::Bucket;
use crate::process::{Chain, State};
use crate::status::DropReason;

/// Attribute of the pieces of a line that was too long for one record: their number, from 0.
pub(crate) const PIECE: &str = "silmari.line_piece";

/// What all lines of a file share.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) dialect: Dialect,
    /// Service of the configuration; wins over what a line says.
    pub(crate) service: Option<String>,
    /// Service when neither the configuration nor the line names one.
    pub(crate) fallback_service: String,
    pub(crate) file_name: String,
    pub(crate) file_path: String,
}

impl Stream {
    /// Of a file at `path`.
    pub(crate) fn new(
        path: &Path,
        dialect: Dialect,
        service: Option<String>,
        fallback: Option<&str>,
    ) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or("unknown").to_owned();
        Self {
            dialect,
            service,
            fallback_service: fallback.map_or(stem, str::to_owned),
            file_name: name,
            file_path: path.to_string_lossy().into_owned(),
        }
    }

    /// The same under the name of `path`.
    pub(crate) fn renamed(&self, path: &Path) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { file_name: name, file_path: path.to_string_lossy().into_owned(), ..self.clone() }
    }

    /// The service of a record: configured, else named by the record, else the fallback.
    fn service_of<'a>(&'a self, parsed: &'a ParsedLine) -> &'a str {
        self.service.as_deref().or(parsed.named_service()).unwrap_or(&self.fallback_service)
    }
}

/// A record of a file: a line, a piece of one, or several joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) bytes: &'a [u8],
    /// See [`Line`](super::tracked::Line).
    pub(crate) piece: Option<u32>,
    /// What the container runtime says about it.
    pub(crate) origin: Origin,
}

/// What the processors need for a record.
#[derive(Debug)]
pub(crate) struct Processing<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) state: &'a mut State,
    /// The rate limit of the whole input.
    pub(crate) bucket: &'a mut Bucket,
    /// Monotonic.
    pub(crate) now: Duration,
}

/// Bytes of a line that is put together of parts.
pub(crate) const JOINED_PART_BYTES_MAX: usize = 256 * 1024;

/// Files of one batch: well below [`positions::RANGES_MAX`], and their message below its limit.
pub(crate) const RANGES_MAX: usize = 400;

/// Part of a file whose lines a batch carries: bytes `start..end` of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) file: FileId,
    pub(crate) generation: u32,
    pub(crate) stream: StreamId,
    pub(crate) start: u64,
    pub(crate) end: Mark,
    /// Records of the request that stood in it.
    pub(crate) records: u64,
}

/// A finished request and what it covers.
#[derive(Debug)]
pub(crate) struct Batch {
    /// An `ExportLogsServiceRequest`, compressed.
    pub(crate) body: Bytes,
    /// How it is compressed.
    pub(crate) compression: Compression,
    /// Its bytes before.
    pub(crate) request_bytes: u64,
    pub(crate) records: u64,
    /// Bytes that its records took in the files.
    pub(crate) input_bytes: u64,
    /// In the order of the request's sections.
    pub(crate) ranges: Vec<Range>,
    /// Which reading it comes from: the reader begins a new one when it has to read again.
    pub(crate) turn: u64,
    /// Streams that will never be read again.
    pub(crate) forget: Vec<StreamId>,
}

impl Batch {
    /// The ranges as they travel. Without the end of each record: a batch is repeated as it is, or made
    /// anew from what is committed, so the store never has to cut one.
    pub(crate) fn positions(&self) -> Vec<positions::Range> {
        let ranges = self.ranges.iter();
        ranges.map(|one| positions::Range::new(one.stream, one.start, one.end.offset, one.records)).collect()
    }
}

/// The records of one file in the batch under way.
#[derive(Debug)]
struct Section {
    file: FileId,
    generation: u32,
    records: u64,
    /// Finished `ResourceLogs`: those before the service changed last.
    request: Vec<u8>,
    service: String,
    writer: Option<LogsWriter>,
}

/// The attributes that say which file a record is from, written once for the records of a file that follow each other.
#[derive(Debug, Default)]
struct FileNames {
    path: String,
    written: Vec<u8>,
}

impl FileNames {
    fn attributes_of(&mut self, stream: &Stream) -> &[u8] {
        if self.path != stream.file_path || self.written.is_empty() {
            self.path.clone_from(&stream.file_path);
            self.written.clear();
            put_record_attribute(&mut self.written, "log.file.name", &stream.file_name);
            put_record_attribute(&mut self.written, "log.file.path", &stream.file_path);
        }
        &self.written
    }
}

/// Rooms for records that are used again, of the size of a batch together.
#[derive(Debug, Default)]
struct Spare {
    rooms: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    fn take(&mut self) -> Vec<u8> {
        let room = self.rooms.pop().unwrap_or_default();
        self.bytes -= room.capacity();
        room
    }

    /// `bytes_max` is what a batch has when it is full, which its last record then exceeds.
    fn put(&mut self, mut room: Vec<u8>, bytes_max: usize) {
        let bytes_max = bytes_max + bytes_max / 8;
        room.clear();
        room.shrink_to(bytes_max);
        if room.capacity() > 0 && self.bytes + room.capacity() <= bytes_max {
            self.bytes += room.capacity();
            self.rooms.push(room);
        }
    }
}

/// Collects lines. It is empty after [`BatchBuilder::finish`].
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    resource: Vec<(String, String)>,
    clock: Arc<dyn Clock>,
    sections: Vec<Section>,
    /// Place of a file's section in `sections`.
    by_file: HashMap<(FileId, u32), usize>,
    current: (FileId, u32),
    /// Its place in `sections`, once it has one.
    current_section: Option<usize>,
    spare: Spare,
    /// Room for the request before it is compressed.
    request: Vec<u8>,
    packer: Packer,
    names: FileNames,
    /// Room for the name of a record's service.
    service: String,
    records: u64,
    input_bytes: u64,
    bytes: usize,
    bytes_max: usize,
    parsed: ParsedLine,
    observed: UnixNano,
    summaries: u64,
}

impl BatchBuilder {
    /// Requests of about `bytes_max` before `packer` compresses them, for a resource with these attributes
    /// besides `service.name`.
    pub(crate) fn new(
        resource: Vec<(String, String)>,
        bytes_max: usize,
        packer: Packer,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            resource,
            clock,
            sections: Vec::new(),
            by_file: HashMap::new(),
            current: (0, 0),
            current_section: None,
            spare: Spare::default(),
            request: Vec::new(),
            packer,
            names: FileNames::default(),
            service: String::new(),
            records: 0,
            input_bytes: 0,
            bytes: 0,
            bytes_max,
            parsed: ParsedLine::default(),
            observed: UnixNano(0),
            summaries: 0,
        }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max || self.sections.len() >= RANGES_MAX
    }

    pub(crate) const fn has_records(&self) -> bool {
        self.records > 0
    }

    pub(crate) const fn has_ranges(&self) -> bool {
        !self.sections.is_empty()
    }

    /// The file whose records come next.
    pub(crate) fn turn_to(&mut self, file: FileId, generation: u32) {
        if self.current != (file, generation) {
            self.current = (file, generation);
            self.current_section = None;
        }
    }

    /// Notes that the position of a file may move with this batch.
    pub(crate) fn touch(&mut self, file: FileId, generation: u32) {
        self.section_of((file, generation));
    }

    /// The files in this batch with their records, in the order of the request.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (FileId, u32, u64)> + '_ {
        self.sections.iter().map(|section| (section.file, section.generation, section.records))
    }

    fn section_of(&mut self, key: (FileId, u32)) -> usize {
        *self.by_file.entry(key).or_insert_with(|| {
            let (file, generation) = key;
            self.sections.push(Section {
                file,
                generation,
                records: 0,
                request: Vec::new(),
                service: String::new(),
                writer: None,
            });
            self.sections.len() - 1
        })
    }

    /// Adds a record, unless it is blank or the processors leave it out; why then.
    pub(crate) fn push(
        &mut self,
        stream: &Stream,
        record: Record<'_>,
        processing: Processing<'_>,
    ) -> Result<(), DropReason> {
        let bytes = record.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record.bytes);
        // A file truncated under a writer that keeps its offset begins with a hole of zeros.
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[zeros..];
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        };
        if text.trim_ascii().is_empty() {
            return Err(DropReason::Blank);
        }
        let Processing { chain, state, bucket, now } = processing;
        let text = chain.on_line(text)?;
        if self.records == 0 {
            self.observed = self.clock.now();
        }
        self.parse(stream, record.piece, &text);
        self.parsed.time = self.parsed.time.or(record.origin.time);
        self.service.clear();
        self.service.push_str(stream.service_of(&self.parsed));
        let verdict = chain.on_record(&text, &mut self.parsed, &self.service, state, bucket, now);
        self.push_summary(stream, state);
        verdict.map(|()| {
            self.write(stream, record.piece, record.origin);
            self.input_bytes += record.bytes.len() as u64 + 1;
        })
    }

    /// Writes the summary of suppressed repetitions that waits in `state`; whether there was one.
    pub(crate) fn push_summary(&mut self, stream: &Stream, state: &mut State) -> bool {
        let Some(summary) = state.take_summary() else { return false };
        if self.records == 0 {
            self.observed = self.clock.now();
        }
        let parsed = std::mem::replace(&mut self.parsed, summary);
        self.write(stream, None, Origin::default());
        self.parsed = parsed;
        self.summaries += 1;
        true
    }

    /// Summaries written since the last call.
    pub(crate) const fn take_summaries(&mut self) -> u64 {
        std::mem::replace(&mut self.summaries, 0)
    }

    fn parse(&mut self, stream: &Stream, piece: Option<u32>, text: &str) {
        match piece {
            // The first of joined lines says when and how grave; the others belong to its message.
            None => match find_byte(b'\n', text.as_bytes()) {
                None => parse_line(stream.dialect, text, &mut self.parsed),
                Some(end) => {
                    parse_line(stream.dialect, &text[..end], &mut self.parsed);
                    self.parsed.body.push_str(&text[end..]);
                    self.parsed.is_searched = false;
                }
            },
            // A piece is no whole line of any dialect; the first one may still show time and level.
            Some(0) => parse_line(Dialect::Plain, text, &mut self.parsed),
            Some(_) => {
                self.parsed.clear();
                self.parsed.body.push_str(text);
            }
        }
    }

    fn write(&mut self, stream: &Stream, piece: Option<u32>, origin: Origin) {
        let at = self.current_section.unwrap_or_else(|| self.section_of(self.current));
        self.current_section = Some(at);
        let parsed = &self.parsed;
        let service = stream.service_of(parsed);
        let section = &mut self.sections[at];
        if section.service != service {
            if let Some(mut writer) = section.writer.take() {
                writer.finish_into(&mut section.request);
                self.spare.put(writer.into_buffer(), self.bytes_max);
            }
            section.service.clear();
            section.service.push_str(service);
        }
        let writer = section.writer.get_or_insert_with(|| {
            let others = self.resource.iter().filter(|(key, _)| key != "service.name");
            let others = others.map(|(key, value)| (key.as_str(), value.as_str()));
            LogsWriter::new([("service.name", service)].into_iter().chain(others))
                .with_buffer(self.spare.take())
        });
        section.records += 1;
        let parts = LogRecordParts {
            time: parsed.time.or(origin.time).unwrap_or(UnixNano(0)),
            observed_time: self.observed,
            severity_number: parsed.severity_number,
            severity_text: &parsed.severity_text,
            body: &parsed.body,
            trace_id: parsed.trace_id,
            span_id: parsed.span_id,
            event_name: "",
        };
        let piece = piece.map(|piece| piece.to_string());
        let named = parsed.named_service().filter(|named| *named != service).map(|named| ("service", named));
        let iostream = origin.iostream.map(|iostream| ("log.iostream", iostream.name()));
        let before = writer.bytes();
        writer.push_with(
            &parts,
            self.names.attributes_of(stream),
            iostream
                .into_iter()
                .chain(piece.as_deref().map(|piece| (PIECE, piece)))
                .chain(named)
                .chain(parsed.attributes.iter()),
        );
        self.bytes += writer.bytes() - before;
        self.records += 1;
    }

    /// The request, with a range for each of [`BatchBuilder::sections`] whose position moves. Records of
    /// another one, as is a summary of repetitions, travel with a range beside it.
    pub(crate) fn finish(&mut self, ranges: Vec<Option<Range>>, turn: u64, forget: Vec<StreamId>) -> Batch {
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        request.reserve(self.bytes + 256);
        let mut kept: Vec<Range> = Vec::with_capacity(ranges.len());
        let mut homeless = 0;
        for (section, range) in self.sections.iter_mut().zip(ranges) {
            request.extend_from_slice(&section.request);
            if let Some(mut writer) = section.writer.take() {
                writer.finish_into(&mut request);
                self.spare.put(writer.into_buffer(), self.bytes_max);
            }
            match (range, kept.last_mut()) {
                (Some(range), _) => {
                    let records = range.records + std::mem::take(&mut homeless);
                    kept.push(Range { records, ..range });
                }
                (None, Some(last)) => last.records += section.records,
                (None, None) => homeless += section.records,
            }
        }
        let (records, input_bytes, request_bytes) = (self.records, self.input_bytes, request.len() as u64);
        self.clear();
        let (body, compression) = self.packer.pack(&mut request);
        self.request = request;
        Batch { body, compression, request_bytes, records, input_bytes, ranges: kept, turn, forget }
    }

    /// Drops what was collected. Services come and go; keeping their writers would let lines decide how
    /// much memory is used.
    pub(crate) fn clear(&mut self) {
        self.sections.clear();
        self.by_file.clear();
        self.current_section = None;
        (self.bytes, self.records, self.input_bytes) = (0, 0, 0);
    }

    /// Records and the bytes they took in their files.
    pub(crate) const fn content(&self) -> (u64, u64) {
        (self.records, self.input_bytes)
    }
}
