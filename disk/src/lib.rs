//! The file system as the store's write-ahead log and the agent's spool see it: what they need, and no more.
//!
//! Owns: the seam between them and the operating system, so that tests can lose un-synced bytes, fail the
//! n-th call and cut the power ([`sim`]). Does not own: what is written, or when it is synced.
//!
//! Invariants, which every implementation keeps: bytes are durable only after [`DiskFile::sync_data`]
//! returned `Ok`; a name is durable only after [`Fs::sync_dir`] of its folder returned `Ok`; after a
//! failed sync nothing is known about what was written since the one before.

mod appender;
pub mod sim;

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub use appender::Appender;

/// An open file. Offsets are given with every call; there is no position.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads at most `buffer.len()` bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    ///
    /// # Errors
    /// What the operating system says.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the contents and the length durable. After an error, never try again: the page cache
    /// has forgotten which pages were not written.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// What the operating system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Reserves space and extends the file with zeros to `bytes`. A file system that cannot reserve
    /// is no error.
    ///
    /// # Errors
    /// What the operating system says, above all that the disk is full.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As [`DiskFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Files by path. Every method's error is the operating system's.
pub trait Fs: Send + Sync + Debug {
    /// Creates a file for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Names in a folder, sorted. A name that is not UTF-8 is given with replacement characters.
    ///
    /// # Errors
    /// `NotFound` when there is no such folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a folder and the folders above it; none of the names is durable yet.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Renames, replacing a file of the new name.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with all in it.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The whole file.
    ///
    /// # Errors
    /// What the operating system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        read_range(&*file, 0, len)
    }
}

/// At most `len` bytes at `offset`; fewer only at the end of the file.
///
/// # Errors
/// What the operating system says.
pub fn read_range(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Creates `dir` and the folders above it, and makes their names durable. Folders further up than its
/// parent may belong to others: where they may not be synced, they are taken to be durable.
///
/// # Errors
/// What the operating system says of `dir` and its parent.
pub fn create_dir_durable(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    fs.create_dir_all(dir)?;
    for (distance, above) in dir.ancestors().skip(1).enumerate() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match fs.sync_dir(above) {
            Err(error) if distance == 0 || !is_not_ours(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn is_not_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem)
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

#[derive(Debug)]
struct RealFile(File);

impl RealFile {
    fn boxed(file: File) -> Box<dyn DiskFile> {
        Box::new(Self(file))
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        use rustix::io::Errno;
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            result => result.map_err(io::Error::from),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Fs for RealFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path).map(RealFile::boxed)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        File::open(path).map(RealFile::boxed)
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        OpenOptions::new().read(true).write(true).open(path).map(RealFile::boxed)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}
