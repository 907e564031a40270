//! What can go wrong in the store, and what to do about it.

use thiserror::Error as ThisError;

use crate::positions::PositionRefusal;

/// What a caller should do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later: overload, disk full, a failed write. Nothing was acknowledged.
    Retry,
    /// The input is wrong; the same input will fail again.
    FixInput,
    /// The sender's positions do not fit what is committed: see [`Error::position_refusal`].
    Position,
    /// Files on disk are damaged or newer than this program; a person has to look.
    Damaged,
    /// A defect of ours.
    Internal,
}

/// An error of the store.
#[derive(Debug, ThisError)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// What to do now.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Why the positions of an append did not fit, when that is the error.
    pub fn position_refusal(&self) -> Option<&PositionRefusal> {
        self.source_ref()
    }

    /// The source, when it is of this type.
    pub(crate) fn source_ref<T: std::error::Error + 'static>(&self) -> Option<&T> {
        self.source.as_deref()?.downcast_ref()
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn retry(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, message)
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, message)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Turns an error of a library into ours, with what was being done.
pub(crate) trait Context<T> {
    /// `kind` with the text `doing`.
    fn context(self, kind: ErrorKind, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Context<T> for Result<T, E> {
    fn context(self, kind: ErrorKind, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::new(kind, format!("{}: {source}", doing())).with_source(source))
    }
}
