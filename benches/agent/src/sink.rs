//! An OTLP/HTTP endpoint that counts what it is sent and forgets it, on a thread of its own. It takes what vlagent sends
//! as well.
//!
//! It does not know positions: the agent delivers to it at least once, as to any OTLP endpoint.

use std::convert::Infallible;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::SystemClock;
use tokio_rustls::TlsAcceptor;

use crate::tally::Tally;

/// A running sink; it ends with the process.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    /// The certificate that it shows, when it speaks TLS.
    certificate: Option<String>,
    tally: Arc<Mutex<Tally>>,
}

impl Sink {
    /// One on a free port.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_with(SocketAddr::from(([127, 0, 0, 1], 0)), None)
    }

    /// One on a port that was chosen before.
    pub(crate) fn start_on(address: SocketAddr) -> anyhow::Result<Self> {
        Self::start_with(address, None)
    }

    /// One that speaks TLS, with a certificate made for this run.
    pub(crate) fn start_tls() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let key = key.map_err(|error| anyhow::anyhow!("{error}"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let mut sink = Self::start_with(SocketAddr::from(([127, 0, 0, 1], 0)), Some(acceptor))?;
        sink.certificate = Some(made.cert.pem());
        Ok(sink)
    }

    fn start_with(address: SocketAddr, tls: Option<TlsAcceptor>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).context("cannot listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let counting = Arc::clone(&tally);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let listener =
                    tokio::net::TcpListener::from_std(listener).expect("a listener of this process");
                while let Ok((stream, _)) = listener.accept().await {
                    let (counting, tls) = (Arc::clone(&counting), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, counting).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => serve(stream, counting).await,
                                Err(error) => lock(&counting).fail(&error),
                            },
                        }
                    });
                }
            });
        })?;
        Ok(Self { address, certificate: None, tally })
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate in PEM.
    pub(crate) fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    pub(crate) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Distinct records so far.
    pub(crate) fn distinct(&self) -> u64 {
        lock(&self.tally).distinct
    }

    /// Waits until `expected` records arrived; how long that took.
    pub(crate) fn wait_for(&self, expected: u64, at_most: Duration) -> anyhow::Result<Duration> {
        let clock = SystemClock::shared();
        loop {
            let waited = clock.monotonic();
            if self.distinct() >= expected {
                return Ok(waited);
            }
            if waited > at_most {
                bail!("after {waited:?}: of {expected} records {}", self.tally());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

async fn serve<S>(stream: S, counting: Arc<Mutex<Tally>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(Arc::clone(&counting), request));
    // A broken connection is the agent's to notice.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    tally: Arc<Mutex<Tally>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match take(&tally, request).await {
        Ok(status) => status,
        Err(error) => {
            lock(&tally).fail(&*error);
            StatusCode::BAD_REQUEST
        }
    };
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/x-protobuf"));
    Ok(response)
}

async fn take(tally: &Mutex<Tally>, request: Request<Incoming>) -> anyhow::Result<StatusCode> {
    let path = request.uri().path().to_owned();
    let body_of = request.headers().get("content-encoding").cloned();
    let body = request.into_body().collect().await?.to_bytes();
    if !matches!(path.as_str(), "/v1/logs" | "/v1/traces" | "/insert/native") {
        return Ok(StatusCode::NOT_FOUND);
    }
    let raw = match body_of.as_ref().map(http::HeaderValue::as_bytes) {
        Some(b"zstd") => zstd::decode_all(body.as_ref())?.into(),
        Some(b"gzip") => {
            let mut raw = Vec::new();
            flate2::read::GzDecoder::new(body.as_ref()).read_to_end(&mut raw)?;
            raw.into()
        }
        None => body.clone(),
        Some(other) => bail!("content-encoding {}", String::from_utf8_lossy(other)),
    };
    let mut tally = lock(tally);
    tally.wire_bytes += body.len() as u64;
    tally.take(&path, &raw)?;
    Ok(StatusCode::OK)
}
