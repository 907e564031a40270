//! `silmari-agent check`

use std::io::Write;

use agent::config::Loaded;
use agent::{Config, exit_code};

use super::CheckArgs;

pub(super) fn run(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let loaded = match &args.pushed {
        None => Config::load(&args.config.config),
        Some(pushed) => Loaded::with_pushed_file(&args.config.config, pushed).map(|loaded| loaded.config),
    };
    if args.json {
        return write_json(loaded, out);
    }
    let config = loaded?;
    writeln!(out, "{}: valid", args.config.config.display())?;
    writeln!(out, "  ships to    {}", config.collector.endpoints.join(", "))?;
    writeln!(out, "  data_dir    {}", config.agent.data_dir.display())?;
    for (name, address) in
        [("OTLP gRPC", config.otlp.grpc), ("OTLP HTTP", config.otlp.http), ("admin", config.admin.listen)]
    {
        if let Some(address) = address {
            writeln!(out, "  {name:<11} {address}")?;
        }
    }
    let plan = agent::memory::Plan::of(&config)?;
    writeln!(out, "  memory      {} of {} KiB may be used", plan.sum() / 1024, plan.limit / 1024)?;
    for (name, matching) in agent::input::matching_files(&config) {
        let read = matching.iter().filter(|(_, reason)| reason.is_none()).count();
        writeln!(out, "  files.{name}: {read} would be read now")?;
        for (path, reason) in matching {
            let reason = reason.map(|reason| format!("  not read: {reason}")).unwrap_or_default();
            writeln!(out, "    {}{reason}", super::shown(&path.to_string_lossy()))?;
        }
    }
    Ok(exit_code::OK)
}

fn write_json(loaded: Result<Config, agent::Error>, out: &mut impl Write) -> anyhow::Result<u8> {
    let (answer, code) = match &loaded {
        Ok(config) => {
            let files: Vec<_> = agent::input::matching_files(config)
                .into_iter()
                .flat_map(|(name, matching)| {
                    matching.into_iter().map(move |(path, reason)| {
                        serde_json::json!({"table": name, "path": path, "not_read": reason})
                    })
                })
                .collect();
            (serde_json::json!({"valid": true, "version": config.version(), "files": files}), exit_code::OK)
        }
        Err(error) => (serde_json::json!({"valid": false, "error": error.to_string()}), error.exit_code()),
    };
    writeln!(out, "{answer}")?;
    Ok(code)
}
