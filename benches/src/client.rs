//! Clients that send frames made beforehand, so that neither encoding nor compressing is measured: gRPC over a tonic
//! channel to the collector, HTTP to servers of others.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use model::Signal;
use storage::Compression;
use tonic::body::Body;
use tonic::client::GrpcService as _;
use tonic::transport::{Channel, Endpoint};

use crate::request::Request;

/// What the server said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every record was taken: by our collector, durably.
    Durable,
    /// Nothing was taken: send it again later.
    Refused,
}

/// Sends requests, one after another.
#[derive(Clone, Debug)]
pub enum Client {
    /// To the collector.
    Grpc(GrpcClient),
    /// To a server of others.
    Http(HttpClient),
}

impl Client {
    /// Sends a request and waits for its acknowledgement.
    ///
    /// # Errors
    /// When the connection breaks, a record is rejected, or the refusal is not one to retry.
    pub async fn export(&mut self, request: &Request) -> anyhow::Result<Answer> {
        match self {
            Self::Grpc(client) => client.export(request).await,
            Self::Http(client) => client.export(request).await,
        }
    }
}

/// OTLP over HTTP to one endpoint.
#[derive(Clone, Debug)]
pub struct HttpClient {
    http: reqwest::Client,
    endpoint: String,
}

impl HttpClient {
    /// A client with connections of its own.
    pub fn new(endpoint: String) -> Self {
        Self { http: reqwest::Client::new(), endpoint }
    }

    async fn export(&self, request: &Request) -> anyhow::Result<Answer> {
        let mut post = self.http.post(&self.endpoint).header("content-type", "application/x-protobuf");
        match request.compression {
            Compression::Identity => {}
            Compression::Gzip => post = post.header("content-encoding", "gzip"),
            Compression::Zstd => post = post.header("content-encoding", "zstd"),
        }
        let answer = post.body(request.message()).send().await.context("send a request")?;
        let status = answer.status();
        let body = answer.bytes().await.context("read an answer")?;
        match status.as_u16() {
            200..=299 => Ok(Answer::Durable),
            429 | 502..=504 => Ok(Answer::Refused),
            _ => bail!(
                "`{}` answered with HTTP {status}: {:?}",
                self.endpoint,
                body.escape_ascii().to_string()
            ),
        }
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub struct GrpcClient {
    channel: Channel,
    origin: String,
}

/// gRPC statuses that ask the sender to come back: `RESOURCE_EXHAUSTED`, `UNAVAILABLE`.
const RETRYABLE: [&[u8]; 2] = [b"8", b"14"];

impl GrpcClient {
    /// Connects to a collector.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let origin = format!("http://{address}");
        let endpoint = Endpoint::from_shared(origin.clone()).context("the collector's address")?;
        let channel = endpoint.connect().await.with_context(|| format!("connect to {origin}"))?;
        Ok(Self { channel, origin })
    }

    async fn export(&mut self, request: &Request) -> anyhow::Result<Answer> {
        std::future::poll_fn(|cx| self.channel.poll_ready(cx)).await.context("wait for the connection")?;
        let response = self.channel.call(self.http(request)?).await.context("send a request")?;
        let (parts, body) = response.into_parts();
        ensure!(parts.status.is_success(), "the collector answered with HTTP {}", parts.status);
        let body = body.collect().await.context("read an answer")?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        match status(&parts.headers).or_else(|| status(&trailers)) {
            Some(b"0") => {
                let frame = body.to_bytes();
                ensure!(
                    frame[..] == [0; 5],
                    "the collector rejected records: {:?}",
                    frame.escape_ascii().to_string()
                );
                Ok(Answer::Durable)
            }
            Some(code) if RETRYABLE.contains(&code) => Ok(Answer::Refused),
            code => bail!(
                "grpc-status {:?}: {:?}",
                code.map(<[u8]>::escape_ascii),
                parts.headers.get("grpc-message")
            ),
        }
    }

    fn http(&self, request: &Request) -> anyhow::Result<http::Request<Body>> {
        let mut built = http::Request::post(format!("{}{}", self.origin, path(request.signal)?))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        match request.compression {
            Compression::Identity => {}
            Compression::Gzip => built = built.header("grpc-encoding", "gzip"),
            Compression::Zstd => built = built.header("grpc-encoding", "zstd"),
        }
        built.body(Body::new(Full::new(request.frame.clone()))).context("build a request")
    }
}

fn status(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("grpc-status").map(HeaderValue::as_bytes)
}

fn path(signal: Signal) -> anyhow::Result<&'static str> {
    match signal {
        Signal::Traces => Ok("/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        Signal::Logs => Ok("/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
        Signal::Metrics => bail!("the workload has no metrics"),
    }
}
