//! How large and how long the benchmarks are. Both take the same options, so that one
//! `cargo bench --package benches -- …` reaches both.

use std::path::PathBuf;

use clap::Parser;
use storage::Compression;

/// Options of the benchmarks; each can come from the environment, too.
#[derive(Clone, Debug, Parser)]
#[command(name = "benches")]
pub struct Options {
    /// Longest time that requests are sent, for each signal
    #[arg(long, env = "SILMARI_BENCH_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,

    /// Clients that send at the same time, each one request after another
    #[arg(long, env = "SILMARI_BENCH_CLIENTS", default_value_t = 4)]
    pub clients: usize,

    /// Records of a request
    #[arg(long, env = "SILMARI_BENCH_RECORDS", default_value_t = 512)]
    pub records: usize,

    /// Most requests of each signal; each is made beforehand and sent once
    #[arg(long, env = "SILMARI_BENCH_REQUESTS", default_value_t = 4_096)]
    pub requests: usize,

    /// How requests are compressed: `identity`, `gzip` or `zstd`
    #[arg(long, env = "SILMARI_BENCH_COMPRESSION", default_value = "gzip", value_parser = compression)]
    pub compression: Compression,

    /// Spans in the store that journeys are looked for in; it holds two and a half times as many log records
    #[arg(long, env = "SILMARI_BENCH_SPANS", default_value_t = 200_000)]
    pub spans: usize,

    /// Records of that store that are in its head, half of all at most; as many as a server keeps there unless given
    #[arg(long, env = "SILMARI_BENCH_HEAD_RECORDS", default_value_t = 262_144)]
    pub head_records: usize,

    /// Segments of each signal that the others are spread over
    #[arg(long, env = "SILMARI_BENCH_SEGMENTS", default_value_t = 4)]
    pub segments: usize,

    /// Journeys that are looked for in each case
    #[arg(long, env = "SILMARI_BENCH_JOURNEYS", default_value_t = 500)]
    pub journeys: usize,

    /// Spans of the large trace that is looked for besides; none leaves the large journeys out
    #[arg(long, env = "SILMARI_BENCH_LARGE_SPANS", default_value_t = 100_000)]
    pub large_spans: usize,

    /// Traces that one id of the large journeys hangs on
    #[arg(long, env = "SILMARI_BENCH_HUB_TRACES", default_value_t = 100_000)]
    pub hub_traces: usize,

    /// A store that is there, of which random traces are looked for instead of making one; nothing is changed in it
    #[arg(long, env = "SILMARI_BENCH_STORE")]
    pub store: Option<PathBuf>,

    /// Adds the large trace and the hub to that store, for good, unless it has them, and looks for them as well
    #[arg(long, env = "SILMARI_BENCH_ADD_LARGE", requires = "store")]
    pub add_large: bool,

    /// A `victoria-traces` program that is sent the same spans, in the same run (`go install
    /// github.com/VictoriaMetrics/VictoriaTraces/app/victoria-traces@latest`)
    #[arg(long, env = "SILMARI_BENCH_VICTORIA_TRACES")]
    pub victoria_traces: Option<PathBuf>,

    /// A `victoria-logs` program that is sent the same log records (`go install
    /// github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@v1.52.1`)
    #[arg(long, env = "SILMARI_BENCH_VICTORIA_LOGS")]
    pub victoria_logs: Option<PathBuf>,

    /// Seed of everything that is random
    #[arg(long, env = "SILMARI_BENCH_SEED", default_value_t = 1)]
    pub seed: u64,

    /// Folder on the disk that is measured [default: below the target folder]
    #[arg(long, env = "SILMARI_BENCH_DIR")]
    pub dir: Option<PathBuf>,

    /// Given by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
}

fn compression(text: &str) -> Result<Compression, String> {
    match text {
        "identity" => Ok(Compression::Identity),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("use identity, gzip or zstd".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_that_cargo_adds_is_taken_and_a_wrong_compression_is_not() {
        let options = Options::try_parse_from(["ingest", "--compression", "zstd", "--bench"]).expect("valid");
        assert_eq!((options.compression, options.bench), (Compression::Zstd, true));
        let error = Options::try_parse_from(["ingest", "--compression", "lz4"]).expect_err("unknown");
        assert!(error.to_string().contains("identity, gzip or zstd"), "{error}");
    }
}
