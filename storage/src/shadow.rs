//! A real folder whose power can be cut. For tests of the whole store, whose Parquet and tantivy files are on a
//! real file system.
//!
//! Owns: what of the folder is durable, kept beside it in memory. Does not own: SQLite's files, which are taken to
//! be durable as they are: `synchronous=EXTRA` is its promise.
//!
//! ```text
//! file     volatile: its bytes now    durable: its bytes at the last sync_data
//! folder   volatile: its names now    durable: its names at the last sync_dir
//! image    a copy of the folder: of each sector and each name one or the other, chosen by the seed
//! ```
//!
//! Images are taken right before operations, while the store goes on: one run gives as many power cuts as one
//! likes. Inodes tell files apart, so the folder should be on a tmpfs, which does not use them again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use tempfile::TempDir;

use disk::sim::{Dice, Fault, SECTOR, copy_sector, os_error};
use disk::{DiskFile, Fs, RealFs, read_range};

/// A temporary folder in memory, where there is such a thing.
pub(crate) fn memory_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// What a power cut would have left.
#[derive(Debug)]
pub(crate) struct Image {
    /// Before which operation.
    pub(crate) operation: u64,
    /// What [`ShadowFs::mark`] said then.
    pub(crate) mark: usize,
    pub(crate) dir: TempDir,
}

type Observer = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Disk {
    files: HashMap<u64, Vec<u8>>,
    /// Sectors whose write a failed sync has forgotten.
    forgotten: HashMap<u64, BTreeSet<usize>>,
    dirs: HashMap<u64, BTreeMap<String, u64>>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    failing: Option<Fault>,
    faults_seen: u64,
    mark: usize,
    wanted: BTreeMap<u64, u64>,
    images: Vec<Image>,
    observer: Option<Observer>,
}

/// The folder. Clones are handles of the same one.
#[derive(Clone)]
pub(crate) struct ShadowFs {
    root: PathBuf,
    disk: Arc<Mutex<Disk>>,
}

impl fmt::Debug for ShadowFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowFs").field("root", &self.root).finish_non_exhaustive()
    }
}

impl ShadowFs {
    /// Of a folder that is there; all in it is durable.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Disk::default();
        disk.take_as_durable(root).expect("the folder can be read");
        Self { root: root.to_owned(), disk: Arc::new(Mutex::new(disk)) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// The operation that comes after `from_now` others fails.
    pub(crate) fn fail(&self, from_now: u64, fault: Fault) {
        let mut disk = self.disk();
        let number = disk.operations + from_now;
        disk.faults.insert(number, fault);
    }

    /// Every operation fails, until [`ShadowFs::heal`].
    pub(crate) fn fail_all(&self, fault: Fault) {
        self.disk().failing = Some(fault);
    }

    /// No more of the planned failures happen.
    pub(crate) fn heal(&self) {
        let mut disk = self.disk();
        disk.faults.clear();
        disk.failing = None;
    }

    /// Operations that failed as planned.
    pub(crate) fn faults_seen(&self) -> u64 {
        self.disk().faults_seen
    }

    /// What the oracle knows from now on: images carry it.
    pub(crate) fn mark(&self, mark: usize) {
        self.disk().mark = mark;
    }

    /// An image is taken before the operation that comes after `from_now` others.
    pub(crate) fn want_image(&self, from_now: u64, seed: u64) {
        let mut disk = self.disk();
        let number = disk.operations + from_now;
        disk.wanted.insert(number, seed);
    }

    /// The images that were taken.
    pub(crate) fn take_images(&self) -> Vec<Image> {
        std::mem::take(&mut self.disk().images)
    }

    /// Called before each operation, on the thread that does it.
    pub(crate) fn observe(&self, observer: Option<Observer>) {
        self.disk().observer = observer;
    }

    fn operation(&self) -> Option<Fault> {
        let mut disk = self.disk();
        let number = disk.operations;
        disk.operations += 1;
        if let Some(seed) = disk.wanted.remove(&number) {
            let dir = disk.image(&self.root, seed).expect("the image is written");
            let mark = disk.mark;
            disk.images.push(Image { operation: number, mark, dir });
        }
        let fault = disk.faults.remove(&number).or(disk.failing);
        disk.faults_seen += u64::from(fault.is_some());
        let observer = disk.observer.clone();
        drop(disk);
        if let Some(observer) = observer {
            observer();
        }
        fault
    }

    /// An operation that is done or not done.
    fn whole_operation(&self) -> io::Result<()> {
        self.operation().map_or(Ok(()), |fault| Err(os_error(fault)))
    }

    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> io::Result<Box<dyn DiskFile>> {
        let inode = std::fs::metadata(path)?.ino();
        Ok(Box::new(ShadowFile { fs: self.clone(), inode, file }))
    }
}

impl Disk {
    fn take_as_durable(&mut self, dir: &Path) -> io::Result<()> {
        self.dirs.insert(std::fs::metadata(dir)?.ino(), names(dir)?);
        for name in names(dir)?.keys() {
            let path = dir.join(name);
            let metadata = std::fs::metadata(&path)?;
            if metadata.is_dir() {
                self.take_as_durable(&path)?;
            } else {
                self.files.insert(metadata.ino(), std::fs::read(&path)?);
            }
        }
        Ok(())
    }

