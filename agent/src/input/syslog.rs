//! Syslog over UDP, TCP and unix datagrams.
//!
//! ```text
//! sockets ─► frames ─► parse ─► channel ─► Records (one owner) ─► spool
//! ```
//!
//! The channel holds [`WAITING_MAX`] messages of at most [`WAITING_BYTES_MAX`]. When it is full, a TCP sender waits; a datagram, whose sender
//! cannot wait, is dropped and counted. While the spool has no room nothing is taken from the channel.

pub(crate) mod parse;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::UnixNano;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::parse::of_priority;
use self::parse::{Frame, Message, frame, parse};
use super::intake::Intake;
use super::records::{Entry, REQUEST_BYTES, Records};
use crate::config::{Listen, SyslogSettings};
use crate::memory::{Budget, Taken};
use crate::process::Chain;
use crate::status::{DropReason, Flow};

/// Messages between the sockets and their owner.
const WAITING_MAX: usize = 1024;
/// Bytes of one message; longer ones arrive in pieces.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Bytes of messages between the sockets and their owner.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// TCP connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 32;
/// Bytes read from a connection at a time.
const READ_BYTES: usize = 8 << 10;
/// What all of it uses at most.
pub(crate) const BYTES_MAX: usize =
    WAITING_BYTES_MAX + CONNECTIONS_MAX * (MESSAGE_BYTES_MAX + READ_BYTES) + 4 * REQUEST_BYTES;
/// What a message uses besides its text.
const ENTRY_BYTES: usize = 512;
/// How long a datagram sent before the stop may take to show.
const LINGER: Duration = Duration::from_millis(20);
/// How long a record waits for others.
const FLUSH: Duration = Duration::from_millis(200);

/// A bound listener.
#[derive(Debug)]
pub(crate) enum Socket {
    Udp(UdpSocket),
    Tcp(TcpListener),
    Unix(UnixDatagram, PathBuf),
}

impl Socket {
    /// Binds it. What an earlier run left at a unix path is replaced; a file that is no socket is not.
    pub(crate) async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Udp(address) => UdpSocket::bind(address).await.map(Self::Udp),
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Listen::Unix(path) => {
                make_way(path)?;
                let socket = UnixDatagram::bind(path)?;
                open_to(path, Who::All)?;
                Ok(Self::Unix(socket, path.clone()))
            }
        }
    }
}

impl Socket {
    /// The next datagram, and who sent it. A listener of connections never has one.
    pub(crate) async fn receive(&self, room: &mut [u8]) -> io::Result<(usize, String)> {
        match self {
            Self::Udp(socket) => socket.recv_from(room).await.map(|(len, from)| (len, from.ip().to_string())),
            Self::Unix(socket, _) => socket.recv(room).await.map(|len| (len, String::new())),
            Self::Tcp(_) => std::future::pending().await,
        }
    }

    /// The next datagram; `None` after `stop`, once what came before it was taken. A sender that never pauses
    /// gets no more than [`WAITING_MAX`] through after `stop`: `late` counts them.
    pub(crate) async fn next(
        &self,
        room: &mut [u8],
        stop: &CancellationToken,
        late: &mut usize,
    ) -> Option<io::Result<(usize, String)>> {
        tokio::select! {
            received = self.receive(room), if !stop.is_cancelled() => return Some(received),
            () = stop.cancelled() => {}
        }
        *late += 1;
        if *late > WAITING_MAX {
            return None;
        }
        // What came before the stop may not have been told of yet.
        tokio::time::timeout(LINGER, self.receive(room)).await.ok()
    }

    /// Whoever comes next binds it anew.
    pub(crate) fn leave(&self) {
        if let Self::Unix(_, path) = self {
            std::fs::remove_file(path).unwrap_or_default();
        }
    }
}

/// Who may send to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The user that made it, and root.
    Owner,
    /// Every user of this host, as on a port of its loopback; the folder of the socket may say less.
    All,
}

