//! Bytes of gzip files: a reader that goes forward, and a look through a whole file that tells whether it is sound and
//! whose copy it is.
//!
//! ```text
//! file ─ pread, 32 KiB ─► inflate ─► [window: the block asked for last, at most one] ─► lines
//! ```
//!
//! Bounds: a reader holds 32 KiB of compressed bytes, the 32 KiB history of the format and one block.
//! Invariant: offsets count inflated bytes; bytes from a file never panic.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;

use super::identity::{Fingerprint, HEAD_BYTES, Mark, TAIL_BYTES};

const COMPRESSED_BYTES: usize = 32 * 1024;
/// Bytes inflated at a time where they are not kept.
const STRIDE: usize = 64 * 1024;

/// The bytes of a file from its beginning, whatever its descriptor's own position is.
#[derive(Debug)]
struct FromStart {
    file: File,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

type Inflate = MultiGzDecoder<BufReader<FromStart>>;

fn inflate(file: &File) -> io::Result<Inflate> {
    let from_start = FromStart { file: file.try_clone()?, offset: 0 };
    Ok(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_BYTES, from_start)))
}

fn read_some(inflate: &mut Inflate, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match inflate.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads inflated bytes, forward; going back begins anew.
#[derive(Debug)]
pub(crate) struct GzipReader {
    file: File,
    inflate: Inflate,
    /// The bytes asked for last, and where they begin.
    window: Vec<u8>,
    start: u64,
}

impl GzipReader {
    /// A reader of `file` from its beginning.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, inflate: inflate(file)?, window: Vec::new(), start: 0 })
    }

    /// Fills `bytes` from `offset` as far as the content goes.
    pub(crate) fn read_into(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if offset < self.start {
            *self = Self::new(&self.file)?;
        }
        self.skip_to(offset)?;
        let kept = self.window.len();
        if kept < bytes.len() {
            self.window.resize(bytes.len(), 0);
            let filled = self.fill(kept);
            self.window.truncate(*filled.as_ref().unwrap_or(&kept));
            filled?;
        }
        let len = self.window.len().min(bytes.len());
        bytes[..len].copy_from_slice(&self.window[..len]);
        Ok(len)
    }

    /// Lets the window begin at `offset`.
    fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        let ahead = offset - self.start;
        if ahead <= self.window.len() as u64 {
            self.window.drain(..ahead as usize);
            self.start = offset;
            return Ok(());
        }
        let mut left = ahead - self.window.len() as u64;
        self.start += self.window.len() as u64;
        self.window.clear();
        let mut stride = vec![0; STRIDE];
        while left > 0 {
            let most = left.min(STRIDE as u64) as usize;
            let read = read_some(&mut self.inflate, &mut stride[..most])?;
            if read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends before the position"));
            }
            left -= read as u64;
            self.start += read as u64;
        }
        Ok(())
    }

    fn fill(&mut self, from: usize) -> io::Result<usize> {
        let mut at = from;
        while at < self.window.len() {
            match read_some(&mut self.inflate, &mut self.window[at..])? {
                0 => break,
                read => at += read,
            }
        }
        Ok(at)
    }

    /// The position `offset`, and the raw head.
    pub(crate) fn mark_at(&mut self, offset: u64) -> io::Result<(Mark, Vec<u8>)> {
        let mut head = vec![0; offset.min(HEAD_BYTES as u64) as usize];
        let mut tail = vec![0; offset.min(TAIL_BYTES as u64) as usize];
        let is_whole = self.read_into(0, &mut head)? == head.len()
            && self.read_into(offset - tail.len() as u64, &mut tail)? == tail.len();
        if !is_whole {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends before the position"));
        }
        Ok((Mark { offset, head: Fingerprint::of(&head), tail: Fingerprint::of(&tail) }, head))
    }
}

/// A look through a whole gzip file, a part at a time.
#[derive(Debug)]
pub(crate) struct Probe {
    inflate: Inflate,
    /// Inflated bytes that were seen.
    at: u64,
    head: Vec<u8>,
    /// The last bytes seen.
    tail: Vec<u8>,
    /// Positions in other files that may stand in this one, the nearest last.
    sought: Vec<Mark>,
    /// Those that do.
    found: Vec<Mark>,
}

/// What a look came to.
#[derive(Debug)]
pub(crate) struct Probed {
    /// The end of the content, with its evidence.
    pub(crate) end: Mark,
    /// The positions asked for that stand in it.
    pub(crate) found: Vec<Mark>,
}

