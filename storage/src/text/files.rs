//! The checksums of an index's files. tantivy reads files as if they could not be damaged: a flipped bit is a panic,
//! or rows that are not found. So an index is read once as a whole before it is asked the first time.
//!
//! ```text
//! files.crc    1a2b3c4d 5120 meta.json        CRC-32C in hex, bytes and name of each file, a line each
//!              …
//!              99aabbcc                       CRC-32C of all lines above
//! ```
//!
//! Owns: this file. An index of an earlier build, which has none, is checked by the checksums that tantivy appends to its
//! larger files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crc32c::{crc32c, crc32c_append};
use tantivy::Index;

use super::{parts, shapes};

const FILE: &str = "files.crc";
const BUFFER_BYTES: usize = 256 << 10;

/// Writes the checksums of all files in `dir`, and removes tantivy's locks; making them durable is the caller's.
pub(crate) fn write_checksums(dir: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        match name.ends_with(".lock") {
            true => std::fs::remove_file(dir.join(name))?,
            false => names.push(name),
        }
    }
    names.sort();
    let mut lines = String::new();
    for name in names.iter().filter(|name| is_read(name)) {
        let (crc, bytes) = checksum(&dir.join(name))?;
        lines.push_str(&format!("{crc:08x} {bytes} {name}\n"));
    }
    let crc = crc32c(lines.as_bytes());
    std::fs::write(dir.join(FILE), format!("{lines}{crc:08x}\n"))
}

/// tantivy's locks, and its list of files to be deleted, say nothing of the index.
fn is_read(name: &str) -> bool {
    name != FILE && name != ".managed.json" && !name.ends_with(".lock")
}

/// Whether all files in `dir` are as they were written.
///
/// # Errors
/// `InvalidData` and `NotFound` say what is wrong with them, others that they cannot be read just now.
pub(crate) fn check(dir: &Path) -> io::Result<()> {
    let damaged = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let text = match std::fs::read(dir.join(FILE)) {
        // Every build that writes these files writes checksums.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && !has_any(dir, &[parts::FILE, shapes::FILE]) =>
        {
            return check_footers(dir).map_err(damaged);
        }
        text => text?,
    };
    let lines = lines_of(&text).ok_or_else(|| damaged(format!("`{FILE}` is damaged")))?;
    for line in lines.lines() {
        let mut fields = line.splitn(3, ' ');
        let (crc, bytes, name) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
        let (found_crc, found_bytes) = checksum(&dir.join(name))
            .map_err(|error| io::Error::new(error.kind(), format!("`{name}`: {error}")))?;
        let is_same = crc == Some(&*format!("{found_crc:08x}")) && bytes == Some(&*found_bytes.to_string());
        if !is_same {
            return Err(damaged(format!("the checksum of `{name}` does not hold")));
        }
    }
    Ok(())
}

fn has_any(dir: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| dir.join(name).exists())
}

/// The lines of files, if they are as they were written.
fn lines_of(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let end = text.rfind('\n')? + 1;
    let (lines, crc) = text.split_at(end);
    (format!("{:08x}", crc32c(lines.as_bytes())) == crc).then_some(lines)
}

fn check_footers(dir: &Path) -> Result<(), String> {
    let index = Index::open_in_dir(dir).map_err(|error| error.to_string())?;
    let damaged = index.validate_checksum().map_err(|error| error.to_string())?;
    match damaged.iter().min() {
        Some(file) => Err(format!("the checksum of `{}` does not hold", file.display())),
        None => Ok(()),
    }
}

fn checksum(path: &Path) -> io::Result<(u32, u64)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut crc, mut bytes) = (0, 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((crc, bytes)),
            read => {
                crc = crc32c_append(crc, &buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_in_a_file_is_noticed_and_locks_do_not_matter() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("written");
        write("meta.json", b"{}");
        write("a.term", b"terms");
        write(".tantivy-writer.lock", b"");
        write_checksums(dir.path()).expect("written");
        assert!(!dir.path().join(".tantivy-writer.lock").exists());
        check(dir.path()).expect("sound");
        write(".tantivy-writer.lock", b"x");
        check(dir.path()).expect("sound");
        for (name, sound, damaged) in [("a.term", &b"terms"[..], &b"tErms"[..]), ("meta.json", b"{}", b"{} ")]
        {
            write(name, damaged);
            let problem = check(dir.path()).expect_err("damaged").to_string();
            assert!(problem.contains(name), "{problem}");
            write(name, sound);
        }
        let sums = std::fs::read(dir.path().join(FILE)).expect("there");
        for at in 0..sums.len() {
            let mut damaged = sums.clone();
            damaged[at] ^= 1;
            write(FILE, &damaged);
            check(dir.path()).expect_err("damaged");
        }
        std::fs::remove_file(dir.path().join(FILE)).expect("removed");
        parts::write(dir.path(), &[]).expect("written");
        check(dir.path()).expect_err("an index of several parts has checksums");
        std::fs::rename(dir.path().join(parts::FILE), dir.path().join(shapes::FILE)).expect("renamed");
        check(dir.path()).expect_err("an index with shapes has checksums");
        write(FILE, &sums);
        std::fs::remove_file(dir.path().join("a.term")).expect("removed");
        check(dir.path()).expect_err("a file is missing");
    }
}
