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
    assert_eq!((config.spool.max, config.spool.durability), (None, super::Durability::Process));
    assert_eq!(config.spool.when_full.logs, super::WhenFull::Block);
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
    assert_eq!((config.collector.batch, config.spool.max), (64 << 10, Some(2 << 20)));
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
    refused("[collector]\nendpoint = \"ftp://c:4318\"\n", (2, 12), "https://HOST:PORT");
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

#[test]
fn tables_of_several_files_make_one_configuration_and_a_table_stands_in_one() {
    let main = ("agent.toml", "[collector]\nflush = \"1s\"\n[files.a]\ninclude = [\"/a\"]\n");
    let more = ("conf.d/b.toml", "[files.b]\ninclude = [\"/b\"]\n[host]\n");
    let config = Config::parse_parts(&[main, more], |_| None).expect("valid");
    assert_eq!(config.files.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((config.collector.flush, config.host.is_some()), (Duration::from_secs(1), true));
    let again = ("conf.d/c.toml", "\n[files.a]\ninclude = [\"/c\"]\n");
    let error = Config::parse_parts(&[main, more, again], |_| None).expect_err("twice");
    assert_eq!(
        error.to_string(),
        "conf.d/c.toml:2:8: [files.a] stands in `agent.toml` too: keep it in one file"
    );
    let wrong = ("conf.d/d.toml", "[files.d]\nincludes = []\n");
    let error = Config::parse_parts(&[main, wrong], |_| None).expect_err("a mistake");
    assert_eq!((error.file.as_str(), error.line, error.column), ("conf.d/d.toml", 2, 1));
}

#[test]
fn a_secret_is_read_from_its_file_and_never_shown() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cr3t-value\n").expect("written");
    let reference = format!("${{file:{}}}", path.display());
    let config =
        parse(&format!("[scrape.a]\ntargets = [\"h:1\"]\nbearer_token = \"{reference}\"\n")).expect("valid");
    let token = config.scrape["a"].bearer_token.clone().expect("set");
    assert_eq!(token.reveal(), "s3cr3t-value");
    assert!(!format!("{config:?}").contains("s3cr3t"));
    let error = parse(&format!("[collector]\nendpoint = \"{reference}\"\n")).expect_err("no URL");
    assert!(error.problem.contains(&reference) && !error.problem.contains("s3cr3t"), "{error}");
    refused("[agent]\ninstance = \"${file:/no/such}\"\n", (2, 12), "cannot read the secret `/no/such`");
}

#[test]
fn processors_and_inputs_are_read_and_their_mistakes_have_places() {
    let config = parse(
        r#"
        [files.a]
        include = ["/a"]
        multiline = { start = '^\d', timeout = "2s" }
        redact = ["default", "cards"]
        sample = { keep = 0.1, unless = "level >= warn" }
        rate_limit = { lines = 5, per = "input" }
        repeat_window = "10s"
        [syslog]
        listen = ["udp://127.0.0.1:5140", "unix:///run/x.sock"]
        [scrape.b]
        targets = ["127.0.0.1:9000", "http://h:1/m"]
        "#,
    )
    .expect("valid");
    let process = config.files["a"].process();
    assert_eq!(process.multiline.timeout(), Duration::from_secs(2));
    assert_eq!(process.repeat_window, Some(Duration::from_secs(10)));
    assert_eq!(config.syslog.expect("set").listen.len(), 2);
    let files = "[files.a]\ninclude = []\n";
    refused(&format!("{files}multiline = \"jav\"\n"), (3, 13), "did you mean `java`?");
    refused(&format!("{files}multiline = {{ start = '(' }}\n"), (3, 23), "is no pattern");
    refused(&format!("{files}drop = [\"levl >\"]\n"), (3, 8), "is no condition");
    refused(&format!("{files}sample = {{ keep = 2.0 }}\n"), (3, 19), "is no share");
    refused(&format!("{files}redact = [\"emial\"]\n"), (3, 11), "did you mean `email`?");
    refused("[syslog]\nlisten = [\"514\"]\n", (2, 10), "udp://IP:PORT");
    refused("[scrape.a]\ntargets = [\"ftp://x\"]\n", (2, 11), "http://HOST:PORT/metrics");
    refused("[host]\ninterval = \"1ms\"\n", (2, 12), "100ms or more");
}

