//! Files to requests: decompression, lines, places.
//!
//! A request usually is a line. One that spans lines, as people write examples, is read too: it ends where
//! its brackets close, and a line that begins another request ends it as bad, so that one broken line
//! does not take the rest of the file with it.
//!
//! ```text
//! plain            {"resourceLogs":…}\n{"resourceSpans":…}\n
//! gzip, zstd       the same, by the magic of the first bytes
//! file exporter    length u32 big-endian │ zstd frame of one request │ length │ …
//! with compression
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use collector::{JsonProblem, JsonRequest, read_json_request};
use tokio::sync::mpsc;

use super::progress::Progress;
use crate::exit::Failure;

/// Bytes of one request's text, and of the same as protobuf.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// RFC 8878 asks decoders to support 8 MiB; `zstd --long` makes 128 MiB, which a file may have.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const BUFFER_BYTES: usize = 256 << 10;

/// A request or a bad line.
#[derive(Debug)]
pub(super) enum Found {
    Request(Request),
    Bad(String),
}

/// A request and where it came from.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) file: String,
    pub(super) line: u64,
    /// The line behind it.
    pub(super) next_line: u64,
    pub(super) read: JsonRequest,
}

impl Request {
    /// The place of a problem in it, as `file:line:column: problem`.
    pub(super) fn problem(&self, problem: &JsonProblem) -> String {
        placed(&self.file, self.line, problem)
    }
}

fn placed(file: &str, line: u64, problem: &JsonProblem) -> String {
    format!("{file}:{}:{}: {}", line + problem.line as u64 - 1, problem.column, problem.problem)
}

/// Reads all files into `sender`, the first one from a line on; ends early when nobody listens.
pub(super) fn read_all(
    files: &[PathBuf],
    from_line: u64,
    progress: &Progress,
    sender: &mpsc::Sender<Found>,
) -> Result<(), Failure> {
    for (path, from_line) in files.iter().zip(std::iter::once(from_line).chain(std::iter::repeat(1))) {
        let named = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
        let raw: Box<dyn Read> = match named.as_str() {
            "stdin" => Box::new(io::stdin().lock()),
            _ => Box::new(File::open(path).map_err(|error| Failure::usage(format!("{named}: {error}")))?),
        };
        let mut values = Values { file: named.clone(), line: 0, from_line, progress, sender };
        let read = values.read(BufReader::with_capacity(BUFFER_BYTES, progress.counted(raw)));
        match read {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                let line = values.line;
                return Err(Failure::runtime(format!(
                    "{named}: after line {line}: {error}; what stood before it was imported"
                )));
            }
        }
    }
    Ok(())
}

/// Reads values and gives them away. `false` when nobody wants more.
struct Values<'a> {
    file: String,
    line: u64,
    /// Lines before it are passed over.
    from_line: u64,
    progress: &'a Progress,
    sender: &'a mpsc::Sender<Found>,
}

impl Values<'_> {
    fn read(&mut self, mut raw: impl BufRead) -> io::Result<bool> {
        let head = raw.fill_buf()?;
        let head: Vec<u8> = head.iter().take(8).copied().collect();
        match head.as_slice() {
            [0x1F, 0x8B, ..] => {
                self.lines(BufReader::with_capacity(BUFFER_BYTES, flate2::bufread::MultiGzDecoder::new(raw)))
            }
            [0x28, 0xB5, 0x2F, 0xFD, ..] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                self.lines(BufReader::with_capacity(BUFFER_BYTES, decoder))
            }
            [_, _, _, _, 0x28, 0xB5, 0x2F, 0xFD] => self.framed(raw),
            _ => self.lines(raw),
        }
    }

    /// The file exporter's form with `compression: zstd`.
    fn framed(&mut self, mut raw: impl BufRead) -> io::Result<bool> {
        let mut length = [0; 4];
        while !raw.fill_buf()?.is_empty() {
            raw.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length > REQUEST_BYTES_MAX {
                return Err(io::Error::other(format!(
                    "a message of {length} bytes, {REQUEST_BYTES_MAX} at most"
                )));
            }
            let mut message = vec![0; length];
            raw.read_exact(&mut message)?;
            let mut decoder = zstd::stream::read::Decoder::with_buffer(Cursor::new(message))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            if !self.lines(BufReader::new(decoder))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn lines(&mut self, mut text: impl BufRead) -> io::Result<bool> {
        let mut pending = Pending::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let is_whole = read_line(&mut text, &mut line)?;
            if line.is_empty() && is_whole {
                break;
            }
            self.line += 1;
            self.progress.line();
            if self.line < self.from_line {
                continue;
            }
            if !is_whole {
                let bad = format!("{}:{}:1: longer than {REQUEST_BYTES_MAX} bytes", self.file, self.line);
                if !self.give_pending(&mut pending) || !self.give(Found::Bad(bad)) {
                    return Ok(false);
                }
                continue;
            }
            let begins_request = line.starts_with(b"{\"resource");
            if (begins_request || pending.text.len() + line.len() > REQUEST_BYTES_MAX)
                && !self.give_pending(&mut pending)
            {
                return Ok(false);
            }
            pending.add(&line, self.line);
            if pending.is_closed() && !self.give_pending(&mut pending) {
                return Ok(false);
            }
        }
        Ok(self.give_pending(&mut pending))
    }

    fn give_pending(&self, pending: &mut Pending) -> bool {
        let Pending { text, first_line, last_line, .. } = std::mem::take(pending);
        if text.iter().all(u8::is_ascii_whitespace) {
            return true;
        }
        self.give(match read_json_request(&text, REQUEST_BYTES_MAX) {
            Ok(read) => {
                let (file, next_line) = (self.file.clone(), last_line + 1);
                Found::Request(Request { file, line: first_line, next_line, read })
            }
            Err(problem) => Found::Bad(placed(&self.file, first_line, &problem)),
        })
    }

    fn give(&self, found: Found) -> bool {
        self.sender.blocking_send(found).is_ok()
    }
}

