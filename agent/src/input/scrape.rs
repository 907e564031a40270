//! Prometheus scrape: reads pages of metrics every interval and sends them as OTLP.
//!
//! Per target also `up`, `scrape_duration_seconds` and `scrape_samples_scraped`. A series that a page no
//! longer has, and every series of a target that does not answer, ends at once. Bounds: [`PAGE_BYTES_MAX`]
//! a page, `max_series` series a target, [`TARGETS_MAX`] targets a table, [`AT_ONCE`] pages at a time.

mod families;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use model::UnixNano;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::families::{Families, Known};
use super::intake::{Incoming, Intake};
use super::points::{Head, Kind, Metrics};
use crate::config::ScrapeSettings;
use crate::config::inputs::target_url;
use crate::memory::{Budget, Taken};
use crate::status::{DropReason, Flow};

/// What pages that are read at the same time use at most, with what is made of them.
pub(crate) const PAGES_BYTES_MAX: usize = 16 << 20;
/// The bytes of a page are there so often: as they came, as text, as samples, as a request.
const PAGE_COPIES: usize = 4;
/// What is remembered of a series, about.
pub(crate) const SERIES_BYTES: usize = 128;
/// What is asked for: OpenMetrics first, because only it has exemplars.
const PAGES: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// Targets of one table.
const TARGETS_MAX: usize = 1024;
/// Pages read at a time.
const AT_ONCE: usize = 8;

/// A page to read, and the labels that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target {
    url: String,
    labels: Vec<(String, String)>,
}

/// What the last page of a target had.
#[derive(Debug, Default)]
struct Last {
    known: Known,
    is_up: Option<bool>,
}

#[derive(Debug)]
struct Scraper {
    name: String,
    settings: ScrapeSettings,
    client: Client<HttpConnector, Empty<Bytes>>,
    intake: Intake,
    flow: Arc<Flow>,
    start: UnixNano,
    pages: Budget,
}

/// Reads until `stop`.
pub(crate) async fn run(
    name: String,
    settings: ScrapeSettings,
    intake: Intake,
    flow: Arc<Flow>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(settings.interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let start = intake.shared.clock.now();
    let pages = Budget::new(PAGES_BYTES_MAX as u64);
    let scraper = Arc::new(Scraper { name, settings, client, intake, flow, start, pages });
    let mut lasts: HashMap<Target, Last> = HashMap::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        let (targets, unread) = scraper.targets();
        lasts.retain(|target, _| targets.contains(target));
        let mut pending = targets.into_iter();
        let mut pages = JoinSet::new();
        loop {
            while pages.len() < AT_ONCE
                && let Some(target) = pending.next()
            {
                let last = lasts.remove(&target).unwrap_or_default();
                let scraper = Arc::clone(&scraper);
                pages.spawn(async move { scraper.scrape(target, last).await });
            }
            let done = tokio::select! {
                done = pages.join_next() => done,
                () = stop.cancelled() => return,
            };
            match done {
                Some(Ok((target, last))) => drop(lasts.insert(target, last)),
                Some(Err(error)) => tracing::error!(%error, "a scrape failed"),
                None => break,
            }
        }
        let is_lost = !lasts.is_empty() && lasts.values().all(|last| last.is_up == Some(false));
        let problem = unread.or_else(|| is_lost.then(|| format!("none of {} targets answers", lasts.len())));
        scraper.intake.shared.note_problem(&format!("scrape.{}", scraper.name), problem);
    }
}

/// A group of Prometheus' `file_sd_configs`.
#[derive(Deserialize)]
struct Listed {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Scraper {
    /// The targets of this moment, configured ones and those of files, and which file cannot be read.
    fn targets(&self) -> (Vec<Target>, Option<String>) {
        let fixed = self.settings.targets.iter().map(|url| Target { url: url.clone(), labels: Vec::new() });
        let (mut targets, mut problem): (Vec<Target>, _) = (fixed.collect(), None);
        for path in &self.settings.target_files {
            match listed(path) {
                Ok(found) => targets.extend(found),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot read a list of targets");
                    problem = Some(format!("cannot read the targets of `{}`: {error}", path.display()));
                }
            }
        }
        targets.sort();
        targets.dedup();
        if targets.len() > TARGETS_MAX {
            tracing::warn!(
                table = self.name,
                targets = targets.len(),
                "only the first {TARGETS_MAX} targets are read"
            );
            targets.truncate(TARGETS_MAX);
        }
        (targets, problem)
    }

