//! What must hold for any bytes from outside. Each function is a fuzz target (`agent/fuzz`) and, with random
//! bytes, a test of every build.
//!
//! Owns: the statements. Does not own: the parsers. Invariant: a function returns or panics; a panic is a
//! defect of what it calls.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::Fs as _;
use disk::sim::SimFs;
use model::dialect::{Dialect, ParsedLine, parse_line};
use model::{ManualClock, Signal, UnixNano};

use crate::config::{Durability, Format, WhenFull};
use crate::input::file::container;
use crate::input::statsd;
use crate::input::syslog::parse::{self as syslog, Frame};
use crate::queue::{Encoding, Lane, Limits, Queue, Spooled};

const LANE: Lane = Lane::Signal(Signal::Logs);
/// More requests than any file of these sizes holds.
const TAKES_MAX: usize = 10_000;

/// A line of a CRI log file: its text is a part of the line.
pub fn cri(line: &[u8]) {
    let unwrapped = container::unwrap(Format::Cri, line);
    assert!(unwrapped.text.len() <= line.len(), "longer than its line");
    let is_part_of_it = unwrapped.text.is_empty() || memchr::memmem::find(line, &unwrapped.text).is_some();
    assert!(is_part_of_it, "text that does not stand in the line");
}

/// A line of Docker's `json-file`: an escape never makes text longer.
pub fn docker(line: &[u8]) {
    for format in [Format::Docker, Format::Auto] {
        let unwrapped = container::unwrap(format, line);
        assert!(unwrapped.text.len() <= line.len(), "longer than its line");
    }
}

/// A stream of syslog messages: every message is found inside, and the search moves on.
pub fn syslog(bytes: &[u8]) {
    const MESSAGE_BYTES_MAX: usize = 256;
    let mut at = 0;
    while let Frame::Message { start, len, used } = syslog::frame(&bytes[at..], MESSAGE_BYTES_MAX) {
        assert!(used > 0 && at + used <= bytes.len() && start + len <= used, "outside of its frame");
        let message =
            syslog::parse(&bytes[at + start..at + start + len], UnixNano(1_795_000_000_000_000_000));
        // Invalid UTF-8 becomes a mark of three bytes.
        assert!(message.text.len() <= 3 * len, "longer than its message");
        at += used;
    }
    drop(syslog::parse(bytes, UnixNano(0)));
}

/// A line in `key=value` form.
pub fn logfmt(line: &[u8]) {
    dialect(Dialect::Logfmt, line);
}

/// A line of a combined access log.
pub fn nginx(line: &[u8]) {
    dialect(Dialect::Nginx, line);
}

/// A line of any dialect.
pub fn auto(line: &[u8]) {
    dialect(Dialect::Auto, line);
}

fn dialect(dialect: Dialect, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let text = text.replace('\n', " ");
    let (mut parsed, mut again) = (ParsedLine::default(), ParsedLine::default());
    parse_line(dialect, &text, &mut parsed);
    assert!(parsed.attributes.len() <= 130, "{} attributes", parsed.attributes.len());
    // What is left of another line must not show.
    parse_line(Dialect::Auto, "level=error other=1 msg=\"left over\"", &mut again);
    parse_line(dialect, &text, &mut again);
    assert_eq!(format!("{parsed:?}"), format!("{again:?}"), "depends on the line before");
}

/// A datagram of samples: numbers that can be summed.
pub fn statsd(datagram: &[u8]) {
    for said in statsd::said(datagram).flatten() {
        let statsd::Said::Sample(sample) = said else { continue };
        assert!(!sample.name.is_empty() && sample.weight.is_finite() && sample.weight >= 0.0, "{sample:?}");
        assert!(sample.tags.is_sorted_by(|one, other| one.0 <= other.0), "{sample:?}");
    }
}

