//! `silmari-agent`: parse the command line, dispatch, exit code.
//!
//! Exit codes: 0 ended as asked, 1 failed while starting or running, 2 wrong configuration or usage,
//! 3 another agent holds the data directory, 4 the data directory is damaged ([`agent::exit_code`]).

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            cli::complain(&error);
            let code = error
                .downcast_ref::<agent::Error>()
                .map_or(agent::exit_code::RUNTIME, agent::Error::exit_code);
            ExitCode::from(code)
        }
    }
}