    async fn scrape(self: Arc<Self>, target: Target, mut last: Last) -> (Target, Last) {
        let began = self.intake.shared.clock.monotonic();
        let page = match target_url(&target.url) {
            Ok(uri) => match tokio::time::timeout(self.settings.timeout, self.fetch(&uri)).await {
                Ok(page) => page,
                Err(_) => Err(format!("no answer within {:?}", self.settings.timeout)),
            },
            Err(error) => Err(error),
        };
        let took = self.intake.shared.clock.monotonic().saturating_sub(began);
        let is_up = page.is_ok();
        if last.is_up != Some(is_up) {
            match &page {
                Ok(_) => tracing::info!(table = self.name, target = target.url, "target is up"),
                Err(error) => {
                    tracing::warn!(table = self.name, target = target.url, %error, "target is down");
                }
            }
            last.is_up = Some(is_up);
        }
        // The bytes of the page are given back when it is sent.
        let page = page.ok();
        self.send(&target, page.as_ref().map(|(page, _)| page.as_str()), took, &mut last);
        (target, last)
    }

    /// The page, and the bytes that are taken for it.
    async fn fetch(&self, uri: &Uri) -> Result<(String, Taken), String> {
        let mut request = Request::get(uri)
            .header(ACCEPT, PAGES)
            .header(USER_AGENT, concat!("silmari-agent/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.settings.bearer_token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let response =
            self.client.request(request).await.map_err(|error| crate::export::whole_text(&error))?;
        if !response.status().is_success() {
            return Err(format!("answered {}", response.status()));
        }
        let too_large = || {
            format!(
                "no room for the page: all pages read at a time have {} MiB",
                (PAGES_BYTES_MAX / PAGE_COPIES) >> 20
            )
        };
        let mut taken = self.pages.take(1).ok_or_else(too_large)?;
        let (mut body, mut page) = (response.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("the page broke off: {error}"))?;
            let Ok(bytes) = frame.into_data() else { continue };
            if !taken.grow(&self.pages, bytes.len() * PAGE_COPIES) {
                return Err(too_large());
            }
            page.extend_from_slice(&bytes);
        }
        let page = String::from_utf8(page).map_err(|_| "the page is no UTF-8".to_owned())?;
        Ok((page, taken))
    }

    /// Spools a page, or that there is none.
    fn send(&self, target: &Target, page: Option<&str>, took: Duration, last: &mut Last) {
        let read = page.map(|page| text::parse(page));
        let now = self.intake.shared.clock.now();
        let families = Families::new(read.as_ref(), self.settings.max_series, now);
        let scraped = families.samples + families.beyond;
        let malformed = read.as_ref().map_or(0, |read| read.malformed);
        self.flow.entered(scraped + malformed, page.map_or(0, |page| page.len() as u64));
        self.flow.dropped(DropReason::Malformed, malformed);
        self.flow.dropped(DropReason::TooManySeries, families.beyond);
        let address = target_url(&target.url).ok().and_then(|uri| uri.authority().map(ToString::to_string));
        let address = address.unwrap_or_else(|| target.url.clone());
        let service = target.labels.iter().find(|(key, _)| key == "service.name" || key == "job");
        let service = service.map(|(_, value)| value.as_str()).or(self.settings.service.as_deref());
        let resource = self.intake.resource_of(service.unwrap_or(&self.name));
        let more = [("service.instance.id", address.as_str())];
        let labels = target.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut metrics = Metrics::new(resource.chain(more).chain(labels), self.start, now);
        last.known = families.write(&mut metrics, &last.known);
        let up = f64::from(u8::from(page.is_some()));
        metrics.number(Head::new("up", ""), Kind::Gauge, up);
        metrics.number(Head::new("scrape_duration_seconds", ""), Kind::Gauge, took.as_secs_f64());
        metrics.number(Head::new("scrape_samples_scraped", ""), Kind::Gauge, scraped as f64);
        let count = metrics.count();
        let request = metrics.finish();
        match self.intake.put(Incoming::metrics(&request, count)) {
            Ok(()) => self.flow.left(families.samples, 0, request.len() as u64),
            Err(error) => {
                tracing::warn!(target = target.url, %error, "a scrape found no room in the spool");
                self.flow.dropped(DropReason::SpoolFull, families.samples);
            }
        }
    }
}

/// The targets of a file; labels of the discovery itself (`__…`) are not kept.
pub(crate) fn listed(path: &Path) -> Result<Vec<Target>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let groups: Vec<Listed> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let targets = groups.into_iter().flat_map(|group| {
        let labels: Vec<_> = group.labels.into_iter().filter(|(key, _)| !key.starts_with("__")).collect();
        group.targets.into_iter().map(move |url| Target { url, labels: labels.clone() })
    });
    Ok(targets.collect())
}
