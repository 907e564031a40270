//! What keeps inputs other than files from working: listeners, the journal, pages, files of services, rights.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use agent::Config;
use agent::config::inputs::target_url;
use agent::config::{JournaldSettings, Listen, ScrapeSettings};
use rustix::fs::{Access, access};

use super::{Finding, ask, connect};

/// Looks at each of them.
pub(super) fn look(config: &Config, say: &mut impl FnMut(&str, Finding) -> io::Result<()>) -> io::Result<()> {
    let is_running = UnixStream::connect(config.admin_socket()).is_ok();
    let pushed = [("syslog", config.syslog.as_ref().map(|syslog| &syslog.listen))];
    let pushed = pushed.into_iter().chain([("statsd", config.statsd.as_ref().map(|statsd| &statsd.listen))]);
    let mut listeners: Vec<(&str, Listen)> = Vec::new();
    for (name, listen) in pushed {
        listeners.extend(listen.into_iter().flatten().map(|listen| (name, listen.clone())));
    }
    let otlp = [config.otlp.grpc, config.otlp.http].into_iter().flatten();
    listeners.extend(otlp.map(|address| ("otlp", Listen::Tcp(address))));
    listeners.extend(config.otlp.unix.clone().map(|path| ("otlp", Listen::Unix(path))));
    listeners.extend(config.admin.listen.map(|address| ("admin", Listen::Tcp(address))));
    for (name, listen) in listeners {
        let finding = if is_running {
            Ok(format!("{listen} belongs to the agent that runs"))
        } else {
            free(&listen).map(|()| format!("{listen} is free")).map_err(|error| {
                format!("cannot listen on {listen}: {error}; stop what does, or name another one")
            })
        };
        say(name, finding)?;
    }
    if let Some(settings) = &config.journald {
        say("journald", journal(settings))?;
    }
    for (name, settings) in &config.scrape {
        scrape(settings, &mut |finding| say(&format!("scrape.{name}"), finding))?;
    }
    for (name, settings) in &config.report {
        for path in &settings.files {
            let name = format!("report.{name}");
            let read = File::open(path).map(|_| format!("{} can be read", path.display()));
            say(&name, read.map_err(|error| format!("{} cannot be read: {error}", path.display())))?;
        }
    }
    if let Some(settings) = &config.host {
        say("host", host(&settings.proc, &settings.cgroup))?;
    }
    Ok(())
}

/// Whether nobody listens there and this user may.
fn free(listen: &Listen) -> io::Result<()> {
    let bound = |address: &SocketAddr| TcpListener::bind(address).map(drop);
    match listen {
        Listen::Tcp(address) => bound(address),
        Listen::Udp(address) => UdpSocket::bind(address).map(drop),
        Listen::Unix(path) => {
            let folder = path.parent().unwrap_or(path);
            Ok(access(folder, Access::WRITE_OK)?)
        }
    }
}

/// Whether the program that reads the journal works, and whether it may see all of it.
fn journal(settings: &JournaldSettings) -> Finding {
    let program = settings.command.display();
    let mut command = Command::new(&settings.command);
    command.args(["--output=json", "--lines=1"]).stdin(Stdio::null());
    let answer = command.output().map_err(|error| format!("cannot run `{program}`: {error}"))?;
    let said = String::from_utf8_lossy(&answer.stderr);
    let first = said.lines().next().unwrap_or("it says nothing about why");
    if !answer.status.success() {
        return Err(format!("`{program}` failed: {first}"));
    }
    if said.contains("not seeing messages") {
        return Err(format!(
            "`{program}` shows this user its own messages only: add it to the group systemd-journal"
        ));
    }
    Ok(format!("`{program}` can be read"))
}

/// Whether targets answer and lists of targets can be read.
fn scrape(settings: &ScrapeSettings, say: &mut impl FnMut(Finding) -> io::Result<()>) -> io::Result<()> {
    for path in &settings.target_files {
        let listed = agent::input::listed_targets(path);
        let name = path.display();
        say(listed
            .map(|count| format!("{name} lists {count} targets"))
            .map_err(|error| format!("{name}: {error}")))?;
    }
    settings.targets.iter().try_for_each(|target| say(page(target)))
}

fn page(target: &str) -> Finding {
    let uri = target_url(target)?;
    let host = uri.host().unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let answer = connect(host, uri.port_u16().unwrap_or(80)).and_then(|stream| ask(&request, stream));
    let answer = answer.map_err(|error| format!("{uri} does not answer: {error}"))?;
    match answer.split(' ').nth(1).unwrap_or_default() {
        "200" => Ok(format!("{uri} answers")),
        // The token is not sent from here.
        status @ ("401" | "403") => Ok(format!("{uri} answers {status} to who shows no token")),
        status => Err(format!("{uri} answers {status}: is it a page of metrics?")),
    }
}

/// Whether what other users' processes use can be seen.
fn host(proc: &Path, cgroup: &Path) -> Finding {
    if let Err(error) = File::open(proc.join("stat")) {
        return Err(format!("{} cannot be read: {error}", proc.join("stat").display()));
    }
    let groups = match cgroup.join("cgroup.controllers").exists() {
        true => "control groups can be read",
        false => "there are no control groups (cgroup v2), so no limits and no kills",
    };
    let others = match std::fs::read(proc.join("1/io")) {
        Ok(_) => "I/O and environment of all processes can be seen",
        Err(_) => {
            "I/O, open files and OTEL_SERVICE_NAME of other users' processes cannot be seen (root or CAP_SYS_PTRACE)"
        }
    };
    Ok(format!("{others}; {groups}"))
}
