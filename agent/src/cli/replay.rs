//! `silmari-agent replay PATH`: a file once more, under a new stream.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use agent::replay::Replay;
use agent::status::Status;
use agent::{Config, exit_code};
use anyhow::Context as _;
use model::{SystemClock, TimeRange, UnixNano};
use tokio_util::sync::CancellationToken;

use super::{ReplayArgs, shown};

/// Failures after which whoever waits is told.
const FAILURES_MAX: u64 = 3;

pub(super) fn run(args: &ReplayArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let config = Config::load(&args.config.config)?;
    let clock = SystemClock::shared();
    let moment = |text: &Option<String>, default| match text {
        Some(text) => moment(text, clock.now()),
        None => Ok(default),
    };
    let time = TimeRange { from: moment(&args.since, UnixNano::MIN)?, to: moment(&args.to, UnixNano::MAX)? };
    let replay = Replay { path: args.path.clone(), source: args.source.clone(), time };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let shutdown = CancellationToken::new();
    let (began, is_terminal) = (clock.monotonic(), io::stderr().is_terminal());
    let (mut told, mut has_complained) = (Duration::ZERO, false);
    let progress = |status: &Status| {
        let now = clock.monotonic().saturating_sub(began);
        if !is_terminal && !has_complained && status.collector.consecutive_failures >= FAILURES_MAX {
            has_complained = true;
            let error = status.collector.last_error.as_deref().unwrap_or_default();
            // Nothing can be done when even that fails.
            writeln!(io::stderr(), "the collector does not take it, trying on: {}", shown(error))
                .unwrap_or_default();
        }
        if is_terminal && now.saturating_sub(told) >= Duration::from_secs(1) {
            told = now;
            let (acked, size) = status.files.first().map_or((0, 0), |file| (file.acked, file.size));
            let problem =
                status.collector.last_error.as_deref().filter(|_| status.collector.consecutive_failures > 0);
            // Only for whoever watches.
            write!(io::stderr(), "\r{acked} of {size} bytes {} ", shown(problem.unwrap_or_default()))
                .unwrap_or_default();
        }
    };
    let status = runtime.block_on(async {
        super::run::cancel_on_signals(shutdown.clone()).context("cannot listen for signals")?;
        anyhow::Ok(replay.run(&config, SystemClock::shared(), shutdown.clone(), progress).await?)
    })?;
    if is_terminal {
        writeln!(io::stderr())?;
    }
    let flow = &status.flows[0];
    let reasons = super::status::reasons(flow);
    let left_out = if reasons.is_empty() { String::new() } else { format!(", left out: {reasons}") };
    let refused = flow.dropped.iter().any(|(reason, count)| {
        matches!(reason, agent::status::DropReason::Refused | agent::status::DropReason::Rejected)
            && *count > 0
    });
    let missing = flow.buffered_records > 0 || shutdown.is_cancelled();
    writeln!(
        out,
        "sent {} records of {}{left_out}",
        flow.output_records,
        shown(&args.path.display().to_string())
    )?;
    if missing {
        writeln!(io::stderr(), "stopped early: the rest was not sent")?;
    }
    Ok(if missing || refused { exit_code::RUNTIME } else { exit_code::OK })
}

/// A moment as RFC 3339 writes it, or so long ago: `2h`.
fn moment(text: &str, now: UnixNano) -> anyhow::Result<UnixNano> {
    if let Ok(ago) = model::time::parse_duration(text) {
        return Ok(now.minus(ago));
    }
    text.parse().map_err(|_| {
        anyhow::anyhow!("`{text}` is no time: write 2026-11-26T10:00:00Z, or how long ago, as in 2h")
    })
}
