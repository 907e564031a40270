//! `silmari-agent doctor`: what would keep an agent with this configuration from working, and what to do.

mod inputs;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::central::Central;
use agent::config::Loaded;
use agent::status::is_problem;
use agent::{Config, exit_code};
use model::UnixNano;
use model::time::SECOND;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{ConfigArgs, shown};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Clocks that differ by more make timelines wrong.
const SKEW_MAX: i64 = 2 * SECOND;
/// Watches below which a host with many log folders runs out.
const WATCHES_MIN: u64 = 8192;

/// What one look found.
type Finding = Result<String, String>;

pub(super) fn run(args: &ConfigArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let config = Config::load(&args.config)?;
    let mut problems = 0;
    let mut say = |what: &str, finding: Finding| -> std::io::Result<()> {
        let (mark, text) = match finding {
            Ok(text) => ("ok     ", text),
            Err(text) => {
                problems += 1;
                ("PROBLEM", text)
            }
        };
        writeln!(out, "{mark} {what}: {}", shown(&text))
    };
    say("configuration", Ok(format!("valid, version {}", config.version())))?;
    say("data directory", data_dir(&config.agent.data_dir))?;
    say("spool", spool(&config))?;
    if config.central.accept {
        say("central configuration", central(&config, &args.config))?;
    }
    say("inotify", watches())?;
    for (name, matching) in agent::input::matching_files(&config) {
        for (path, reason) in matching {
            let finding = match reason {
                Some(reason) if is_problem(&reason) || reason.starts_with(agent::input::NOTHING_MATCHES) => {
                    Err(format!("{} is not read: {reason}", path.display()))
                }
                Some(reason) => Ok(format!("{} is left out: {reason}", path.display())),
                None => fs::File::open(&path).map(|_| format!("{} can be read", path.display())).map_err(
                    |error| {
                        format!(
                            "{} cannot be read: {error}; run the agent as a user or group that may",
                            path.display()
                        )
                    },
                ),
            };
            say(&format!("files.{name}"), finding)?;
        }
    }
    inputs::look(&config, &mut say)?;
    for endpoint in &config.collector.endpoints {
        say("collector", collector(&config, endpoint))?;
    }
    Ok(if problems == 0 { exit_code::OK } else { exit_code::RUNTIME })
}

/// Looks without making it: whoever runs this may not be the user that the agent runs as.
fn data_dir(folder: &Path) -> Finding {
    let name = folder.display();
    let problem = |error: rustix::io::Errno, place: &Path| {
        format!(
            "`{}` cannot be written: {error}; run the agent as its owner, or set [agent] data_dir",
            place.display()
        )
    };
    let can_write = |place: &Path| rustix::fs::access(place, rustix::fs::Access::WRITE_OK);
    if folder.exists() {
        return can_write(folder)
            .map(|()| format!("{name} can be written"))
            .map_err(|error| problem(error, folder));
    }
    let parent = folder.ancestors().find(|parent| parent.exists()).unwrap_or(folder);
    can_write(parent)
        .map(|()| format!("{name} is not there yet and can be made"))
        .map_err(|error| problem(error, parent))
}

