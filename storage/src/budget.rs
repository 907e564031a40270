//! What the process may use: memory, and how much of the disk has to stay free.
//!
//! Owns: finding out what there is, the low-water mark of the disk, the reserve file. Does not own: who
//! draws on the memory (`Store` for the head, the collector for requests), what is refused.
//!
//! ```text
//! memory   setting, else 60 % of the cgroup's limit, else 60 % of RAM
//! disk     │ used │ reserve │        free         │
//!                           ├─ mark ─┤ below it: appends are refused, queries go on; above 1.25 × mark: resumed
//!          reserve: a file that is given up when the disk is full, so that the catalog can still be
//!          written: for the start, for sealing, for retention
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Of what the cgroup or the machine has. The rest is for the system and for what is not counted.
const MEMORY_PERCENT: u64 = 60;
/// When nothing tells how much memory there is. 1 GiB.
const MEMORY_UNKNOWN: u64 = 1 << 30;
/// The mark, when it is not set: so much, or so many percent of a smaller disk. 1 GiB.
const MARK_BYTES_MAX: u64 = 1 << 30;
const MARK_PERCENT: u64 = 5;
/// The same of the reserve. 64 MiB.
const RESERVE_BYTES_MAX: u64 = 64 << 20;
const RESERVE_PERCENT: u64 = 2;

/// Threads that are worth having. Asked once: the answer is made of files of the kernel, which a look-up would wait for.
pub(crate) fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *CORES
}

/// Memory for the process when no setting says how much. Bytes.
pub fn memory_bytes_default() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let limit = memory_limit(&read).unwrap_or(MEMORY_UNKNOWN);
    usize::try_from(limit / 100 * MEMORY_PERCENT).unwrap_or(usize::MAX)
}

/// The least of the limits of the cgroups the process is in and of what the machine has.
fn memory_limit(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let bytes = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let mut limits = Vec::new();
    for line in read("/proc/self/cgroup").unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let above = Path::new(path).ancestors().filter_map(Path::to_str);
        limits
            .extend(above.filter_map(|path| bytes(&format!("{root}{}/{file}", path.trim_end_matches('/')))));
    }
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:").map(str::to_owned))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    limits.into_iter().chain(machine).min()
}

/// Space of a file system. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

fn space(dir: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(Space {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        total: found.f_blocks.saturating_mul(found.f_frsize),
    })
}

/// Watches the disk of the data folder.
#[derive(Debug)]
pub(crate) struct Disk {
    data_dir: PathBuf,
    mark: Option<u64>,
    state: Mutex<DiskState>,
}

/// What the last look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskState {
    /// Bytes.
    pub(crate) free: u64,
    /// Too little is free.
    pub(crate) is_low: bool,
}

impl Disk {
    /// Looks once. `mark`: bytes that have to be free, or the default.
    pub(crate) fn new(data_dir: &Path, mark: Option<u64>) -> Self {
        let disk = Self { data_dir: data_dir.to_owned(), mark, state: Mutex::default() };
        disk.look();
        disk
    }

    /// What the last look found.
    pub(crate) fn state(&self) -> DiskState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many bytes can be written without bringing the disk near its mark.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        let Ok(found) = space(&self.data_dir) else { return true };
        let mark = self.mark.unwrap_or_else(|| share(found.total, MARK_PERCENT, MARK_BYTES_MAX));
        has_room_for(found.free, mark, bytes)
    }

    /// Looks how much is free, and gives up the reserve or takes it again.
    pub(crate) fn look(&self) -> DiskState {
        // A disk that does not say how full it is refuses by itself.
        let Ok(found) = space(&self.data_dir) else { return self.state() };
        let mark = self.mark.unwrap_or_else(|| share(found.total, MARK_PERCENT, MARK_BYTES_MAX));
        let reserve = share(found.total, RESERVE_PERCENT, RESERVE_BYTES_MAX);
        // Who sets no mark does not want the disk guarded.
        let found = if mark == 0 { found } else { self.keep_reserve(found, mark, reserve) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_low = state.is_low;
        state.free = found.free;
        state.is_low = is_low(was_low, found.free, mark);
        if state.is_low != was_low {
            let (free, dir) = (found.free, self.data_dir.display());
            if state.is_low {
                tracing::error!(
                    "the disk of `{dir}` is full: {free} bytes are free, {mark} have to be; nothing is taken until there is room"
                );
            } else {
                tracing::info!("the disk of `{dir}` has room again: {free} bytes");
            }
        }
        *state
    }

    fn keep_reserve(&self, found: Space, mark: u64, reserve: u64) -> Space {
        let path = self.data_dir.join("reserve");
        let is_there = path.exists();
        let changed = if is_there && found.free < reserve {
            std::fs::remove_file(&path)
        } else if !is_there && found.free > mark.saturating_add(2 * reserve) {
            take_reserve(&path, reserve)
        } else {
            return found;
        };
        if let Err(error) = changed {
            tracing::debug!("the reserve `{}`: {error}", path.display());
        }
        space(&self.data_dir).unwrap_or(found)
    }
}

fn share(total: u64, percent: u64, max: u64) -> u64 {
    (total / 100 * percent).min(max)
}

/// Whether too little is free; a quarter more has to be free to end it.
fn is_low(was_low: bool, free: u64, mark: u64) -> bool {
    if was_low { free < mark.saturating_add(mark / 4) } else { free < mark }
}

/// Whether more than the mark and a quarter stays free; who sets no mark does not want the disk guarded.
fn has_room_for(free: u64, mark: u64, bytes: u64) -> bool {
    mark == 0 || free >= mark.saturating_add(mark / 4).saturating_add(bytes)
}

fn take_reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let file = std::fs::File::create(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).or_else(|error| {
        // A reserve that holds nothing is none.
        std::fs::remove_file(path)?;
        Err(io::Error::from(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        memory_limit(&|path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_tightest_cgroup_above_the_process_bounds_the_memory() {
        let machine = ("/proc/meminfo", "MemTotal:        8000000 kB\nMemFree:  1 kB\n");
        assert_eq!(limit(&[machine]), Some(8_192_000_000));
        let unified = ("/proc/self/cgroup", "0::/pod/app\n");
        let files = [
            machine,
            unified,
            ("/sys/fs/cgroup/pod/app/memory.max", "max\n"),
            ("/sys/fs/cgroup/pod/memory.max", "536870912\n"),
        ];
        assert_eq!(limit(&files), Some(536_870_912));
        let old = [
            machine,
            ("/proc/self/cgroup", "5:cpu:/a\n4:memory,x:/docker/1\n"),
            ("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
        ];
        assert_eq!(limit(&old), Some(1_000));
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("/proc/self/cgroup", ":::\nx\n"), ("/proc/meminfo", "MemTotal: much")]), None);
    }

    #[test]
    fn what_is_low_stays_low_until_a_quarter_more_is_free() {
        assert!(!is_low(false, 100, 100));
        assert!(is_low(false, 99, 100));
        assert!(is_low(true, 124, 100));
        assert!(!is_low(true, 125, 100));
        assert!(is_low(false, 5, u64::MAX));
    }

    #[test]
    fn what_is_written_in_the_background_leaves_more_than_the_mark() {
        assert!(has_room_for(225, 100, 100));
        assert!(!has_room_for(224, 100, 100));
        assert!(has_room_for(0, 0, 100));
        assert!(!has_room_for(5, u64::MAX, 1));
    }
}
