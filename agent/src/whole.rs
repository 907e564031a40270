//! Small files that are replaced as a whole: positions, the agent's identity, cursors, what the collector handed out.
//!
//! ```text
//! write NAME.new ─► sync it ─► rename over NAME ─► sync the folder
//! ```
//!
//! Invariant: whatever the moment of a crash or a power failure, the file has its old content or its new one, never a part
//! and never nothing.

use std::io::{self, BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use disk::{Appender, Fs};

/// Replaces the file `path` by what `write` writes; it is durable on return.
pub(crate) fn replace(
    fs: &dyn Fs,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    replace_soon(fs, path, write)?;
    match path.parent() {
        Some(folder) => fs.sync_dir(folder),
        None => Ok(()),
    }
}

/// As [`replace`], but after a power failure the old content may be there again.
pub(crate) fn replace_soon(
    fs: &dyn Fs,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let new = newer(path);
    // Of a run that ended meanwhile.
    match fs.remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = BufWriter::new(Appender::new(fs.create(&new)?));
    write(&mut out)?;
    let out = out.into_inner().map_err(IntoInnerError::into_error)?;
    out.into_file().sync_data()?;
    fs.rename(&new, path)
}

fn newer(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use disk::sim::SimFs;

    use super::*;

    const PATH: &str = "/data/positions.json";

    fn put(fs: &SimFs, text: &str) -> io::Result<()> {
        // Larger than what is written at once, so that a file may be torn.
        replace(fs, Path::new(PATH), |out| write!(out, "{}", text.repeat(5_000)))
    }

    fn content(fs: &SimFs) -> Option<Vec<u8>> {
        fs.read(Path::new(PATH)).ok()
    }

    fn begin() -> SimFs {
        let fs = SimFs::default();
        fs.create_dir_all(Path::new("/data")).expect("made");
        fs.sync_dir(Path::new("/")).expect("synced");
        put(&fs, "old ").expect("written");
        fs
    }

    #[test]
    fn whatever_the_moment_of_a_power_cut_or_a_kill_the_old_or_the_new_content_is_there() {
        let whole = begin();
        let before = whole.counts().operations;
        put(&whole, "new ").expect("written");
        let operations = whole.counts().operations - before;
        let (old, new) = (b"old ".repeat(5_000), b"new ".repeat(5_000));
        let (mut olds, mut news) = (0, 0);
        for (at, seed) in (0..=operations).flat_map(|at| (0..20).map(move |seed| (at, seed))) {
            let fs = begin();
            fs.power_off(at);
            let is_promised = put(&fs, "new ").is_ok();
            for after in [fs.crash(seed), fs.kill()] {
                let found = content(&after).expect("there");
                assert!(found == old || found == new, "a part, cut at {at} of {operations}, seed {seed}");
                assert!(!is_promised || found == new, "promised and not there, cut at {at}");
                (olds, news) = (olds + u32::from(found == old), news + u32::from(found == new));
                put(&after, "next ").expect("goes on");
                assert_eq!(content(&after).expect("there"), b"next ".repeat(5_000));
            }
        }
        assert!(olds > 20 && news > 20, "cuts before and behind the renaming: {olds}, {news}");
    }

    #[test]
    fn a_disk_that_fails_leaves_the_old_content_and_the_next_attempt_succeeds() {
        let whole = begin();
        let before = whole.counts().operations;
        put(&whole, "new ").expect("written");
        let mut failures = 0;
        for at in 0..whole.counts().operations - before {
            let fs = begin();
            fs.fail(at, disk::sim::Fault::Io);
            failures += u32::from(put(&fs, "new ").is_err());
            let found = content(&fs).expect("there");
            assert!(found == b"old ".repeat(5_000) || found == b"new ".repeat(5_000));
            fs.heal();
            put(&fs, "new ").expect("tried again");
            assert_eq!(content(&fs).expect("there"), b"new ".repeat(5_000));
        }
        assert!(failures > 2, "the disk really failed");
    }
}
