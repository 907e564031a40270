//! Exit codes, and how a failure is reported.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the answer is no: an unknown id, an error from the server, a part that failed |
//! | 2 | the command line, a query or a file is wrong |
//! | 3 | no server answers |

use std::io::Write as _;
use std::process::ExitCode;

use query_api::ClientError;

/// The answer is no, or a part failed.
pub(crate) const FAILED: u8 = 1;
/// The input is wrong.
pub(crate) const USAGE: u8 = 2;
/// No server answers.
pub(crate) const UNREACHABLE: u8 = 3;

/// Why the command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// A part failed.
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    /// No server answers.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { code: UNREACHABLE, message: message.into() }
    }

    /// The same with more to say.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.message += more;
        self
    }

    /// The input is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = match &error {
            ClientError::Refused(body) => match &body.hint {
                Some(hint) => format!("{}\n  {hint}", body.message),
                None => body.message.clone(),
            },
            other => other.to_string(),
        };
        let code = match &error {
            ClientError::Unreachable { .. } => UNREACHABLE,
            ClientError::Refused(body) if body.code == "bad_query" => USAGE,
            _ => FAILED,
        };
        Self { code, message }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::runtime(error.to_string())
    }
}

/// Writes the failure to standard error and gives the exit code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    // When standard error is gone there is nobody left to tell.
    drop(writeln!(std::io::stderr(), "silmari: {}", failure.message));
    ExitCode::from(failure.code)
}
