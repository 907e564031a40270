//! `silmari.toml`: the settings of `silmari serve`. The reference page is generated from these types.
//!
//! Invariant: everything has a default; an unknown key is an error with line, column and the keys that
//! would be right.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::units;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// Everything in `silmari.toml`. Relative paths begin at the file's folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The store.
    pub(crate) store: StoreConfig,
    /// How long rows stay.
    pub(crate) retention: RetentionConfig,
    /// Receiving telemetry.
    pub(crate) collector: collector::Settings,
    /// What is hidden in everything that is received.
    pub(crate) redaction: collector::settings::Redaction,
    /// The query API.
    pub(crate) api: ApiConfig,
    /// What a SQL statement may cost.
    pub(crate) sql: SqlConfig,
    /// What identifies a request.
    pub(crate) ids: IdsConfig,
    /// Rows of journeys that are inferred from log lines.
    pub(crate) inference: InferenceConfig,
    /// Alert rules and where alerts go.
    pub(crate) rules: RulesConfig,
    /// Boards.
    pub(crate) boards: BoardsConfig,
    /// The server's own metrics.
    pub(crate) own_metrics: OwnMetricsConfig,
    /// A read-only tap on business topics of Kafka. Default: not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kafka_tap: Option<collector::settings::KafkaTap>,
}

/// How rows get from memory to disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// Rows in memory that make them be written as segments. Default: 262144.
    pub(crate) seal_rows: usize,
    /// Age of the oldest row in memory that makes it be written. Default: `10m`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub(crate) seal_interval: Duration,
    /// Memory for rows that are not yet in segments; above it senders are asked to wait. Default: `384MiB`.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub(crate) head_bytes_max: usize,
    /// Memory for rows that are not yet in segments, requests in flight, queries and pages of segments that were read
    /// lately (64 MiB, or 1/32 if that is less) together; the rows take at most
    /// half of it, an eighth is kept for requests. Default: 60 % of the cgroup's limit, or of the machine's memory.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub(crate) memory_bytes_max: usize,
    /// How much of the disk has to be free; below it senders are asked to wait and queries go on. Default:
    /// `1GiB`, or 5 % of a smaller disk.
    #[serde(with = "units::optional_size", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(crate) disk_free_bytes_min: Option<u64>,
    /// Segments of similar size of one hour that make them be merged while the hour lasts, 2 to 16; ten minutes
    /// after its end all small ones are merged. Default: 8.
    pub(crate) compaction_fan_in: usize,
    /// Whether the words of log bodies and span names are indexed. Without, segments are smaller and written faster, and searches
    /// read every body of the time range; ids are found as fast as ever. Segments that have an index keep it until they are
    /// merged. Default: true.
    pub(crate) text_index: bool,
    /// Where sealed segments are kept: `s3://BUCKET/PREFIX` for an object store, of which the data folder holds a bounded
    /// cache then. Default: in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) segments: Option<String>,
    /// The object store that `segments` names.
    pub(crate) s3: S3Config,
    /// Which segments live, and how far senders have come: `postgres://USER@HOST:PORT/DATABASE`, for this collector alone. The
    /// password is best in `PGPASSWORD`, or in the file that `PGPASSFILE` names. Default: a file in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) catalog: Option<String>,
    /// Attributes that have a column of their own in every segment.
    pub(crate) promote: PromoteConfig,
}

/// The object store that `segments` names. Without `credentials_file` the keys are those of `AWS_ACCESS_KEY_ID` and
/// `AWS_SECRET_ACCESS_KEY`, of a web identity token, or of the machine's role; see docs/operating/object-store.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct S3Config {
    /// Base URL of a service that is not AWS, for example `https://minio.shop.internal:9000`. Default: AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// Region. Default: `AWS_REGION` or `AWS_DEFAULT_REGION`, else `us-east-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// File with `aws_access_key_id = …` and `aws_secret_access_key = …`, a line each; a secret of the orchestrator, for
    /// example. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials_file: Option<PathBuf>,
    /// Whether the endpoint may be `http://`: telemetry and signatures cross the network unencrypted then. Default: `false`.
    pub(crate) allow_http: bool,
    /// Bytes of the data folder that copies of segments may take, `64MiB` at least. Default: `10GiB`.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub(crate) cache_bytes_max: u64,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            credentials_file: None,
            allow_http: false,
            cache_bytes_max: 10 << 30,
        }
    }
}

