//! What can stop the agent, and the exit code that says so.

use std::fmt;

/// Exit codes of `silmari-agent`.
pub mod exit_code {
    /// Ended as asked.
    pub const OK: u8 = 0;
    /// Failed while starting or running.
    pub const RUNTIME: u8 = 1;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 2;
    /// Another agent uses the data directory.
    pub const LOCKED: u8 = 3;
    /// The data directory cannot be understood.
    pub const DAMAGED: u8 = 4;
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Mend the configuration.
    Config,
    /// Stop the other agent or choose another `data_dir`.
    Locked,
    /// Move the named file away, or restore it.
    Damaged,
    /// Look at the cause: a port in use, a full disk.
    Runtime,
}

/// Why the agent did not start or ended early.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<std::io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        Self { kind: ErrorKind::Runtime, message: message.into(), source: Some(source) }
    }

    /// What to do about it.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The process's exit code for it.
    pub const fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Config => exit_code::CONFIG,
            ErrorKind::Locked => exit_code::LOCKED,
            ErrorKind::Damaged => exit_code::DAMAGED,
            ErrorKind::Runtime => exit_code::RUNTIME,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