/// Sets who may send to a socket, whatever the umask is.
pub(crate) fn open_to(path: &std::path::Path, who: Who) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if who == Who::All { 0o666 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Removes a socket that nobody listens on any more.
pub(crate) fn make_way(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the readers share.
#[derive(Clone, Debug)]
struct Reader {
    entries: mpsc::Sender<(Entry, Taken)>,
    room: Budget,
    service: Option<String>,
    intake: Intake,
    flow: Arc<Flow>,
    stop: CancellationToken,
}

/// Receives until `stop`, then spools what came before it.
pub(crate) async fn run(
    settings: SyslogSettings,
    sockets: Vec<Socket>,
    intake: Intake,
    flow: Arc<Flow>,
    stop: CancellationToken,
) {
    let (entries, received) = mpsc::channel(WAITING_MAX);
    let records = Records::new(intake.clone(), Chain::new(&settings.process()), settings.dialect);
    let room = Budget::new(WAITING_BYTES_MAX as u64);
    let reader = Reader { entries, room, service: settings.service, intake, flow: Arc::clone(&flow), stop };
    let tasks = TaskTracker::new();
    for socket in sockets {
        match socket {
            Socket::Udp(_) | Socket::Unix(..) => {
                let reader = reader.clone();
                tasks.spawn(async move { reader.datagrams(socket).await });
            }
            Socket::Tcp(listener) => drop(tasks.spawn(reader.clone().connections(listener, tasks.clone()))),
        }
    }
    let stop = reader.stop.clone();
    drop(reader);
    tasks.close();
    gather(records, received, &flow, stop).await;
    tasks.wait().await;
}

/// Owns the records: takes entries until there are no more senders. Before the end nothing is taken while
/// the spool has no room; after it, what finds no room is counted as dropped.
async fn gather(
    mut records: Records,
    mut received: mpsc::Receiver<(Entry, Taken)>,
    flow: &Flow,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(FLUSH);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let is_stopping = stop.is_cancelled();
        let is_blocked = !is_stopping && records.is_blocked();
        tokio::select! {
            entry = received.recv(), if !is_blocked => {
                let Some((entry, _taken)) = entry else { break };
                records.push(&entry, flow);
                if !records.is_full() {
                    continue;
                }
            }
            _ = tick.tick() => records.settle(flow, false),
            () = stop.cancelled(), if !is_stopping => continue,
        }
        if !is_blocked {
            said(records.flush(flow));
        }
    }
    records.settle(flow, true);
    said(records.flush(flow));
}

fn said(flushed: Result<(), crate::queue::QueueError>) {
    if let Err(error) = flushed {
        tracing::warn!(%error, "syslog records found no room in the spool");
    }
}

impl Reader {
    fn entry(&self, bytes: &[u8], from: &str) -> Entry {
        let now = self.intake.shared.clock.now();
        entry_of(parse(bytes, now), self.service.as_deref(), from, bytes.len(), now)
    }

    async fn datagrams(&self, socket: Socket) {
        let (mut room, mut late) = (vec![0; MESSAGE_BYTES_MAX], 0);
        loop {
            let Some(received) = socket.next(&mut room, &self.stop, &mut late).await else { break };
            match received {
                Ok((len, from)) => {
                    let entry = self.entry(&room[..len], &from);
                    let bytes = entry.bytes;
                    match self.room.take(len + ENTRY_BYTES).zip(self.entries.try_reserve().ok()) {
                        Some((taken, place)) => place.send((entry, taken)),
                        None => {
                            self.flow.entered(1, bytes);
                            self.flow.dropped(DropReason::SpoolFull, 1);
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "receiving syslog");
                    tokio::time::sleep(FLUSH).await;
                }
            }
        }
        socket.leave();
    }

    /// Waits for room; `false` when nobody takes messages any more.
    async fn send(&self, message: &[u8], from: &str) -> bool {
        let taken = self.room.wait(message.len() + ENTRY_BYTES).await;
        self.entries.send((self.entry(message, from), taken)).await.is_ok()
    }

    async fn connections(self, listener: TcpListener, tasks: TaskTracker) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => {
                    let reader = self.clone();
                    tasks.spawn(async move {
                        reader.stream(stream, &from.ip().to_string()).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a syslog connection");
                    tokio::time::sleep(FLUSH).await;
                }
            }
        }
    }

    /// Reads one connection to its end; a message without an end is taken as it is.
    async fn stream(&self, mut stream: impl AsyncRead + Unpin, from: &str) {
        let mut held = Vec::new();
        let mut room = vec![0; READ_BYTES];
        loop {
            let read = tokio::select! {
                read = stream.read(&mut room) => read.unwrap_or(0),
                () = self.stop.cancelled() => 0,
            };
            held.extend_from_slice(&room[..read]);
            let mut at = 0;
            while let Frame::Message { start, len, used } = frame(&held[at..], MESSAGE_BYTES_MAX) {
                if !self.send(&held[at + start..at + start + len], from).await {
                    return;
                }
                at += used;
            }
            held.drain(..at);
            if read == 0 {
                if !held.trim_ascii().is_empty() {
                    self.send(&held, from).await;
                }
                return;
            }
        }
    }
}

/// A message with OpenTelemetry's names.
fn entry_of(message: Message, service: Option<&str>, from: &str, bytes: usize, now: UnixNano) -> Entry {
    let service = service.or(message.app.as_deref()).unwrap_or("syslog").to_owned();
    let sender = format!("{from} {service}");
    let mut attributes = vec![("syslog.facility".to_owned(), message.facility.to_owned())];
    let named = [
        ("syslog.hostname", message.host),
        ("syslog.appname", message.app),
        ("process.pid", message.process_id),
        ("syslog.msgid", message.message_id),
        ("client.address", (!from.is_empty()).then(|| from.to_owned())),
    ];
    attributes
        .extend(named.into_iter().filter_map(|(key, value)| value.map(|value| (key.to_owned(), value))));
    attributes.extend(message.params);
    Entry {
        sender,
        service,
        time: message.time.or(Some(now)),
        severity: message.severity,
        text: message.text,
        attributes,
        bytes: bytes as u64,
    }
}