const LOCAL: (&str, &str) = (
    "agent.toml",
    "[agent]\ninstance = \"one\"\n[central]\naccept = true\nfolders = [\"/var/log\", \"/srv/logs\"]\n\
     [files.a]\ninclude = [\"/l/a.log\"]\nservice = \"a\"\n[files.b]\ninclude = [\"/l/b.log\"]\n",
);

fn with_pushed(text: &str) -> Result<Config, ConfigError> {
    Config::parse_with_pushed(&[LOCAL], Some(("pushed version 4", text)), |_| Some("secret".to_owned()))
}

#[test]
fn a_pushed_table_takes_the_place_of_the_local_one_and_leaves_the_others() {
    let config = with_pushed(
        "[files.a]\ninclude = [\"/var/log/a/*.log\"]\n[host]\n[files.c]\ninclude = [\"/srv/logs/c\"]\n",
    );
    let config = config.expect("fits");
    assert_eq!(config.files["a"].include, ["/var/log/a/*.log"]);
    assert_eq!(
        (config.files["a"].service.as_deref(), config.files["b"].include[0].as_str()),
        (None, "/l/b.log")
    );
    assert!(config.host.is_some() && config.files.contains_key("c"));
    assert_eq!(config.agent.instance.as_deref(), Some("one"));
}

#[test]
fn a_pushed_configuration_sets_only_what_the_host_lets_it_and_its_mistakes_have_places() {
    #[track_caller]
    fn refused(text: &str, place: (usize, usize), part: &str) {
        let error = with_pushed(text).expect_err("not allowed");
        assert_eq!(
            (error.file.as_str(), error.line, error.column),
            ("pushed version 4", place.0, place.1),
            "{error}"
        );
        assert!(error.problem.contains(part), "{error}");
    }
    refused(
        "[collector]\nendpoint = \"http://evil:1\"\n",
        (1, 2),
        "[collector] is not set by a collector (it may set files",
    );
    refused("\n[agent.labels]\nx = \"y\"\n", (2, 2), "[agent] is not set");
    refused("[central]\naccept = true\n", (1, 2), "[central] is not set");
    refused("[file.x]\n", (1, 2), "did you mean `files`?");
    refused("[report.x]\nfiles = [\"/var/log/x\"]\n", (1, 2), "[central] tables");
    refused("[syslog]\nlisten = []\n", (1, 2), "[central] tables");
    refused("[journald]\ncommand = \"/bin/sh\"\n", (2, 1), "a program to run");
    refused("[host]\nproc = \"/\"\n", (2, 1), "a folder to read");
    refused("[scrape.x]\nbearer_token = \"t\"\n", (2, 1), "is a secret");
    refused("[files.x]\ninclude = []\nset = { a = \"${file:/etc/shadow}\" }\n", (3, 13), "is not looked up");
    refused("[files.x]\ninclude = []\nexlude = []\n", (3, 1), "did you mean `exclude`?");
    refused("# nothing\n", (1, 1), "it sets nothing");
    for outside in [
        "/etc/passwd",
        "/var/logs/x",
        "/var/log/../../etc/*",
        "{/var/log,/etc}/x",
        "*",
        "logs/x",
        "/var/*/x",
        "/var/log/*/../../../etc/x",
    ] {
        refused(&format!("[files.x]\ninclude = ['/var/log/ok', '{outside}']\n"), (2, 27), "lies outside");
    }
    refused("[scrape.x]\ntarget_files = ['/etc/t.json']\n", (2, 17), "lies outside");
}

#[test]
fn what_no_host_allows_is_told_before_it_is_pushed() {
    assert_eq!(check_pushed("a.toml", "[syslog]\nlisten = [\"udp://127.0.0.1:1\"]\n"), Ok(()));
    assert_eq!(check_pushed("a.toml", "[files.x]\ninclude = ['/anywhere']\n"), Ok(()));
    let error = check_pushed("a.toml", "[files.x]\ninclude = []\n[otlp]\n").expect_err("never");
    assert!(error.to_string().starts_with("a.toml:3:2: [otlp] is not set by a collector"), "{error}");
}
