//! Answers without a server: the seam through which a [`crate::Client`] reads a file instead.

use std::fmt;

use model::TimeRange;

use crate::ErrorBody;

/// Something that answers requests of the API by itself.
pub trait Offline: fmt::Debug + Send + Sync {
    /// What it is, for messages: the path of the file.
    fn name(&self) -> &str;

    /// The body that a server would answer a GET of `path` with.
    ///
    /// # Errors
    /// What a server would refuse, or what is not held here.
    fn answer(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        range: Option<TimeRange>,
    ) -> Result<Vec<u8>, ErrorBody>;
}

/// A refusal for what is not held offline.
pub fn refusal(code: &str, message: impl Into<String>, hint: Option<&str>) -> ErrorBody {
    ErrorBody {
        code: code.to_owned(),
        message: message.into(),
        hint: hint.map(str::to_owned),
        searched: Vec::new(),
        range: None,
    }
}