    fn image(&self, root: &Path, seed: u64) -> io::Result<TempDir> {
        let target = memory_dir();
        let mut dice = Dice(seed);
        let keep_percent = [0, 0, 30, 70, 100][dice.below(5) as usize];
        let mut draw = Draw { disk: self, dice, keep_percent };
        let inode = std::fs::metadata(root)?.ino();
        draw.dir(Some(root), inode, target.path())?;
        for name in names(root)?.keys().filter(|name| name.starts_with("catalog.sqlite")) {
            if_there(std::fs::copy(root.join(name), target.path().join(name)))?;
        }
        Ok(target)
    }
}

struct Draw<'a> {
    disk: &'a Disk,
    dice: Dice,
    keep_percent: u64,
}

impl Draw<'_> {
    /// `now`: where the folder is, unless it was removed.
    fn dir(&mut self, now: Option<&Path>, inode: u64, target: &Path) -> io::Result<()> {
        std::fs::create_dir_all(target)?;
        let volatile = now.and_then(|now| if_there(names(now)).transpose()).transpose()?.unwrap_or_default();
        let durable = self.disk.dirs.get(&inode).cloned().unwrap_or_default();
        let all: BTreeSet<&String> = volatile.keys().chain(durable.keys()).collect();
        for name in all {
            if name.starts_with("catalog.sqlite") || ["lock", "reserve"].contains(&name.as_str()) {
                continue;
            }
            let (is_now, was) = (volatile.get(name), durable.get(name));
            let keeps_now = is_now == was || self.dice.percent(self.keep_percent);
            let Some(inode) = (if keeps_now { is_now } else { was }) else { continue };
            let path = now.map(|now| now.join(name)).filter(|_| is_now == Some(inode));
            if self.disk.dirs.contains_key(inode) || path.as_ref().is_some_and(|path| path.is_dir()) {
                self.dir(path.as_deref(), *inode, &target.join(name))?;
            } else {
                let is_named = path.is_some();
                let volatile = path.and_then(|path| if_there(std::fs::read(path)).transpose()).transpose()?;
                if is_named && volatile.is_none() && !self.disk.files.contains_key(inode) {
                    continue;
                }
                std::fs::write(target.join(name), self.file(volatile, *inode))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, volatile: Option<Vec<u8>>, inode: u64) -> Vec<u8> {
        let mut bytes = self.disk.files.get(&inode).cloned().unwrap_or_default();
        let Some(volatile) = volatile else { return bytes };
        if self.dice.percent(self.keep_percent) {
            bytes.resize(volatile.len(), 0);
        }
        for sector in 0..volatile.len().div_ceil(SECTOR) {
            if self.dice.percent(self.keep_percent) {
                copy_sector(&volatile, &mut bytes, sector);
            }
        }
        bytes
    }
}

/// Names in a folder and their inodes.
fn names(dir: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(metadata) = if_there(entry.metadata())? {
            names.insert(entry.file_name().to_string_lossy().into_owned(), metadata.ino());
        }
    }
    Ok(names)
}

