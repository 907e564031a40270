//! `silmari-agent doctor`: what would keep an agent with this configuration from working, and what to do.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::central::Central;
use agent::config::Loaded;
use agent::{Config, exit_code};
use model::UnixNano;
use model::time::SECOND;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{ConfigArgs, shown};

const TIMEOUT: Duration = Duration::from_secs(3);
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
    if config.central.accept {
        say("central configuration", central(&config, &args.config))?;
    }
    say("inotify", watches())?;
    for (name, matching) in agent::input::matching_files(&config) {
        for (path, reason) in matching {
            let finding = match reason {
                Some(reason) if is_problem(&reason) => {
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
    for endpoint in &config.collector.endpoints {
        say("collector", collector(&config, endpoint))?;
    }
    Ok(if problems == 0 { exit_code::OK } else { exit_code::RUNTIME })
}

/// Whether a reason not to read a file is one to do something about.
fn is_problem(reason: &str) -> bool {
    ["no permission", "too many open files", "cannot "].iter().any(|start| reason.starts_with(start))
}

fn data_dir(folder: &Path) -> Finding {
    let probe = folder.join(".doctor");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&probe, b"x"))
        .and_then(|()| fs::remove_file(&probe))
        .map(|()| format!("{} can be written", folder.display()))
        .map_err(|error| format!("{}: {error}; make it writable or set [agent] data_dir", folder.display()))
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
    let address = (host, port).to_socket_addrs().map_err(problem)?.next();
    let address = address.ok_or_else(|| format!("`{host}` has no address"))?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(problem)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(problem)?;
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
fn exchange(host: &str, mut stream: impl Read + Write) -> std::io::Result<String> {
    let body = "{}";
    let request = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    match stream.take(64 << 10).read_to_end(&mut answer) {
        // Many servers end a TLS connection without saying so; the answer is whole by its headers.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => drop(read?),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