/// Whether the disk has the room that the spool may take.
fn spool(config: &Config) -> Finding {
    let folder = &config.agent.data_dir;
    let place = folder.ancestors().find(|parent| parent.exists()).unwrap_or(folder);
    let disk = rustix::fs::statvfs(place).map_err(|error| format!("{}: {error}", place.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let most = config.spool.max.unwrap_or_else(|| agent::queue::bytes_max_default(free));
    let used: u64 = agent::queue::look(&folder.join("spool"), |_, _, _| std::io::Result::Ok(()))
        .map_err(|error| format!("{}: {error}", folder.join("spool").display()))?
        .iter()
        .map(|segment| segment.bytes)
        .sum();
    let (free, most, used) = (free >> 20, most >> 20, used >> 20);
    if free + used < most {
        return Err(format!(
            "it may take {most} MiB and has {used}, but the disk has {free} MiB left: make room, or set [spool] max"
        ));
    }
    Ok(format!("{used} of {most} MiB, the disk has {free} MiB left"))
}

/// Whether what the collector handed out fits this host.
fn central(config: &Config, path: &Path) -> Finding {
    let central = Central::open(&config.agent.data_dir).map_err(|error| error.to_string())?;
    if let Some(pushed) = central.current() {
        let name = format!("pushed version {}", pushed.version);
        Loaded::with_pushed(path, Some((&name, &pushed.text))).map_err(|error| error.to_string())?;
    }
    if let Some(given_up) = central.given_up() {
        return Err(format!("version {} was given up: {}", given_up.version, given_up.error));
    }
    Ok(central.current().map_or_else(
        || "accepted, none is in use".to_owned(),
        |pushed| format!("version {} is in use and fits", pushed.version),
    ))
}

fn watches() -> Finding {
    let path = "/proc/sys/fs/inotify/max_user_watches";
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{path}: {error}; files are found by looking every second"))?;
    match text.trim().parse::<u64>() {
        Ok(watches) if watches >= WATCHES_MIN => Ok(format!("{watches} watches allowed")),
        _ => Err(format!("only {} watches allowed: sysctl fs.inotify.max_user_watches=65536", text.trim())),
    }
}

/// Whether a collector answers, and how far its clock is off by its `Date` header.
fn collector(config: &Config, endpoint: &str) -> Finding {
    let uri: http::Uri = endpoint.parse().map_err(|error| format!("{endpoint}: {error}"))?;
    let host = uri.host().unwrap_or_default();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let problem = |error: std::io::Error| format!("{endpoint} cannot be reached: {error}");
    let stream = connect(host, port).map_err(problem)?;
    let answer = if is_tls {
        let tls = agent::client_config(&config.collector).map_err(|error| error.to_string())?;
        let name = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|error| format!("{endpoint}: {error}"))?;
        let connection = ClientConnection::new(Arc::new(tls), name).map_err(|error| error.to_string())?;
        exchange(host, StreamOwned::new(connection, stream))
    } else {
        exchange(host, stream)
    };
    judge(endpoint, &answer.map_err(problem)?)
}

/// Sends an empty OTLP request and reads the answer.
fn exchange(host: &str, stream: impl Read + Write) -> std::io::Result<String> {
    let body = "{}";
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
    ask(&format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()), stream)
}

/// Sends a request after which the connection ends; the beginning of the answer.
fn ask(request: &str, mut stream: impl Read + Write) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        // Many servers end a TLS connection without saying so; the answer is whole by its headers.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => drop(read?),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A connection to the first address of a host.
fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let no_address = || std::io::Error::other(format!("`{host}` has no address"));
    let address = (host.trim_matches(['[', ']']), port).to_socket_addrs()?.next().ok_or_else(no_address)?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// What the answer says about the collector and its clock.
fn judge(endpoint: &str, answer: &str) -> Finding {
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    if status != "200" {
        return Err(format!("{endpoint} answered {status} to an empty OTLP request: is it a collector?"));
    }
    let date = answer
        .lines()
        .find_map(|line| line.to_ascii_lowercase().starts_with("date:").then(|| line[5..].trim()));
    let Some(theirs) = date.and_then(http_date) else { return Ok(format!("{endpoint} takes OTLP")) };
    let ours = model::SystemClock::shared().now();
    let skew = ours.since(theirs);
    if skew.abs() > SKEW_MAX {
        return Err(format!("{endpoint}: the clocks differ by {} s: run NTP on both", skew / SECOND));
    }
    Ok(format!("{endpoint} takes OTLP, clocks agree within 2 s"))
}

/// `Tue, 24 Nov 2026 10:41:58 GMT`
fn http_date(text: &str) -> Option<UnixNano> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let (day, month, year, clock) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? + 1;
    format!("{year}-{month:02}-{day}T{clock}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        let time = http_date("Tue, 24 Nov 2026 12:00:00 GMT").expect("a date");
        assert_eq!(time, UnixNano(1_795_521_600_000_000_000));
        assert_eq!(http_date("yesterday"), None);
    }
}
