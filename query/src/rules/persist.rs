//! The state file: what must survive a restart, written whole and renamed into place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use model::UnixNano;
use serde::{Deserialize, Serialize};

use super::active::ActiveAlert;
use super::outbox::OutboxState;

/// Version of the file's shape.
const VERSION: u32 = 1;

/// Largest state file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Where a rule stands, in files that may have changed since.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RuleKey {
    pub(crate) path: String,
    pub(crate) group: String,
    pub(crate) rule: String,
    /// Which of the group's rules of this name, from 0.
    pub(crate) nth: usize,
}

/// The alerts of one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RuleAlerts {
    pub(crate) key: RuleKey,
    pub(crate) alerts: Vec<ActiveAlert>,
}

/// What the engine and its receivers remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(crate) version: u32,
    pub(crate) saved_at: UnixNano,
    pub(crate) rules: Vec<RuleAlerts>,
    /// When each group was last evaluated, by path and name.
    pub(crate) groups: Vec<(String, String, UnixNano)>,
    pub(crate) outboxes: BTreeMap<String, OutboxState>,
}

impl State {
    pub(crate) fn new(saved_at: UnixNano) -> Self {
        Self { version: VERSION, saved_at, rules: Vec::new(), groups: Vec::new(), outboxes: BTreeMap::new() }
    }

    /// Whether anything but times of evaluation differs.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        self.rules != other.rules || self.outboxes != other.outboxes
    }

    /// Reads a state file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is none of ours.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let length = match fs::metadata(path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
        if length > FILE_BYTES_MAX {
            return Err(wrong(format!("{length} bytes, more than the {FILE_BYTES_MAX} that are read")));
        }
        let state: Self = serde_json::from_slice(&fs::read(path)?)?;
        if state.version != VERSION {
            return Err(wrong(format!("version {} where {VERSION} is expected", state.version)));
        }
        Ok(Some(state))
    }

    /// Writes the file so that after a crash either the old or the new one is there, whole.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}
