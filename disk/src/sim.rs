//! A disk in memory that can lose what was not synced. For tests.
//!
//! Owns: the difference between what a process reads back (*volatile*) and what is there after the
//! power was cut (*durable*). Does not own: time, threads.
//!
//! ```text
//! file     volatile bytes ── sync_data ──► durable bytes     dirty: 512-byte sectors written since
//! folder   volatile names ── sync_dir  ──► durable names     pending: changes since, in order
//! crash    any subset of the dirty sectors and of the pending changes survives, chosen by the seed
//! ```
//!
//! A failed sync leaves its sectors readable and forgets that they were not written, as the page cache
//! of Linux does: a later sync of the same file succeeds and does not make them durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{DiskFile, Fs};

/// What a disk writes as a whole. Bytes.
pub const SECTOR: usize = 512;
const ROOT: usize = 0;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`, nothing done. A sync that fails so forgets its sectors.
    Io,
    /// `ENOSPC`, nothing done.
    NoSpace,
    /// Half of a write is done, then `ENOSPC`. `EIO` for all other operations.
    ShortWrite,
}

/// What was done to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All calls.
    pub operations: u64,
    /// Of these, writes.
    pub writes: u64,
    /// Of these, syncs of files.
    pub syncs: u64,
    /// Of these, syncs of folders.
    pub dir_syncs: u64,
}

/// The disk. Clones are handles of the same one.
#[derive(Clone, Debug, Default)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Dir(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Link(String, Node),
    Unlink(String),
    Rename(String, String, Node),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Link(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Unlink(name) => drop(names.remove(name)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Dir {
    volatile: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<Change>,
}

impl Dir {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.volatile);
        self.pending.push(change);
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    forgotten: BTreeSet<usize>,
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.volatile.len() < end {
            self.volatile.resize(end, 0);
        }
        self.volatile[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..=(end - 1) / SECTOR {
            self.forgotten.remove(&sector);
            self.dirty.insert(sector);
        }
    }

    fn set_len(&mut self, bytes: usize) {
        let cut = bytes..self.volatile.len().max(bytes);
        self.volatile.resize(bytes, 0);
        self.dirty.extend(cut.start / SECTOR..cut.end.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.durable.resize(self.volatile.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.volatile, &mut self.durable, sector);
        }
    }

    fn crash(&self, dice: &mut Dice, keep_percent: u64) -> Self {
        let mut durable = self.durable.clone();
        if dice.percent(keep_percent) {
            durable.resize(self.volatile.len(), 0);
        }
        for sector in self.dirty.union(&self.forgotten) {
            if dice.percent(keep_percent) {
                copy_sector(&self.volatile, &mut durable, *sector);
            }
        }
        Self { volatile: durable.clone(), durable, ..Self::default() }
    }
}

/// Copies what both have of a sector.
pub fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

#[derive(Clone, Debug)]
struct Disk {
    inodes: Vec<Inode>,
    dirs: Vec<Dir>,
    counts: Counts,
    faults: BTreeMap<u64, Fault>,
    failing: Option<Fault>,
    power_off_at: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            inodes: Vec::new(),
            dirs: vec![Dir::default()],
            counts: Counts::default(),
            faults: BTreeMap::new(),
            failing: None,
            power_off_at: u64::MAX,
        }
    }
}

impl Disk {
    /// Counts an operation; the fault it has to have, if any.
    fn operation(&mut self) -> Result<Option<Fault>, io::Error> {
        let number = self.counts.operations;
        self.counts.operations += 1;
        if number >= self.power_off_at {
            return Err(io::Error::other("the power is off"));
        }
        Ok(self.faults.remove(&number).or(self.failing))
    }

    /// An operation that is done or not done.
    fn whole_operation(&mut self) -> io::Result<()> {
        self.operation()?.map_or(Ok(()), |fault| Err(os_error(fault)))
    }

    fn dir(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for name in names(path) {
            match self.dirs[at].volatile.get(&name) {
                Some(Node::Dir(dir)) => at = *dir,
                Some(Node::File(_)) => return Err(Errno::NOTDIR.into()),
                None => return Err(Errno::NOENT.into()),
            }
        }
        Ok(at)
    }

    fn entry(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = names(path).pop().ok_or(Errno::INVAL)?;
        Ok((self.dir(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        let (dir, name) = self.entry(path)?;
        match self.dirs[dir].volatile.get(&name) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir(_)) => Err(Errno::ISDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }
}

fn names(path: &Path) -> Vec<String> {
    let normal = |part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    path.components().filter_map(normal).collect()
}

/// What the operating system says of a fault.
pub fn os_error(fault: Fault) -> io::Error {
    match fault {
        Fault::Io | Fault::ShortWrite => Errno::IO.into(),
        Fault::NoSpace => Errno::NOSPC.into(),
    }
}

impl SimFs {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done since the start.
    pub fn counts(&self) -> Counts {
        self.disk().counts
    }

    /// The operation that comes after `from_now` others fails.
    pub fn fail(&self, from_now: u64, fault: Fault) {
        let mut disk = self.disk();
        let number = disk.counts.operations + from_now;
        disk.faults.insert(number, fault);
    }

    /// Every operation fails, until [`SimFs::heal`].
    pub fn fail_all(&self, fault: Fault) {
        self.disk().failing = Some(fault);
    }

    /// No more of the planned failures happen.
    pub fn heal(&self) {
        let mut disk = self.disk();
        disk.faults.clear();
        disk.failing = None;
    }

    /// The operation that comes after `from_now` others, and all after it, find no disk.
    pub fn power_off(&self, from_now: u64) {
        let mut disk = self.disk();
        disk.power_off_at = disk.counts.operations + from_now;
    }

    /// The disk as it is after a power cut and a restart. This one stays as it was.
    pub fn crash(&self, seed: u64) -> Self {
        let disk = self.disk();
        let mut dice = Dice(seed);
        let keep_percent = [0, 20, 50, 80, 100][dice.below(5) as usize];
        let inodes = disk.inodes.iter().map(|inode| inode.crash(&mut dice, keep_percent)).collect();
        let mut dirs = Vec::with_capacity(disk.dirs.len());
        for dir in &disk.dirs {
            let mut durable = dir.durable.clone();
            for change in &dir.pending {
                if dice.percent(keep_percent) {
                    change.apply(&mut durable);
                }
            }
            dirs.push(Dir { volatile: durable.clone(), durable, pending: Vec::new() });
        }
        Self { disk: Arc::new(Mutex::new(Disk { inodes, dirs, ..Disk::default() })) }
    }

    /// The disk as it is after the process was killed and started again: nothing is lost, and
    /// nothing more is durable than before.
    pub fn kill(&self) -> Self {
        let disk = self.disk();
        let (inodes, dirs) = (disk.inodes.clone(), disk.dirs.clone());
        Self { disk: Arc::new(Mutex::new(Disk { inodes, dirs, ..Disk::default() })) }
    }

    /// Changes a file's bytes behind everyone's back, durably.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let inode = disk.file(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let inode = &mut disk.inodes[inode];
        change(&mut inode.volatile);
        *inode =
            Inode { volatile: inode.volatile.clone(), durable: inode.volatile.clone(), ..Inode::default() };
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    inode: usize,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.fs.disk();
        disk.whole_operation()?;
        let bytes = &disk.inodes[self.inode].volatile;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let read = buffer.len().min(bytes.len() - start);
        buffer[..read].copy_from_slice(&bytes[start..start + read]);
        Ok(read)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.counts.writes += 1;
        let fault = disk.operation()?;
        let inode = &mut disk.inodes[self.inode];
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        match fault {
            None => {
                inode.write(bytes, offset);
                Ok(())
            }
            Some(Fault::ShortWrite) => {
                inode.write(&bytes[..bytes.len() / 2], offset);
                Err(Errno::NOSPC.into())
            }
            Some(fault) => Err(os_error(fault)),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.counts.syncs += 1;
        let fault = disk.operation()?;
        let inode = &mut disk.inodes[self.inode];
        match fault {
            None => {
                inode.sync();
                Ok(())
            }
            Some(fault) => {
                let dirty = std::mem::take(&mut inode.dirty);
                inode.forgotten.extend(dirty);
                Err(os_error(fault))
            }
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.whole_operation()?;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        disk.inodes[self.inode].set_len(bytes);
        Ok(())
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let len = self.fs.disk().inodes[self.inode].volatile.len() as u64;
        self.set_len(bytes.max(len))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.fs.disk().inodes[self.inode].volatile.len() as u64)
    }
}

impl Fs for SimFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut disk = self.disk();
        disk.whole_operation()?;
        let (dir, name) = disk.entry(path)?;
        if disk.dirs[dir].volatile.contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        let inode = disk.inodes.len();
        disk.inodes.push(Inode::default());
        disk.dirs[dir].change(Change::Link(name, Node::File(inode)));
        Ok(Box::new(SimFile { fs: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut disk = self.disk();
        disk.whole_operation()?;
        let inode = disk.file(path)?;
        Ok(Box::new(SimFile { fs: self.clone(), inode }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.disk();
        disk.whole_operation()?;
        let dir = disk.dir(dir)?;
        Ok(disk.dirs[dir].volatile.keys().cloned().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.whole_operation()?;
        let mut at = ROOT;
        for name in names(dir) {
            at = match disk.dirs[at].volatile.get(&name) {
                Some(Node::Dir(dir)) => *dir,
                Some(Node::File(_)) => return Err(Errno::NOTDIR.into()),
                None => {
                    let new = disk.dirs.len();
                    disk.dirs.push(Dir::default());
                    disk.dirs[at].change(Change::Link(name, Node::Dir(new)));
                    new
                }
            };
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.whole_operation()?;
        let (from_dir, from) = disk.entry(from)?;
        let (to_dir, to) = disk.entry(to)?;
        let node = *disk.dirs[from_dir].volatile.get(&from).ok_or(Errno::NOENT)?;
        if from_dir == to_dir {
            disk.dirs[from_dir].change(Change::Rename(from, to, node));
        } else {
            disk.dirs[from_dir].change(Change::Unlink(from));
            disk.dirs[to_dir].change(Change::Link(to, node));
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.whole_operation()?;
        disk.file(path)?;
        let (dir, name) = disk.entry(path)?;
        disk.dirs[dir].change(Change::Unlink(name));
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.whole_operation()?;
        disk.dir(dir)?;
        let (above, name) = disk.entry(dir)?;
        disk.dirs[above].change(Change::Unlink(name));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.counts.dir_syncs += 1;
        disk.whole_operation()?;
        let dir = disk.dir(dir)?;
        let dir = &mut disk.dirs[dir];
        dir.durable = dir.volatile.clone();
        dir.pending.clear();
        Ok(())
    }
}

/// Random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next one.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    /// `true` in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_can_be_lost_and_what_was_synced_cannot() {
        let mut lost = 0;
        for seed in 0..50 {
            let fs = SimFs::default();
            let path = Path::new("/a");
            let file = fs.create(path).expect("new");
            file.write_all_at(&[1; 600], 0).expect("writes");
            file.sync_data().expect("syncs");
            fs.sync_dir(Path::new("/")).expect("syncs");
            file.write_all_at(&[2; 600], 600).expect("writes");
            let bytes = fs.crash(seed).read(path).expect("the name is durable");
            assert_eq!(&bytes[..600], &[1; 600], "seed {seed}");
            lost += u32::from(bytes.len() < 1200 || bytes[600..] != [2; 600]);
        }
        assert!((10..50).contains(&lost), "lost in {lost} of 50");
    }

    #[test]
    fn a_sync_after_a_failed_one_makes_nothing_of_the_first_durable() {
        let fs = SimFs::default();
        let file = fs.create(Path::new("/a")).expect("new");
        fs.sync_dir(Path::new("/")).expect("syncs");
        file.write_all_at(&[1; 512], 0).expect("writes");
        fs.fail(0, Fault::Io);
        file.sync_data().expect_err("planted");
        file.sync_data().expect("the second one claims to work");
        let survived = (0..50).filter(|&seed| fs.crash(seed).read(Path::new("/a")).is_ok_and(|b| b[0] == 1));
        assert!(survived.count() < 45);
        assert_eq!(fs.kill().read(Path::new("/a")).expect("there"), [1; 512]);
    }

    #[test]
    fn a_name_is_lost_unless_its_folder_was_synced() {
        let fs = SimFs::default();
        fs.create(Path::new("/a")).expect("new").sync_data().expect("syncs");
        let found = (0..50).filter(|&seed| fs.crash(seed).open(Path::new("/a")).is_ok()).count();
        assert!((1..50).contains(&found), "found in {found} of 50");
        fs.sync_dir(Path::new("/")).expect("syncs");
        assert!((0..50).all(|seed| fs.crash(seed).open(Path::new("/a")).is_ok()));
    }
}
