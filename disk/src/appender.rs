//! Writing a new file from its start to its end through [`std::io::Write`].
//!
//! Owns: where the next byte goes. Does not own: buffering, or when the file is synced.
//!
//! Invariant: a byte stands behind all those that were written before it, with no gap; what a failed write left of itself
//! is written over by the next.

use std::io::{self, Write};

use super::DiskFile;

/// Writes behind what it has written. It does not buffer: each write is one of the file's.
#[derive(Debug)]
pub struct Appender {
    file: Box<dyn DiskFile>,
    /// Bytes written so far.
    len: u64,
}

impl Appender {
    /// Begins at the start of `file`, which is empty.
    pub const fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, len: 0 }
    }

    /// The file, to sync it.
    pub fn into_file(self) -> Box<dyn DiskFile> {
        self.file
    }
}

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufWriter;
    use std::path::Path;

    use super::*;
    use crate::Fs;
    use crate::sim::{Fault, SimFs};

    const PATH: &str = "/a";

    fn begin(fs: &SimFs) -> Appender {
        Appender::new(fs.create(Path::new(PATH)).expect("new"))
    }

    fn content(fs: &SimFs) -> Vec<u8> {
        fs.read(Path::new(PATH)).expect("there")
    }

    #[test]
    fn pieces_of_any_size_stand_one_behind_the_other_with_a_buffer_and_without() {
        let whole: Vec<u8> = (0..30_000).map(|at| (at % 251) as u8).collect();
        for size in [1, 511, 512, 4_097, 30_000] {
            let (plain, buffered) = (SimFs::default(), SimFs::default());
            let mut file = begin(&plain);
            let mut buffer = BufWriter::new(begin(&buffered));
            for piece in whole.chunks(size) {
                file.write_all(piece).expect("writes");
                buffer.write_all(piece).expect("writes");
            }
            buffer.flush().expect("writes");
            assert_eq!(
                plain.counts().writes,
                whole.len().div_ceil(size) as u64,
                "each write is one of the file's"
            );
            assert!(content(&plain) == whole && content(&buffered) == whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_write_that_failed_and_is_made_again_leaves_no_gap_and_nothing_twice() {
        for fault in [Fault::Io, Fault::NoSpace, Fault::ShortWrite] {
            let fs = SimFs::default();
            let mut file = begin(&fs);
            file.write_all(&[1; 600]).expect("writes");
            fs.fail(0, fault);
            file.write_all(&[2; 600]).expect_err("planted");
            file.write_all(&[3; 700]).expect("writes");
            assert_eq!(content(&fs), [vec![1; 600], vec![3; 700]].concat(), "{fault:?}");
        }
    }

    #[test]
    fn what_was_synced_is_whole_after_every_crash_and_what_was_not_is_never_something_else() {
        let mut torn = 0;
        for seed in 0..100 {
            let fs = SimFs::default();
            let mut file = begin(&fs);
            fs.sync_dir(Path::new("/")).expect("syncs");
            file.write_all(&[1; 2_000]).expect("writes");
            let found = content(&fs.crash(seed));
            assert!(found.len() <= 2_000 && found.iter().all(|byte| [0, 1].contains(byte)), "seed {seed}");
            torn += u32::from(found != [1; 2_000]);
            file.into_file().sync_data().expect("syncs");
            assert_eq!(content(&fs.crash(seed)), [1; 2_000], "seed {seed}");
        }
        assert!((10..100).contains(&torn), "torn in {torn} of 100");
    }
}
