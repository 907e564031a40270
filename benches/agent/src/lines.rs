//! What the agent is fed with: JSON lines of 216 bytes, plain lines of 512, spans.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use model::wire::{put_bytes, put_fixed64, put_message, put_u64};

/// Bytes of a JSON line with its line end.
pub(crate) const JSON_BYTES: usize = 216;
/// Bytes of a plain line with its line end.
pub(crate) const PLAIN_BYTES: usize = 512;

/// Kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Plain,
}

impl Kind {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Json => JSON_BYTES,
            Self::Plain => PLAIN_BYTES,
        }
    }

    /// Appends line `number`.
    pub(crate) fn push(self, number: u64, out: &mut Vec<u8>) {
        let end = out.len() + self.bytes() - 1;
        let second = number / 10_000 % 60;
        let micros = number % 10_000 * 100;
        match self {
            Self::Json => {
                const LEVELS: [&str; 4] = ["info", "info", "debug", "warn"];
                let level = LEVELS[(number % 4) as usize];
                let order = number / 3;
                put(
                    out,
                    format_args!(
                        r#"{{"ts":"2026-11-26T10:41:{second:02}.{micros:06}Z","level":"{level}","seq":"{number:09}","order_id":"ORD-{order:08}","trace_id":"{:016x}{:016x}","message":"payment "#,
                        scramble(number),
                        scramble(!number),
                    ),
                );
                fill(out, end - 2);
                out.extend_from_slice(b"\"}\n");
            }
            Self::Plain => {
                put(
                    out,
                    format_args!(
                        "2026-11-26T10:41:{second:02}.{micros:06}Z INFO seq={number:09} the order {:x} was taken ",
                        scramble(number)
                    ),
                );
                fill(out, end - 1);
                out.extend_from_slice(b".\n");
            }
        }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

/// Words up to `end`.
fn fill(out: &mut Vec<u8>, end: usize) {
    const WORDS: &[u8] = b"of the cart was authorised by the acquirer after a second look at the card, ";
    while out.len() < end {
        let more = WORDS.len().min(end - out.len());
        out.extend_from_slice(&WORDS[..more]);
    }
}

/// Digits that do not compress: splitmix64.
const fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Writes `lines` lines into `files` files, each file's lines in order; the files.
pub(crate) fn backlog(folder: &Path, kind: Kind, files: usize, lines: u64) -> io::Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = (0..files).map(|at| folder.join(format!("app-{at:04}.log"))).collect();
    let each = lines / files as u64;
    let mut text = Vec::with_capacity(1 << 20);
    for (at, path) in (0..).zip(&paths) {
        let mut file = File::create(path)?;
        for number in at * each..(at + 1) * each {
            kind.push(number, &mut text);
            if text.len() > (1 << 20) - kind.bytes() {
                file.write_all(&text)?;
                text.clear();
            }
        }
        file.write_all(&text)?;
        text.clear();
    }
    Ok(paths)
}

/// Files that lines are appended to, one write a line, as services do.
pub(crate) struct Writers {
    files: Vec<File>,
    pub(crate) written: u64,
    line: Vec<u8>,
}

impl Writers {
    pub(crate) fn new(paths: &[PathBuf]) -> io::Result<Self> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { files: paths.iter().map(open).collect::<io::Result<_>>()?, written: 0, line: Vec::new() })
    }

    /// Writes `count` lines, to one file after the other.
    pub(crate) fn write(&mut self, count: u64) -> io::Result<()> {
        for _ in 0..count {
            self.line.clear();
            Kind::Json.push(self.written, &mut self.line);
            let at = (self.written % self.files.len() as u64) as usize;
            self.files[at].write_all(&self.line)?;
            self.written += 1;
        }
        Ok(())
    }
}

/// A request of spans, about 400 bytes each, and where their ids stand in it.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    pub(crate) request: Vec<u8>,
    ids: Vec<usize>,
}

impl Spans {
    pub(crate) fn new(count: usize) -> Self {
        let mut spans = Vec::new();
        for at in 0..count as u64 {
            put_message(&mut spans, 2, |span| write_span(span, at));
        }
        let mut request = Vec::new();
        put_message(&mut request, 1, |group| {
            put_message(group, 1, |resource| put_attribute(resource, 1, "service.name", "checkout"));
            put_bytes(group, 2, &spans);
        });
        // The marker of a span id: its tag, its length, and the place holder.
        let marker = [0x12, 8, 0xfe, 0xed, 0xfe, 0xed, 0xfe, 0xed, 0xfe, 0xed];
        let ids = request.windows(marker.len()).enumerate();
        let ids: Vec<usize> = ids.filter(|(_, found)| *found == marker).map(|(at, _)| at + 2).collect();
        assert_eq!(ids.len(), count, "every span has one id");
        Self { request, ids }
    }

    pub(crate) const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Numbers the spans from `first` on.
    pub(crate) fn number(&mut self, first: u64) {
        for (number, at) in (first + 1..).zip(&self.ids) {
            self.request[*at..at + 8].copy_from_slice(&number.to_be_bytes());
        }
    }
}

fn write_span(out: &mut Vec<u8>, at: u64) {
    let mut trace = scramble(at / 8).to_be_bytes().to_vec();
    trace.extend_from_slice(&scramble(!(at / 8)).to_be_bytes());
    put_bytes(out, 1, &trace);
    put_bytes(out, 2, &[0xfe, 0xed, 0xfe, 0xed, 0xfe, 0xed, 0xfe, 0xed]);
    put_bytes(out, 4, &scramble(at).to_be_bytes());
    put_bytes(out, 5, b"POST /api/checkout/{id}");
    put_u64(out, 6, 2);
    put_fixed64(out, 7, 1_795_689_718_000_000_000 + at * 1_000);
    put_fixed64(out, 8, 1_795_689_718_004_000_000 + at * 1_000);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/checkout/{id}"),
        ("http.response.status_code", "200"),
        ("server.address", "checkout.shop.svc"),
        ("user_agent.original", "shop-web/2.4"),
        ("network.protocol.version", "1.1"),
    ] {
        put_attribute(out, 9, key, value);
    }
    put_attribute(out, 9, "order_id", &format!("ORD-{:08}", scramble(at) % 100_000_000));
}

fn put_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: &str) {
    put_message(out, number, |attribute| {
        put_bytes(attribute, 1, key.as_bytes());
        put_message(attribute, 2, |any| put_bytes(any, 1, value.as_bytes()));
    });
}
