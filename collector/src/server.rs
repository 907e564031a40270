//! Connections: accepting them, their limits, and how they end. The same for both listeners.
//!
//! Owns: timeouts against slow and idle clients, HTTP/2 settings. Does not own: what is served.
//!
//! Invariants: an accept error never ends a listener; at most `connections_max` connections are open, the
//! rest waits in the kernel's queue; a connection without a request is closed after `header_timeout` at
//! its beginning and after `idle_timeout` later, so that nobody holds a place by saying nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::error::Error;
use crate::settings::Connections;
use crate::shutdown::Shutdown;

/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// Bytes of them together: room for the positions of a large batch.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long a client may take to answer an HTTP/2 ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after an accept error, which is mostly "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Which HTTP versions a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    /// HTTP/1.1 and HTTP/2.
    Both,
    /// HTTP/2 alone, as gRPC needs it.
    Http2,
}

/// Binds `address`.
pub(crate) async fn bind(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { what, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves `router` until shutdown.
pub(crate) fn serve(
    listener: TcpListener,
    versions: Versions,
    router: Router,
    limits: Arc<Connections>,
    shutdown: &Shutdown,
) {
    let shutdown = shutdown.clone();
    let tasks = shutdown.tasks.clone();
    tasks.spawn(async move { accept(listener, versions, router, limits, shutdown).await });
}

async fn accept(
    listener: TcpListener,
    versions: Versions,
    router: Router,
    limits: Arc<Connections>,
    shutdown: Shutdown,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = shutdown.stop.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection =
                    connection(stream, versions, router.clone(), Arc::clone(&limits), shutdown.clone());
                shutdown.tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("accepting a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    versions: Versions,
    router: Router,
    limits: Arc<Connections>,
    shutdown: Shutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("setting TCP_NODELAY: {error}");
    }
    let activity = Arc::new(Activity::begin());
    let counted = Arc::clone(&activity);
    let service = tower::service_fn(move |request: http::Request<Incoming>| {
        let (guard, router) = (counted.enter(), router.clone());
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            drop(guard);
            response
        }
    });
    let builder = builder(versions, &limits);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let mut is_stopping = false;
    loop {
        let idle_at = activity.idle_at(&limits);
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("connection: {error}");
                }
                return;
            }
            () = shutdown.kill.cancelled() => return,
            () = shutdown.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                serving.as_mut().graceful_shutdown();
                if !activity.has_begun() {
                    return;
                }
            }
            () = tokio::time::sleep_until(idle_at) => {
                if activity.idle_at(&limits) <= Instant::now() {
                    return;
                }
            }
        }
    }
}

fn builder(versions: Versions, limits: &Connections) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(HEADER_BYTES_MAX as u32);
    match versions {
        Versions::Both => builder,
        Versions::Http2 => builder.http2_only(),
    }
}

/// When a connection last had something to do.
#[derive(Debug)]
struct Activity {
    in_flight: AtomicUsize,
    requests: AtomicUsize,
    since: Mutex<Instant>,
}

struct InFlight(Arc<Activity>);

impl Activity {
    fn begin() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            since: Mutex::new(Instant::now()),
        }
    }

    fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        self.requests.fetch_add(1, Ordering::SeqCst);
        InFlight(Arc::clone(self))
    }

    fn has_begun(&self) -> bool {
        self.requests.load(Ordering::SeqCst) > 0
    }

    /// When the connection will have been idle for too long, if nothing happens.
    fn idle_at(&self, limits: &Connections) -> Instant {
        let timeout = if self.has_begun() { limits.idle_timeout } else { limits.header_timeout };
        if self.in_flight.load(Ordering::SeqCst) > 0 {
            return Instant::now() + timeout;
        }
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) + timeout
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
