//! What every command that asks the server shares: the client and the time range.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use model::time::parse_duration;
use model::{SystemClock, TimeRange, UnixNano};
use query_api::Client;

use crate::exit::Failure;
use crate::open;

/// The server that is asked unless another is named.
const DEFAULT: &str = "http://127.0.0.1:3900";

/// Which server is asked.
#[derive(Args, Debug, Clone)]
pub(crate) struct ServerArgs {
    /// The query API of the server; or a case file, which answers offline what it holds
    #[arg(
        long,
        global = true,
        env = "SILMARI_SERVER",
        default_value = DEFAULT,
        value_name = "URL"
    )]
    pub(crate) server: String,
}

impl ServerArgs {
    /// The server, when it is not the one that commands ask by themselves.
    pub(crate) fn named(&self) -> Option<String> {
        (self.server != DEFAULT).then(|| self.server.clone())
    }

    /// A client of the server, or of the case file that is named in its place.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let is_url = self.server.contains("://");
        match !is_url && (self.server.ends_with(open::SUFFIX) || Path::new(&self.server).is_file()) {
            true => Ok(Client::offline(Arc::new(open::read(Path::new(&self.server))?))),
            false => Ok(Client::new(&self.server)),
        }
    }
}

/// Which time is looked at.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct RangeArgs {
    /// Look at the last 15m, 2h, 7d …
    #[arg(long, value_name = "DURATION", conflicts_with = "from")]
    pub(crate) since: Option<String>,
    /// Begin at this time (RFC 3339 or Unix seconds)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// End at this time instead of now
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
}

impl RangeArgs {
    /// Whether nothing was said.
    pub(crate) const fn is_default(&self) -> bool {
        self.since.is_none() && self.from.is_none() && self.to.is_none()
    }

    /// What was said, to be said again behind a command.
    pub(crate) fn flags(&self) -> String {
        let said = [("since", &self.since), ("from", &self.from), ("to", &self.to)];
        let said =
            said.into_iter().filter_map(|(flag, value)| Some(format!(" --{flag} {}", value.as_ref()?)));
        said.collect()
    }

    /// The range, `default` long when nothing was said.
    pub(crate) fn range(&self, default: Duration) -> Result<TimeRange, Failure> {
        let to = match &self.to {
            Some(text) => text.parse::<UnixNano>().map_err(|e| Failure::usage(format!("--to: {e}")))?,
            None => SystemClock::shared().now(),
        };
        if let Some(text) = &self.from {
            let from = text.parse::<UnixNano>().map_err(|e| Failure::usage(format!("--from: {e}")))?;
            if from > to {
                return Err(Failure::usage(format!("--from {from} lies after the end {to}")));
            }
            return Ok(TimeRange { from, to });
        }
        let since = match &self.since {
            Some(text) => {
                parse_duration(text).map_err(|error| Failure::usage(format!("--since: {error}")))?
            }
            None => default,
        };
        Ok(TimeRange::last(since, to))
    }
}

/// A quarter of an hour, the range of live views.
pub(crate) const QUARTER: Duration = Duration::from_secs(15 * 60);
/// Thirty days, the range in which a configuration is looked for.
pub(crate) const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// A day, the range in which an id is looked for.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