impl StoreConfig {
    /// Where segments and catalog are, as the store takes it.
    pub(crate) fn places(&self) -> Result<storage::Places, Failure> {
        let catalog =
            self.catalog.as_deref().map_or(Ok(storage::CatalogHome::Embedded), storage::CatalogHome::of_url);
        let catalog = catalog.map_err(|error| Failure::usage(format!("[store] catalog: {error}")))?;
        Ok(storage::Places { segments: self.segment_home()?, catalog })
    }

    fn segment_home(&self) -> Result<storage::SegmentHome, Failure> {
        let S3Config { endpoint, region, credentials_file, allow_http, cache_bytes_max } = self.s3.clone();
        let Some(url) = &self.segments else {
            return match self.s3 == S3Config::default() {
                true => Ok(storage::SegmentHome::Folder),
                false => Err(Failure::usage(
                    "[store.s3] describes an object store and nothing is kept there: set segments = \"s3://BUCKET/PREFIX\" under [store]",
                )),
            };
        };
        let refused = |error: storage::Error| Failure::usage(format!("[store] segments: {error}"));
        let named = storage::ObjectSettings::new(url).map_err(refused)?;
        let settings = storage::ObjectSettings {
            endpoint,
            region,
            credentials_file,
            allow_http,
            cache_bytes_max,
            ..named
        };
        settings.check().map_err(|error| Failure::usage(format!("[store.s3]: {error}")))?;
        Ok(storage::SegmentHome::Objects(settings))
    }
}

/// Attributes that have a column of their own in every segment, beside those that one row in 64 has; 48 a signal at most,
/// asked for and frequent ones together. A filter or a group in SQL reads one column then, and other Parquet readers find it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PromoteConfig {
    /// Of spans, for example `["http.route", "db.system"]`. Default: none.
    pub(crate) traces: Vec<String>,
    /// Of log records. Default: none.
    pub(crate) logs: Vec<String>,
}

impl PromoteConfig {
    /// As the store takes it.
    pub(crate) fn settings(&self) -> storage::Promote {
        storage::Promote { traces: self.traces.clone(), logs: self.logs.clone() }
    }
}

/// How long rows stay. Nothing is removed unless a key says so. A file goes as a whole when its latest row is old
/// enough: up to an hour later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetentionConfig {
    /// Spans.
    pub(crate) traces: KeepConfig,
    /// Log records.
    pub(crate) logs: KeepConfig,
    /// Data points; `errors_age` means nothing for them.
    pub(crate) metrics: KeepConfig,
}

/// How long the rows of one signal stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeepConfig {
    /// Age, by its own time, at which a row goes, for example `30d`. Default: never.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(crate) age: Option<Duration>,
    /// The same for spans of traces in which a span has failed and for log records of level error and above, if it is
    /// longer than `age`. Default: as `age`.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(crate) errors_age: Option<Duration>,
    /// Bytes of files above which the oldest go, errors too, for example `200GiB`. Default: no limit.
    #[serde(with = "units::optional_size", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(crate) bytes_max: Option<u64>,
    /// Other ages for rows of some senders, longer or shorter, each `{ attribute = "tenant.id", value = "acme", age = "90d" }`:
    /// an attribute of the resource (of metrics, a label) with this value; without `age`, for ever. The first that matches
    /// a row counts, in the place of `age`. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<KeepRuleConfig>,
}

/// How long rows of some senders stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeepRuleConfig {
    /// Key of an attribute of the resource; of metrics, name of a label.
    pub(crate) attribute: String,
    /// The value it has to have.
    pub(crate) value: String,
    /// In the place of `age` above. Default: for ever.
    #[serde(default, with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(crate) age: Option<Duration>,
}