/// One line with its end; `false` when it was longer than the limit and was passed over.
fn read_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut limited = text.by_ref().take(REQUEST_BYTES_MAX as u64);
    limited.read_until(b'\n', line)?;
    if line.len() < REQUEST_BYTES_MAX || line.ends_with(b"\n") {
        return Ok(true);
    }
    line.clear();
    text.skip_until(b'\n')?;
    Ok(false)
}

/// Lines of a request that is not closed yet.
#[derive(Default)]
struct Pending {
    text: Vec<u8>,
    first_line: u64,
    last_line: u64,
    depth: i64,
    is_in_string: bool,
    is_escaped: bool,
}

impl Pending {
    fn add(&mut self, line: &[u8], number: u64) {
        if self.text.is_empty() {
            self.first_line = number;
        }
        self.last_line = number;
        self.text.extend_from_slice(line);
        for byte in line {
            match (self.is_in_string, *byte) {
                (true, _) if self.is_escaped => self.is_escaped = false,
                (true, b'\\') => self.is_escaped = true,
                (true, b'"') => self.is_in_string = false,
                (false, b'"') => self.is_in_string = true,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => self.depth -= 1,
                _ => {}
            }
        }
    }

    /// Whether it can end here: its brackets are closed, or it never was a request.
    fn is_closed(&self) -> bool {
        let begins_object = self.text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        // A JSON string does not go over the end of a line.
        !begins_object || self.depth <= 0 || self.is_in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (usize, Vec<String>) {
        read_from(1, bytes)
    }

    fn read_from(from_line: u64, bytes: &[u8]) -> (usize, Vec<String>) {
        let (sender, mut receiver) = mpsc::channel(1_000);
        let progress = Progress::new(&[]);
        let mut values =
            Values { file: "f".to_owned(), line: 0, from_line, progress: &progress, sender: &sender };
        assert!(values.read(BufReader::new(bytes)).expect("readable"));
        drop(sender);
        let (mut requests, mut bad) = (0, Vec::new());
        while let Some(found) = receiver.blocking_recv() {
            match found {
                Found::Request(request) => {
                    requests += 1;
                    bad.extend(request.read.problems.iter().map(|problem| request.problem(problem)));
                }
                Found::Bad(problem) => bad.push(problem),
            }
        }
        (requests, bad)
    }

    const GOOD: &str =
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a } \" { b"}}]}]}]}"#;

    #[test]
    fn each_line_is_a_request_and_empty_lines_are_none() {
        assert_eq!(read(format!("{GOOD}\n\n{GOOD}\r\n{GOOD}").as_bytes()), (3, vec![]));
    }

    #[test]
    fn what_stands_before_the_first_line_that_is_wanted_is_passed_over() {
        let text = format!("{GOOD}\nnonsense\n{GOOD}\n{GOOD}\n");
        assert_eq!(read_from(3, text.as_bytes()), (2, vec![]));
        assert_eq!(read_from(9, text.as_bytes()), (0, vec![]));
    }

    #[test]
    fn a_request_over_several_lines_is_one_and_its_problems_have_the_lines_of_the_file() {
        let pretty = GOOD.replace(",", ",\n").replace('[', "[\n");
        assert_eq!(read(format!("\n{pretty}\n{GOOD}\n").as_bytes()).0, 2);
        let broken = "\n\n{\"resourceSpans\":[\n{\"scopeSpans\":[{\"spans\":[\n{\"traceId\":\"x\"}]}]}]}\n";
        let (requests, bad) = read(broken.as_bytes());
        assert_eq!(requests, 1);
        assert!(bad[0].starts_with("f:5:"), "{bad:?}");
    }

    #[test]
    fn a_broken_line_costs_itself_only() {
        for broken in [&GOOD[..40], "nonsense", "{\"level\":\"info\"}", "{\"resourceLogs\":[}", "]"] {
            let (requests, bad) = read(format!("{GOOD}\n{broken}\n{GOOD}\n").as_bytes());
            assert_eq!((requests, bad.len()), (2, 1), "{broken}: {bad:?}");
            assert!(bad[0].starts_with("f:2:"), "{bad:?}");
        }
    }

    #[test]
    fn compression_is_seen_from_the_first_bytes() {
        let text = format!("{GOOD}\n{GOOD}\n");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, text.as_bytes()).expect("in memory");
        assert_eq!(read(&gzip.finish().expect("in memory")), (2, vec![]));
        let zstd = zstd::bulk::compress(text.as_bytes(), 1).expect("in memory");
        assert_eq!(read(&zstd), (2, vec![]));
        // As the file exporter writes with `compression: zstd`.
        let one = zstd::bulk::compress(GOOD.as_bytes(), 1).expect("in memory");
        let framed = [&(one.len() as u32).to_be_bytes()[..], &one[..]].concat().repeat(3);
        assert_eq!(read(&framed), (3, vec![]));
    }
}
