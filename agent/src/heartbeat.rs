//! Signs of life: every ten seconds, and at once when a configuration was tried, the agent tells the collector who it is and
//! how it does. The answer may bring a configuration.
//!
//! Any OTLP endpoint may stand where our collector stands: one that answers 404 is asked again once a
//! minute, and nothing else depends on it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use model::agents::{CONFIG_TEXT_BYTES_MAX, Heartbeat, HeartbeatAnswer};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::export::connect::Connector;
use crate::status::Shared;

/// Bytes of an answer: a configuration fits.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long until an endpoint that knows no heartbeats is asked again.
const UNKNOWN: Duration = Duration::from_secs(60);
/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(5);

struct Beats {
    client: Client<Connector, Full<Bytes>>,
    config: Config,
    shared: Arc<Shared>,
    current: usize,
    /// Whether the collector asked what the agent runs with.
    wants_config_text: bool,
}

/// Beats until `stop`, then says goodbye if the process ends with it.
pub(crate) async fn run(config: Config, connector: Connector, shared: Arc<Shared>, stop: CancellationToken) {
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let interval = config.collector.heartbeat;
    let mut beats = Beats { client, config, shared, current: 0, wants_config_text: false };
    loop {
        let pause = match beats.beat(false).await {
            Ok(answer) => {
                if let Some(configuration) = answer.configuration {
                    beats.shared.offer(configuration);
                }
                // Asked for anew each time, so that a lost answer is no loop.
                beats.wants_config_text = answer.wants_config_text && !beats.wants_config_text;
                if beats.wants_config_text {
                    continue;
                }
                interval
            }
            Err(Some(StatusCode::NOT_FOUND)) => UNKNOWN,
            Err(_) => interval,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = beats.shared.wants_beat() => {}
            () = stop.cancelled() => break,
        }
    }
    if !beats.shared.goes_on() {
        // It is known as gone by its silence otherwise.
        drop(beats.beat(true).await);
    }
}

impl Beats {
    async fn beat(&mut self, is_leaving: bool) -> Result<HeartbeatAnswer, Option<StatusCode>> {
        let body = serde_json::to_vec(&self.state(is_leaving)).map_err(|_| None)?;
        let endpoints = &self.config.collector.endpoints;
        let endpoint = &endpoints[self.current % endpoints.len()];
        let request = Request::post(format!("{endpoint}/v1/agent/heartbeat"))
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("silmari-agent/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body.into()))
            .map_err(|_| None)?;
        let answer = tokio::time::timeout(TIMEOUT, async {
            let response = self.client.request(request).await.map_err(|_| None)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let bytes = body.map_err(|_| None)?.to_bytes();
            if status.is_success() { Ok(bytes) } else { Err(Some(status)) }
        });
        match answer.await.unwrap_or(Err(None)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| None),
            Err(status) => {
                self.current = self.current.wrapping_add(1);
                Err(status)
            }
        }
    }

    fn state(&self, is_leaving: bool) -> Heartbeat {
        let status = self.shared.summary();
        let central = status.config.central;
        let mut dropped = std::collections::BTreeMap::new();
        for (reason, count) in
            status.flows.iter().flat_map(|flow| &flow.dropped).filter(|(_, count)| *count > 0)
        {
            *dropped.entry(reason.name().to_owned()).or_default() += count;
        }
        Heartbeat {
            agent_id: status.agent_id,
            instance: status.instance,
            version: status.version,
            config_version: status.config.version,
            config_error: status.config.error,
            pushed_version: central.version,
            is_trial: central.is_trial,
            refused_version: central.given_up,
            refused_error: central.error,
            accepts_configuration: central.is_accepted,
            config_text: self.wants_config_text.then(|| {
                let mut text = self.shared.config_text();
                text.truncate(text.floor_char_boundary(CONFIG_TEXT_BYTES_MAX));
                text
            }),
            labels: self.config.agent.labels.clone(),
            interval_millis: u64::try_from(self.config.collector.heartbeat.as_millis()).unwrap_or(u64::MAX),
            start_unix_nano: status.started.0,
            lag_bytes: status.file_lag_bytes,
            spool_bytes: status.spool.bytes,
            sent_records: status.flows.iter().take(4).map(|flow| flow.output_records).sum(),
            dropped_records: dropped.values().sum(),
            dropped,
            is_leaving,
        }
    }
}