/// A spool whose files were changed: `changes` are (place u16, value u8) over a spool of three requests, then
/// raw bytes that stand in for a whole file. Nothing is delivered that was not put in, and reading ends.
pub fn spool(bytes: &[u8]) {
    let (is_raw, changes) =
        bytes.split_first().map_or((false, bytes), |(first, rest)| (first & 1 == 1, rest));
    let fs = SimFs::default();
    let put_in: Vec<Bytes> =
        (0..3u8).map(|number| Bytes::from(vec![number; 40 + usize::from(number)])).collect();
    let queue = open(&fs).unwrap_or_else(|error| panic!("a new spool: {error}"));
    for payload in &put_in {
        let request = Spooled::new(Signal::Logs, Encoding::Protobuf, 1, payload.len(), payload.clone());
        queue.append(LANE, &request).unwrap_or_else(|error| panic!("room: {error}"));
    }
    drop(queue);
    let folder = Path::new("/spool/logs");
    let names = fs.list(folder).unwrap_or_default();
    for name in names.iter().filter(|name| name.ends_with(".seg") || is_raw) {
        fs.damage(&folder.join(name), |file| damage(file, changes, is_raw));
    }
    // A segment of another version is refused, which is an answer too.
    let Ok(queue) = open(&fs) else { return };
    let mut delivered = Vec::new();
    for turn in 0.. {
        assert!(turn < TAKES_MAX, "taking does not end");
        let group = queue.take(LANE, 1 << 20).unwrap_or_else(|error| panic!("a disk that works: {error}"));
        if group.is_empty() {
            break;
        }
        delivered.extend(group.into_iter().map(|spooled| spooled.payload));
    }
    let mut rest = put_in.iter();
    assert!(delivered.iter().all(|payload| rest.any(|one| one == payload)), "delivered what was not put in");
}

fn open(fs: &SimFs) -> io::Result<Queue> {
    let limits =
        Limits { bytes_max: 1 << 20, durability: Durability::Process, when_full: [WhenFull::Block; 3] };
    Queue::open(Arc::new(fs.clone()), Path::new("/spool"), limits, ManualClock::at(UnixNano(0)))
}

fn damage(file: &mut Vec<u8>, changes: &[u8], is_raw: bool) {
    if is_raw {
        changes.clone_into(file);
        return;
    }
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % file.len().max(1);
        match change[2] {
            // Sometimes the file ends there.
            0xff => file.truncate(at),
            value => file.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Bytes that look like the format now and then: its own words between random ones.
    fn bytes_with(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let word = (0..words.len()).prop_map(|at| words[at].as_bytes().to_vec());
        let piece = prop_oneof![3 => word, 1 => vec(any::<u8>(), 0..12)];
        vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_line_is_unwrapped_as_cri(line in bytes_with(&["2026-11-26T10:00:00.123456789Z", " ", "stdout", "stderr", "F", "P", ":", "x"])) {
            cri(&line);
        }

        #[test]
        fn any_line_is_unwrapped_as_dockers(line in bytes_with(&["{\"log\":\"", "\\n\"", "\\u00e9", "\\ud83d\\ude00", "\\", "\"", ",\"stream\":\"stdout\"", ",\"time\":\"2026-11-26T10:00:00Z\"}", "{", "}"])) {
            docker(&line);
        }

        #[test]
        fn any_stream_is_taken_apart_as_syslog(bytes in bytes_with(&["<34>", "<191>1 ", "12 ", "999 ", "\n", "\0", "2026-11-26T10:00:00Z ", "Nov 26 10:00:00 ", "[id k=\"v\\]\"]", "- ", "host app[7]: "])) {
            syslog(&bytes);
        }

        #[test]
        fn any_line_is_read_as_logfmt(line in bytes_with(&["a=", "\"", "\\", " ", "=", "level=warn", "ts=2026-11-26T10:00:00Z", "msg=\"x y\"", "trace_id=4bf92f3577b34da6a3ce929d0e0e4736"])) {
            logfmt(&line);
        }

        #[test]
        fn any_line_is_read_as_an_access_log(line in bytes_with(&["10.0.0.1", " - - ", "[26/Nov/2026:10:00:00 +0000]", " \"GET / HTTP/1.1\" ", "200", " 12 ", "\"-\"", "\"", " rt=\"0.1\""])) {
            nginx(&line);
        }

        #[test]
        fn any_line_is_read_as_some_dialect(line in bytes_with(&["{", "}", "\"a\":", "1e999", "[", "]", "null", "\\u0000", "ERROR", "[billing]", "k=v", "2026-11-26 10:00:00,1"])) {
            auto(&line);
        }

        #[test]
        fn any_datagram_is_read_as_samples(datagram in bytes_with(&["a.b", ":", "1", "-", "|c", "|g", "|ms", "|@0.1", "|#k:v,l", "\n", "nan", "1e309", "|s"])) {
            statsd(&datagram);
        }

        #[test]
        fn any_change_of_a_spool_delivers_nothing_that_was_not_put_in(bytes in vec(any::<u8>(), 0..90)) {
            spool(&bytes);
        }
    }
}