impl RetentionConfig {
    /// As the store takes it.
    pub(crate) fn settings(&self) -> storage::Retention {
        let rule = |rule: &KeepRuleConfig| storage::KeepRule {
            attribute: rule.attribute.clone(),
            value: rule.value.clone(),
            age: rule.age,
        };
        let keep = |keep: &KeepConfig| storage::Keep {
            age: keep.age,
            errors_age: keep.errors_age,
            rules: keep.rules.iter().map(rule).collect(),
            bytes_max: keep.bytes_max,
        };
        storage::Retention {
            traces: keep(&self.traces),
            logs: keep(&self.logs),
            metrics: keep(&self.metrics),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        let store = storage::Settings::new("");
        Self {
            seal_rows: store.seal_rows,
            seal_interval: store.seal_interval,
            head_bytes_max: store.head_bytes_max,
            memory_bytes_max: store.memory_bytes_max,
            disk_free_bytes_min: None,
            compaction_fan_in: store.compaction_fan_in,
            text_index: store.text_index,
            segments: None,
            s3: S3Config::default(),
            catalog: None,
            promote: PromoteConfig::default(),
        }
    }
}

/// Where queries are answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApiConfig {
    /// Address of the query API. Default: `127.0.0.1:3900`.
    pub(crate) listen: SocketAddr,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3900)) }
    }
}

/// What a SQL statement may cost. Statements run in processes of their own; docs/reference/sql.md has the limits
/// that cannot be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SqlConfig {
    /// How long it may take. A second later its process is killed. `silmari sql` waits fifteen minutes at most. Default: `30s`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub(crate) timeout: Duration,
    /// Memory for sorting, grouping and joining; half of what `[store] memory_bytes_max` leaves free when that is less.
    /// Default: `256MiB`.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub(crate) memory_bytes_max: usize,
    /// Bytes of segment files it may read. Default: `16GiB`.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub(crate) scan_bytes_max: usize,
}

impl Default for SqlConfig {
    fn default() -> Self {
        let limits = query::sql::SqlLimits::default();
        Self {
            timeout: limits.timeout,
            memory_bytes_max: limits.memory_bytes_max,
            scan_bytes_max: limits.scan_bytes_max,
        }
    }
}

/// What identifies a request, a purchase, a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IdsConfig {
    /// File with the id kinds. Default: built-in kinds for orders, carts, payments, correlation and request
    /// ids, messages and sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
}

/// Rows of journeys that are inferred from the start and finish lines of services that send no spans. What a line
/// tells is its first word that stands in one of the lists; words are compared in lower case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct InferenceConfig {
    /// Whether it is done. Default: `true`.
    pub(crate) enabled: bool,
    /// Words of a start. Default: `start started starting starts begin begins began received incoming`.
    pub(crate) start: Vec<String>,
    /// Words of a finish. Default: `finish finished finishes end ended ends complete completed completes done responded
    /// returned succeeded failed aborted`.
    pub(crate) finish: Vec<String>,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        let query::journey::InferenceWords { is_on, start, finish } = Default::default();
        Self { enabled: is_on, start, finish }
    }
}

impl InferenceConfig {
    /// As journeys take it.
    pub(crate) fn words(&self) -> query::journey::InferenceWords {
        let lower = |words: &[String]| words.iter().map(|word| word.to_lowercase()).collect();
        query::journey::InferenceWords {
            is_on: self.enabled,
            start: lower(&self.start),
            finish: lower(&self.finish),
        }
    }
}

/// Which alert rules are evaluated, and who is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RulesConfig {
    /// Files, or folders whose `*.yaml` and `*.yml` are read. Default: none.
    pub(crate) paths: Vec<PathBuf>,
    /// How often a group without an interval of its own is evaluated. Default: `15s`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub(crate) interval: Duration,
    /// URLs that get alerts as Alertmanager's webhook receiver does. Default: none.
    pub(crate) webhooks: Vec<String>,
    /// Base URLs of Alertmanagers (API v2). Default: none.
    pub(crate) alertmanagers: Vec<String>,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            interval: Duration::from_secs(15),
            webhooks: Vec::new(),
            alertmanagers: Vec::new(),
        }
    }
}

/// Which boards are served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BoardsConfig {
    /// Folder whose `*.toml` are boards, beside the built-in ones. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
}

