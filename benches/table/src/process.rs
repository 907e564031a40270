//! What the kernel says of a process (`man 5 proc`), and the page cache.

use std::io;
use std::time::Duration;

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Process(u32);

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Of which belongs to no file.
    pub anonymous: u64,
    /// Resident at most.
    pub peak: u64,
}

impl Process {
    /// The one that measures.
    pub fn own() -> Self {
        Self(std::process::id())
    }

    /// Another one, by its number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Processor time since it started, user and system, of all its threads, in steps of a hundredth of a second.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu_time(self) -> io::Result<Duration> {
        let stat = self.read("stat")?;
        ticks(&stat).map(|ticks| Duration::from_millis(ticks * 10)).ok_or_else(|| self.odd("stat", "times"))
    }

    /// Its memory.
    ///
    /// # Errors
    /// When it is gone.
    pub fn memory(self) -> io::Result<Memory> {
        let status = self.read("status")?;
        let bytes = |name: &str| bytes(&status, name).ok_or_else(|| self.odd("status", name));
        Ok(Memory { resident: bytes("VmRSS:")?, anonymous: bytes("RssAnon:")?, peak: bytes("VmHWM:")? })
    }

    fn read(self, file: &str) -> io::Result<String> {
        let path = self.path(file);
        std::fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("reading `{path}`: {error}")))
    }

    fn odd(self, file: &str, what: &str) -> io::Error {
        io::Error::other(format!("`{}` does not tell `{what}`: has the process ended?", self.path(file)))
    }

    fn path(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0)
    }
}

/// User and system time. The name before them may have spaces and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn bytes(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Makes the kernel forget what it has read of files.
///
/// # Errors
/// Unless root asks.
pub fn drop_page_cache() -> io::Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "3")
        .map_err(|error| io::Error::new(error.kind(), format!("dropping the page cache: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_whatever_the_process_is_called() {
        let stat = "7 (a) 9 (b c) S 1 7 7 0 -1 4194304 90 0 1 0 120 30 5 6 20 0 4 0 100";
        assert_eq!((ticks(stat), ticks("7 (a) S 1"), ticks("")), (Some(150), None, None));
        let status = "Name:\tVmRSS\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!((bytes(status, "VmHWM:"), bytes(status, "VmRSS:")), (Some(2 << 20), Some(1 << 20)));
        assert_eq!((bytes(status, "RssAnon:"), bytes("VmRSS: much", "VmRSS:")), (None, None));
    }

    #[test]
    fn this_process_has_memory_and_one_that_is_not_there_is_an_error() {
        let memory = Process::own().memory().expect("there");
        assert!(memory.peak >= memory.anonymous && memory.resident > 0, "{memory:?}");
        Process::own().cpu_time().expect("there");
        let error = Process::new(u32::MAX).memory().expect_err("no such process");
        assert!(error.to_string().contains("/proc/4294967295/status"), "{error}");
    }
}
