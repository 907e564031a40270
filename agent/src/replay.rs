//! Sending a file again: `silmari-agent replay PATH`.
//!
//! A replay is an agent of its own with one file, an identity of its own, and a data directory that is gone
//! afterwards. So the file is read by the same code, with the processors of its table; its records travel under a new
//! stream, exactly once within the replay; and the positions of the agent that reads the file, which may be
//! at work, are not touched. Records that the store has already are there twice afterwards: that is what a
//! replay is for, after a loss or a change of the table.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, TimeRange};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, FileSettings, StartAt};
use crate::input::file::matches;
use crate::status::{FileStatus, Status};
use crate::{Agent, Error, ErrorKind};

/// How often is looked whether all of it was acknowledged.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What to send again.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The file.
    pub path: PathBuf,
    /// The `[files.NAME]` table to read it with; the one that matches it by default.
    pub source: Option<String>,
    /// Only records of this time; a record without a time of its own has that of the one before it.
    pub time: TimeRange,
}

impl Replay {
    /// Sends the file; the counters at the end. `see` gets them now and then. When `shutdown` comes first, what
    /// was sent until then is in the counters.
    ///
    /// # Errors
    /// When the file cannot be read or no table fits, or a part of the agent ends that should not.
    pub async fn run(
        &self,
        config: &Config,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
        mut see: impl FnMut(&Status),
    ) -> Result<Status, Error> {
        let folder = tempfolder(&clock)?;
        let agent = Agent::start(self.config(config, folder.path())?, clock).await?;
        let shared = agent.shared();
        let stop = shutdown.child_token();
        let mut working = tokio::spawn(agent.run(stop.clone()));
        loop {
            tokio::select! {
                ended = &mut working => {
                    return match ended {
                        Ok(Ok(())) => Ok(shared.status()),
                        Ok(Err(error)) => Err(error),
                        Err(error) => Err(Error::new(ErrorKind::Runtime, format!("the replay failed: {error}"))),
                    };
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let status = shared.status();
            see(&status);
            match progress(&status) {
                Progress::UnderWay => {}
                Progress::Done => stop.cancel(),
                Progress::NotRead(reason) => {
                    stop.cancel();
                    drop(working.await);
                    let path = self.path.display();
                    return Err(Error::new(ErrorKind::Runtime, format!("`{path}` is not read: {reason}")));
                }
            }
        }
    }

    /// The configuration of an agent that reads this file, once, and nothing else.
    fn config(&self, config: &Config, data_dir: &Path) -> Result<Config, Error> {
        let wrong = |problem: String| Error::new(ErrorKind::Config, problem);
        let path = std::path::absolute(&self.path)
            .map_err(|error| Error::io(format!("cannot find `{}`", self.path.display()), error))?;
        let is_file = std::fs::File::open(&path)
            .and_then(|file| Ok(file.metadata()?.is_file()))
            .map_err(|error| Error::io(format!("cannot read `{}`", path.display()), error))?;
        if !is_file {
            return Err(wrong(format!("`{}` is no regular file: name a log file", path.display())));
        }
        let (name, settings) = match &self.source {
            Some(name) => config.files.get_key_value(name).ok_or_else(|| {
                let names: Vec<&str> = config.files.keys().map(String::as_str).collect();
                wrong(format!("there is no table [files.{name}]: there is {}", names.join(", ")))
            })?,
            None => config.files.iter().find(|(_, settings)| matches(settings, &path)).ok_or_else(|| {
                wrong(format!("no [files.NAME] table matches `{}`: name one with --source", path.display()))
            })?,
        };
        let file = FileSettings {
            include: vec![globset::escape(&path.to_string_lossy())],
            exclude: Vec::new(),
            start_at: StartAt::Beginning,
            is_read_once: true,
            time: Some(self.time).filter(|time| *time != TimeRange::ALL),
            ..settings.clone()
        };
        let mut replay = Config {
            agent: config.agent.clone(),
            collector: config.collector.clone(),
            files: [(name.clone(), file)].into(),
            ..Config::default()
        };
        replay.agent.data_dir = data_dir.to_path_buf();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        replay.agent.instance = Some(format!("replay of {name}"));
        Ok(replay)
    }
}

/// How far a replay is.
enum Progress {
    UnderWay,
    /// Every byte was read, and everything in it was acknowledged or left out.
    Done,
    /// Nothing of it is read, and why.
    NotRead(String),
}

fn progress(status: &Status) -> Progress {
    let waiting: u64 = status.flows.iter().map(|flow| flow.buffered_records).sum();
    let has_read = status.flows.iter().any(|flow| flow.input_records > 0);
    // A compressed file that was read to its end is one that is not read any more.
    let is_read = |file: &FileStatus| match &*file.state {
        "reading" => file.acked >= file.size,
        state => state == "not_read" && has_read,
    };
    match status.files.first() {
        Some(file) if file.state == "not_read" && !has_read => {
            Progress::NotRead(file.reason.clone().unwrap_or_default())
        }
        Some(_) if waiting == 0 && status.files.iter().all(is_read) => Progress::Done,
        _ => Progress::UnderWay,
    }
}

/// A folder that is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

fn tempfolder(clock: &Arc<dyn Clock>) -> Result<Folder, Error> {
    let name = format!("silmari-replay-{}-{}", std::process::id(), clock.now().0);
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path)
        .map_err(|error| Error::io(format!("cannot make the folder `{}`", path.display()), error))?;
    Ok(Folder(path))
}