/// What was read, unless another thread has taken it away meanwhile: the power may be cut before that or after.
fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

#[derive(Debug)]
struct ShadowFile {
    fs: ShadowFs,
    inode: u64,
    file: Box<dyn DiskFile>,
}

impl ShadowFile {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.file.len()?).map_err(io::Error::other)?;
        read_range(&*self.file, 0, len)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let (start, end) = (offset as usize / SECTOR, (offset as usize + bytes.len()).div_ceil(SECTOR));
        if let Some(forgotten) = self.fs.disk().forgotten.get_mut(&self.inode) {
            forgotten.retain(|sector| !(start..end).contains(sector));
        }
        Ok(())
    }
}

impl DiskFile for ShadowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.whole_operation()?;
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.fs.operation() {
            None => self.write(bytes, offset),
            Some(Fault::ShortWrite) => {
                self.write(&bytes[..bytes.len() / 2], offset)?;
                Err(Errno::NOSPC.into())
            }
            Some(fault) => Err(os_error(fault)),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let fault = self.fs.operation();
        let volatile = self.bytes()?;
        let mut disk = self.fs.disk();
        let disk = &mut *disk;
        let durable = disk.files.entry(self.inode).or_default();
        let forgotten = disk.forgotten.entry(self.inode).or_default();
        if let Some(fault) = fault {
            let sector = |bytes: &[u8], at: usize| {
                bytes.get(at * SECTOR..).map(|rest| rest[..rest.len().min(SECTOR)].to_vec())
            };
            forgotten.extend(
                (0..volatile.len().div_ceil(SECTOR))
                    .filter(|at| sector(&volatile, *at) != sector(durable, *at)),
            );
            return Err(os_error(fault));
        }
        durable.resize(volatile.len(), 0);
        for at in (0..volatile.len().div_ceil(SECTOR)).filter(|at| !forgotten.contains(at)) {
            copy_sector(&volatile, durable, at);
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.fs.whole_operation()?;
        self.file.set_len(bytes)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.fs.whole_operation()?;
        self.file.preallocate(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl Fs for ShadowFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.whole_operation()?;
        let file = RealFs.create(path)?;
        self.file(path, file)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.whole_operation()?;
        let file = RealFs.open(path)?;
        self.file(path, file)
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.whole_operation()?;
        let file = RealFs.open_write(path)?;
        self.file(path, file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.whole_operation()?;
        RealFs.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.whole_operation()?;
        RealFs.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.whole_operation()?;
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.whole_operation()?;
        RealFs.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.whole_operation()?;
        RealFs.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.whole_operation()?;
        // Folders above the data folder are not ours.
        if !dir.starts_with(&self.root) {
            return Ok(());
        }
        let (inode, names) = (std::fs::metadata(dir)?.ino(), names(dir)?);
        self.disk().dirs.insert(inode, names);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_holds_what_was_synced_under_names_that_were_synced() {
        let (mut unsynced, mut unnamed) = (0, 0);
        for seed in 0..60 {
            let dir = memory_dir();
            let fs = ShadowFs::of(dir.path());
            let path = dir.path().join("a");
            let file = fs.create(&path).expect("new");
            file.write_all_at(&[1; 600], 0).expect("writes");
            file.sync_data().expect("syncs");
            fs.sync_dir(dir.path()).expect("syncs");
            file.write_all_at(&[2; 600], 600).expect("writes");
            fs.create(&dir.path().join("b")).expect("new").sync_data().expect("syncs");
            fs.want_image(0, seed);
            fs.remove_file(&path).expect("removes");
            let images = fs.take_images();
            let image = images[0].dir.path();
            let bytes = std::fs::read(image.join("a")).expect("its name is durable");
            assert_eq!(&bytes[..600], &[1; 600], "seed {seed}");
            unsynced += u32::from(bytes.len() < 1200 || bytes[600..] != [2; 600]);
            unnamed += u32::from(!image.join("b").exists());
            assert!(!path.exists(), "the folder itself goes on");
        }
        assert!((20..60).contains(&unsynced) && (20..60).contains(&unnamed), "{unsynced} {unnamed}");
    }
}
