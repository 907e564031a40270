//! Receivers of alerts, and how each is told.

mod alertmanager;
mod webhook;

use std::time::Duration;

use model::UnixNano;
use serde_json::Value;

use super::notice::Notice;

/// How long a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a receiver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverKind {
    /// Alertmanager's webhook payload, version 4.
    Webhook,
    /// `POST /api/v2/alerts` of Alertmanager.
    Alertmanager,
}

/// Someone who is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its name, unique: queues are kept under it over restarts.
    pub name: String,
    /// How it is told.
    pub kind: ReceiverKind,
    /// Where requests go.
    pub url: String,
    /// How often it is told again of an alert that fires.
    pub repeat_interval: Duration,
    /// Most notices that wait for it; more are dropped, repetitions and oldest first, and counted.
    pub queue_max: usize,
}

impl Receiver {
    /// A webhook at `url`, told again every 4 hours.
    ///
    /// # Errors
    /// Says why `url` cannot be posted to.
    pub fn webhook(name: &str, url: &str) -> Result<Self, String> {
        Self::new(name, ReceiverKind::Webhook, url.to_owned(), Duration::from_secs(4 * 3600))
    }

    /// The Alertmanager at `url` (its root, or up to `/api/v2/alerts`), told again every minute.
    ///
    /// # Errors
    /// Says why `url` cannot be posted to.
    pub fn alertmanager(name: &str, url: &str) -> Result<Self, String> {
        const PATH: &str = "/api/v2/alerts";
        let root = url.trim_end_matches('/');
        let url = if root.ends_with(PATH) { root.to_owned() } else { format!("{root}{PATH}") };
        Self::new(name, ReceiverKind::Alertmanager, url, Duration::from_secs(60))
    }

    fn new(name: &str, kind: ReceiverKind, url: String, repeat_interval: Duration) -> Result<Self, String> {
        let parsed =
            reqwest::Url::parse(&url).map_err(|error| format!("receiver `{name}`: `{url}`: {error}"))?;
        if parsed.scheme() != "http" {
            return Err(format!(
                "receiver `{name}`: `{url}`: only http:// is supported, put a proxy in front of TLS"
            ));
        }
        Ok(Self { name: name.to_owned(), kind, url, repeat_interval, queue_max: 1024 })
    }

    pub(super) fn payload(&self, batch: &[Notice], external_url: &str, now: UnixNano) -> Value {
        match self.kind {
            ReceiverKind::Webhook => webhook::payload(&self.name, batch, external_url),
            ReceiverKind::Alertmanager => {
                // Should this server die, its alerts end by themselves after four missed repetitions.
                let lifetime = self.repeat_interval.saturating_mul(4);
                alertmanager::payload(batch, external_url, now, lifetime)
            }
        }
    }
}

/// What became of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Delivered,
    /// Worth trying again.
    Failed(String),
    /// The receiver will never take it.
    Refused(String),
}

/// The client that all receivers share: it follows no redirects and gives up after ten seconds.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("silmari/", env!("CARGO_PKG_VERSION")))
        .build()
}

pub(super) async fn post(client: &reqwest::Client, url: &str, payload: &Value) -> Attempt {
    let status = match client.post(url).json(payload).send().await {
        Ok(answer) => answer.status(),
        Err(error) => return Attempt::Failed(error.without_url().to_string()),
    };
    let text = format!("answers {status}");
    if status.is_success() {
        Attempt::Delivered
    } else if status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 404 | 408 | 425 | 429) {
        Attempt::Refused(text)
    } else {
        Attempt::Failed(text)
    }
}

/// Where a person finds the rule.
fn generator_url(notice: &Notice, external_url: &str) -> String {
    let base = format!("{}/api/v1/alerts", external_url.trim_end_matches('/'));
    let parameters = [("rule", notice.rule.as_str())];
    reqwest::Url::parse_with_params(&base, parameters).map_or(base, |url| url.to_string())
}

/// RFC 3339; Alertmanager reads no more than nanoseconds.
fn time_text(time: Option<UnixNano>) -> String {
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}
