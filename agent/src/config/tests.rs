//! Good configurations in, settings out; bad ones in, place and nearest choice out.

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "agent.toml", |name| (name == "ENV_NAME").then(|| "prod".to_owned()))
}

#[track_caller]
fn refused(text: &str, place: (usize, usize), part: &str) {
    let error = parse(text).expect_err("a mistake");
    assert_eq!((error.line, error.column), place, "{error}");
    assert!(error.problem.contains(part), "{error}");
}

#[test]
fn two_lines_are_enough_and_the_defaults_are_documented_ones() {
    let config = parse("[files.shop]\ninclude = [\"/var/log/shop/*.log\"]\n").expect("valid");
    assert_eq!(config.collector.endpoints, ["http://127.0.0.1:4318"]);
    assert_eq!(config.collector.flush, Duration::from_millis(200));
    assert_eq!(config.files["shop"].dialect, Dialect::Auto);
    assert_eq!(config.spool.max, 1 << 30);
    assert!(config.admin.listen.is_none());
}

#[test]
fn every_setting_is_read_and_variables_are_replaced_in_values() {
    let config = parse(
        r#"
        [agent]
        data_dir = "/tmp/a"
        instance = "one"
        [agent.resource]
        "deployment.environment.name" = "${ENV_NAME:-dev}"
        "team" = "${TEAM:-shop}-x"
        [collector]
        endpoint = "http://127.0.0.1:4318/"
        compression = "gzip"
        flush = "50ms"
        batch = "64KiB"
        [files.web]
        include = ["/l/*.log"]
        exclude = ["*.tmp"]
        service = "web"
        dialect = "nginx"
        start_at = "end"
        [otlp]
        grpc = "127.0.0.1:0"
        [spool]
        max = "2MiB"
        [admin]
        listen = "127.0.0.1:9099"
        "#,
    )
    .expect("valid");
    assert_eq!(config.agent.resource["deployment.environment.name"], "prod");
    assert_eq!(config.agent.resource["team"], "shop-x");
    assert_eq!(config.collector.endpoints, ["http://127.0.0.1:4318"]);
    assert_eq!(config.collector.compression, Compression::Gzip);
    assert_eq!((config.collector.batch, config.spool.max), (64 << 10, 2 << 20));
    assert_eq!(config.files["web"].dialect, Dialect::Nginx);
    assert_eq!(config.files["web"].start_at, StartAt::End);
}

#[test]
fn an_unknown_key_names_its_place_and_the_nearest_key() {
    refused(
        "[files.a]\ninclude = []\nexlude = []\n",
        (3, 1),
        "unknown key `exlude`, did you mean `exclude`?",
    );
    refused("[colector]\n", (1, 2), "did you mean `collector`?");
    refused("[files.a]\n  include = []\n  start_at = \"ende\"\n", (3, 14), "did you mean `end`?");
}

#[test]
fn wrong_values_name_their_place_and_what_would_be_right() {
    refused("[collector]\nflush = \"200\"\n", (2, 9), "is no duration");
    refused("[collector]\nbatch = \"1TB\"\n", (2, 9), "1KiB to 3MiB");
    refused("[collector]\nendpoint = \"127.0.0.1:4318\"\n", (2, 12), "http://HOST:PORT");
    refused("[collector]\nendpoint = \"https://c:4318\"\n", (2, 12), "http only");
    refused("[spool]\nmax = \"1 gig\"\n", (2, 7), "is no size");
    refused("[otlp]\ngrpc = \"localhost\"\n", (2, 8), "IP:PORT");
    refused("[files.a]\ninclude = [\"/l/[a\"]\n", (2, 11), "is no glob");
    refused("[files.a]\ninclude = []\ndialect = \"jsn\"\n", (3, 11), "did you mean `json`?");
    refused("[agent.resource]\nteam = \"${TEAM}\"\n", (2, 8), "`TEAM` is not set");
    refused("[files.a]\nservice = \"a\"\n", (1, 1), "missing field `include`");
    refused("[files.a\n", (1, 9), "");
    refused("[spool]\nmax = \"1GiB\"\n", (1, 1), "nothing to ship");
}

#[test]
fn the_schema_describes_every_setting() {
    let schema = serde_json::to_string(&schemars::schema_for!(Config)).expect("serialises");
    for key in ["data_dir", "endpoints", "start_at", "listen", "Default `200ms`"] {
        assert!(schema.contains(key), "{key}");
    }
}