impl Probe {
    /// Begins to look for the positions `sought` in `file`.
    pub(crate) fn new(file: &File, mut sought: Vec<Mark>) -> io::Result<Self> {
        sought.sort_by_key(|mark| std::cmp::Reverse(mark.offset));
        sought.dedup();
        let (head, tail, found) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { inflate: inflate(file)?, at: 0, head, tail, sought, found })
    }

    /// Looks at up to `budget` bytes more; `None` when there are others behind them.
    ///
    /// # Errors
    /// When the file is no sound gzip file: it may still be written.
    pub(crate) fn step(&mut self, budget: usize) -> io::Result<Option<Probed>> {
        let mut stride = vec![0; STRIDE];
        let mut left = budget;
        while left > 0 {
            // No further than the next position that is looked for.
            let next = self.sought.last().map_or(u64::MAX, |mark| mark.offset - self.at);
            let most = next.min(STRIDE as u64).max(1) as usize;
            let read = read_some(&mut self.inflate, &mut stride[..most])?;
            if read == 0 {
                let end = self.mark();
                return Ok(Some(Probed { end, found: std::mem::take(&mut self.found) }));
            }
            self.see(&stride[..read]);
            left = left.saturating_sub(read);
        }
        Ok(None)
    }

    fn see(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        while let Some(mark) = self.sought.pop_if(|mark| mark.offset <= self.at) {
            if mark == self.mark() {
                self.found.push(mark);
            }
        }
    }

    fn mark(&self) -> Mark {
        Mark { offset: self.at, head: Fingerprint::of(&self.head), tail: Fingerprint::of(&self.tail) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn packed(parts: &[&[u8]]) -> File {
        let mut file = tempfile::tempfile().expect("file");
        for part in parts {
            let mut encoder = GzEncoder::new(&file, Compression::fast());
            encoder.write_all(part).expect("written");
            encoder.finish().expect("written");
        }
        file.flush().expect("written");
        file
    }

    fn plain(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(bytes).expect("written");
        file
    }

    fn probe(file: &File, sought: Vec<Mark>) -> io::Result<Probed> {
        let mut probe = Probe::new(file, sought)?;
        loop {
            if let Some(probed) = probe.step(1000)? {
                return Ok(probed);
            }
        }
    }

    #[test]
    fn a_file_that_ends_early_or_was_changed_is_no_sound_one() {
        let file = packed(&[b"a line\n"]);
        let mut bytes = vec![0; file.metadata().expect("there").len() as usize];
        file.read_at(&mut bytes, 0).expect("read");
        for len in 0..bytes.len() {
            let is_bad = probe(&plain(&bytes[..len]), Vec::new()).is_err();
            assert!(is_bad || len == 0, "{len} of {} bytes", bytes.len());
        }
        let check = bytes.len() - 8;
        bytes[check] ^= 1;
        assert!(probe(&plain(&bytes), Vec::new()).is_err(), "the checksum");
        assert!(probe(&plain(b"plain text\n"), Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_range_reads_as_from_the_plain_file_and_marks_are_the_same(
            content in proptest::collection::vec(any::<u8>(), 1..5000),
            cut in 0usize..5000,
            reads in proptest::collection::vec((0usize..5000, 0usize..3000), 1..8),
        ) {
            let cut = cut.min(content.len());
            let (gzip, plain) = (packed(&[&content[..cut], &content[cut..]]), plain(&content));
            let mut reader = GzipReader::new(&gzip).expect("reader");
            for (offset, len) in reads {
                let offset = offset.min(content.len());
                let mut bytes = vec![0; len];
                let read = reader.read_into(offset as u64, &mut bytes).expect("read");
                prop_assert_eq!(&bytes[..read], &content[offset..(offset + len).min(content.len())]);
            }
            let mark = Mark::at(&plain, cut as u64).expect("mark").0;
            prop_assert_eq!(reader.mark_at(cut as u64).expect("mark").0, mark);
            let other = Mark { tail: Fingerprint::of(b"other"), ..mark };
            let probed = probe(&gzip, vec![mark, other]).expect("sound");
            prop_assert_eq!(probed.end, Mark::at(&plain, content.len() as u64).expect("mark").0);
            prop_assert_eq!(probed.found, if cut == 0 { Vec::new() } else { vec![mark] });
        }
    }
}