/// The server's own metrics, and what it knows of agents and service instances, as series in its store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OwnMetricsConfig {
    /// How often they are written; `0s` for never. Default: `15s`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub(crate) interval: Duration,
}

impl Default for OwnMetricsConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(15) }
    }
}

impl Config {
    /// Reads a file; the defaults when there is none.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let mut config =
            Self::parse(&text).map_err(|error| Failure::usage(format!("{}:{error}", path.display())))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        config.ids.file = config.ids.file.map(|file| folder.join(file));
        config.store.s3.credentials_file = config.store.s3.credentials_file.map(|file| folder.join(file));
        config.boards.folder = config.boards.folder.map(|at| folder.join(at));
        config.rules.paths = config.rules.paths.iter().map(|at| folder.join(at)).collect();
        Ok(config)
    }

    /// Reads the text of a file. The error begins with `line:column:`.
    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let (line, column) = model::text::place(text, at);
            format!("{line}:{column}: {}", error.message())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults_and_the_defaults_can_be_written_down() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
        let text = toml::to_string(&Config::default()).expect("can be written");
        assert_eq!(Config::parse(&text), Ok(Config::default()));
    }

    #[test]
    fn retention_is_read_by_signal_and_written_back() {
        let text = "[retention.logs]\nage = \"7d\"\nbytes_max = \"1GiB\"\n";
        let config = Config::parse(text).expect("valid");
        assert_eq!(config.retention.logs.age, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(config.retention.settings().logs.bytes_max, Some(1 << 30));
        assert_eq!(config.retention.traces, KeepConfig::default());
        let text = toml::to_string(&config).expect("can be written");
        assert_eq!(Config::parse(&text), Ok(config));
        let text = "[[retention.logs.rules]]\nattribute = \"tenant.id\"\nvalue = \"acme\"\nage = \"90d\"\n\
                    [[retention.logs.rules]]\nattribute = \"tenant.id\"\nvalue = \"bank\"\n";
        let config = Config::parse(text).expect("valid");
        let ages: Vec<_> = config.retention.settings().logs.rules.iter().map(|rule| rule.age).collect();
        assert_eq!(ages, [Some(Duration::from_secs(90 * 86_400)), None]);
        assert_eq!(Config::parse(&toml::to_string(&config).expect("can be written")), Ok(config));
        let error = Config::parse("[retention.logs]\nage = \"7\"\n").expect_err("no unit");
        assert!(error.contains("15m"), "{error}");
    }

    #[test]
    fn segments_are_kept_in_the_data_folder_unless_a_bucket_is_named() {
        let home = |text: &str| Config::parse(text).expect("valid").store.segment_home();
        assert_eq!(home("").ok(), Some(storage::SegmentHome::Folder));
        let text = "[store]\nsegments = \"s3://telemetry/eu\"\n[store.s3]\nendpoint = \"https://minio:9000\"\ncache_bytes_max = \"1GiB\"\n";
        let Ok(storage::SegmentHome::Objects(settings)) = home(text) else { panic!("a bucket is named") };
        assert_eq!(
            (&*settings.bucket, &*settings.prefix, settings.cache_bytes_max),
            ("telemetry", "eu", 1 << 30)
        );
        for (wrong, word) in [
            ("[store]\nsegments = \"/srv/segments\"\n", "s3://BUCKET"),
            ("[store.s3]\nregion = \"eu-central-1\"\n", "nothing is kept there"),
            ("[store]\nsegments = \"s3://b\"\n[store.s3]\nendpoint = \"http://minio:9000\"\n", "allow_http"),
        ] {
            let error = format!("{:?}", home(wrong).expect_err(wrong));
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_column_and_what_would_be_right() {
        let error = Config::parse("[store]\nseal_row = 5\n").expect_err("unknown key");
        assert!(error.starts_with("2:1: ") && error.contains("seal_rows"), "{error}");
        let error = Config::parse("[store]\nseal_interval = \"5\"\n").expect_err("no unit");
        assert!(error.starts_with("2:17: ") && error.contains("15m"), "{error}");
    }
}
