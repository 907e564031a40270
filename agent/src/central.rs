//! What the collector handed out, on disk: the configuration that is in use, the one that is being tried, the one that was
//! given up. `central.json` in the data directory.
//!
//! ```text
//!            offered ─► validated ─► tried ── does well for [central] trial ─► good
//!                          │           ├── an input fails, or it is not ready at the end ─► given up ─► last good one
//!                          └─ wrong    └── the process ends: found here at the next start ─┘
//! ```
//!
//! Invariant: what is being tried is on disk before it is put to use, so that one that takes the process with
//! it is not tried again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::agents::PushedConfiguration;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::whole::replace;

/// A version that is not used, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Its number.
    pub version: u64,
    /// Why.
    pub error: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Saved {
    good: Option<PushedConfiguration>,
    trial: Option<PushedConfiguration>,
    given_up: Option<GivenUp>,
}

/// The configurations that the collector handed out.
#[derive(Debug)]
pub struct Central {
    path: PathBuf,
    saved: Saved,
}

impl Central {
    /// Reads what an earlier run left. What it was trying when it ended is given up.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join("central.json");
        let mut saved = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Saved>(&bytes).unwrap_or_else(|error| {
                // The collector still knows what is to be used; nothing is lost by asking it again.
                tracing::warn!(path = %path.display(), %error, "not understood, and left out");
                Saved::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::default(),
            Err(error) => return Err(Error::io(format!("cannot read `{}`", path.display()), error)),
        };
        if let Some(trial) = saved.trial.take() {
            let error = "the agent ended while it tried it".to_owned();
            saved.given_up = Some(GivenUp { version: trial.version, error });
        }
        Ok(Self { path, saved })
    }

    /// Whether it is kept in this data directory.
    pub fn is_in(&self, data_dir: &Path) -> bool {
        self.path.parent() == Some(data_dir)
    }

    /// The one to run with.
    pub fn current(&self) -> Option<&PushedConfiguration> {
        self.saved.trial.as_ref().or(self.saved.good.as_ref())
    }

    /// The one that did well.
    pub fn good(&self) -> Option<&PushedConfiguration> {
        self.saved.good.as_ref()
    }

    /// Whether the current one is being tried.
    pub fn is_trial(&self) -> bool {
        self.saved.trial.is_some()
    }

    /// The last one that was given up.
    pub fn given_up(&self) -> Option<&GivenUp> {
        self.saved.given_up.as_ref()
    }

    /// Notes that `configuration` is about to be tried.
    ///
    /// # Errors
    /// When that cannot be made durable: it must not be tried then.
    pub fn begin(&mut self, configuration: PushedConfiguration) -> io::Result<()> {
        self.change(|saved| saved.trial = Some(configuration))
    }

    /// The one that was tried did well.
    ///
    /// # Errors
    /// When that cannot be made durable.
    pub fn keep(&mut self) -> io::Result<()> {
        self.change(|saved| {
            if let Some(trial) = saved.trial.take() {
                saved.good = Some(trial);
                saved.given_up = None;
            }
        })
    }

    /// The process is asked to end before the trial was over: the collector will hand it out again.
    ///
    /// # Errors
    /// When that cannot be made durable.
    pub fn postpone(&mut self) -> io::Result<()> {
        self.change(|saved| saved.trial = None)
    }

    /// `version` is not used.
    ///
    /// # Errors
    /// When that cannot be made durable.
    pub fn give_up(&mut self, version: u64, error: String) -> io::Result<()> {
        self.change(|saved| {
            saved.trial = None;
            if saved.good.as_ref().is_some_and(|good| good.version == version) {
                saved.good = None;
            }
            saved.given_up = Some(GivenUp { version, error });
        })
    }

    /// The collector takes back what it handed out.
    ///
    /// # Errors
    /// When that cannot be made durable.
    pub fn take_back(&mut self) -> io::Result<()> {
        self.change(|saved| (saved.good, saved.trial) = (None, None))
    }

    fn change(&mut self, change: impl FnOnce(&mut Saved)) -> io::Result<()> {
        change(&mut self.saved);
        let text = serde_json::to_vec_pretty(&self.saved)?;
        replace(&disk::RealFs, &self.path, |out| out.write_all(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(version: u64) -> PushedConfiguration {
        PushedConfiguration { version, text: format!("# {version}") }
    }

    fn open(folder: &Path) -> Central {
        Central::open(folder).expect("readable")
    }

    #[test]
    fn what_did_well_outlives_the_process_and_what_it_died_of_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut central = open(folder.path());
        central.begin(pushed(1)).expect("saved");
        central.keep().expect("saved");
        central.begin(pushed(2)).expect("saved");
        assert_eq!(central.current(), Some(&pushed(2)));
        // The process ends here.
        let central = open(folder.path());
        assert_eq!((central.current(), central.is_trial()), (Some(&pushed(1)), false));
        let given_up = central.given_up().expect("given up");
        assert_eq!((given_up.version, given_up.error.contains("ended")), (2, true));
    }

    #[test]
    fn what_is_given_up_or_taken_back_is_not_run_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut central = open(folder.path());
        central.begin(pushed(1)).expect("saved");
        central.keep().expect("saved");
        central.begin(pushed(2)).expect("saved");
        central.give_up(2, "no".to_owned()).expect("saved");
        assert_eq!(open(folder.path()).current(), Some(&pushed(1)));
        central.take_back().expect("saved");
        assert_eq!(open(folder.path()).current(), None);
        central.begin(pushed(3)).expect("saved");
        central.postpone().expect("saved");
        assert_eq!(open(folder.path()).given_up().map(|given_up| given_up.version), Some(2));
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("central.json"), "{").expect("written");
        assert_eq!(open(folder.path()).current(), None);
    }
}
