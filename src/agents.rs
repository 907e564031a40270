//! `silmari agents`: every agent, how it does, how far it is behind; and the configurations that are handed out.

mod push;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use model::time::parse_duration;
use query_api::RollbackRequest;

use crate::exit::Failure;
use crate::output;
use crate::remote::ServerArgs;

pub(crate) use show::{ago, shown};

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "Examples:
  silmari agents
  silmari agents push billing.toml --select service=billing --percent 10 --wait 3m
  silmari agents push billing.toml --select service=billing --percent 100
  silmari agents stages
  silmari agents rollback
  silmari agents config web-1";

/// Arguments of `agents`.
#[derive(Args, Debug)]
pub(crate) struct AgentsArgs {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<AgentsCommand>,
}

#[derive(Subcommand, Debug)]
enum AgentsCommand {
    /// Hand out a configuration to agents, by label and to a percentage of them
    ///
    /// It is checked here first; each agent checks it whole, tries it, and goes back to its last good one when it does not
    /// do well. The first agent that does stops the stage. The same file again with a larger percentage promotes it.
    Push(PushArgs),
    /// Configurations that are handed out, and how far each got
    Stages,
    /// Take a configuration back: agents return to the one before, or to their own files
    Rollback {
        /// Version of the stage; the newest one unless told
        #[arg(long, value_name = "VERSION")]
        version: Option<u64>,
    },
    /// What an agent runs with, secrets hidden
    Config {
        /// Name or id of the agent
        agent: String,
    },
}

/// Arguments of `agents push`.
#[derive(Args, Debug)]
struct PushArgs {
    /// TOML tables, as of a file in an agent's conf.d
    file: PathBuf,
    /// Only agents with this label; repeatable, all must hold
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', required_unless_present = "all")]
    select: Vec<String>,
    /// All agents, whatever their labels
    #[arg(long, conflicts_with = "select")]
    all: bool,
    /// How many of them, 0 to 100; which ones is fixed by their ids
    #[arg(long)]
    percent: f64,
    /// Wait until every chosen agent uses it; exit 1 when the stage is stopped or the time is over
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// Only say which agents it would reach
    #[arg(long)]
    dry_run: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

pub(crate) async fn run(server: &ServerArgs, arguments: AgentsArgs) -> Result<(), Failure> {
    let (client, is_json) = (server.client()?, arguments.json);
    match arguments.command {
        None => {
            let answer = client.agents().await?;
            if is_json { output::json(&answer) } else { output::text(&show::agents(&answer)) }
        }
        Some(AgentsCommand::Push(arguments)) => push::run(&client, &arguments, is_json).await,
        Some(AgentsCommand::Stages) => {
            let answer = client.agent_stages().await?;
            if is_json { output::json(&answer) } else { output::text(&show::stages(&answer)) }
        }
        Some(AgentsCommand::Rollback { version }) => {
            let stage = client.rollback_agents(&RollbackRequest { version }).await?;
            if is_json { output::json(&stage) } else { output::text(&show::withdrawn(&stage)) }
        }
        Some(AgentsCommand::Config { agent }) => {
            let answer = client.agent_config(&agent).await?;
            if is_json { output::json(&answer) } else { output::text(&show::config(&answer)) }
        }
    }
}
