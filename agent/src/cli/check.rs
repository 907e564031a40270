//! `silmari-agent check`

use std::io::Write;

use agent::{Config, exit_code};

use super::ConfigArgs;

pub(super) fn run(args: &ConfigArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let config = Config::load(&args.config)?;
    writeln!(out, "{}: valid", args.config.display())?;
    writeln!(out, "  ships to    {}", config.collector.endpoints.join(", "))?;
    writeln!(out, "  data_dir    {}", config.agent.data_dir.display())?;
    for (name, address) in
        [("OTLP gRPC", config.otlp.grpc), ("OTLP HTTP", config.otlp.http), ("admin", config.admin.listen)]
    {
        if let Some(address) = address {
            writeln!(out, "  {name:<11} {address}")?;
        }
    }
    for (name, matching) in agent::input::matching_files(&config) {
        writeln!(out, "  files.{name}: {} match now", matching.len())?;
        for (path, reason) in matching {
            let reason = reason.map(|reason| format!("  not read: {reason}")).unwrap_or_default();
            writeln!(out, "    {}{reason}", super::shown(&path.to_string_lossy()))?;
        }
    }
    Ok(exit_code::OK)
}
