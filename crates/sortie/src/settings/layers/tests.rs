//! Layers over each other, and all that can be wrong in them.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use sortie_wire::node::MAX_NAME_BYTES;
use tempfile::NamedTempFile;

use super::super::{Auth, ClientSettings, MasterSettings, WorkerSettings};
use super::*;

/// What a master can be told.
const MASTER_SETTINGS: &str = "auth, data_dir, grpc_addr, http_addr, lease, max_jobs, max_spec_bytes, start_timeout";
/// No flags.
const NONE: [(&str, &str); 0] = [];

fn flags<const N: usize>(flags: [(&str, &str); N]) -> Dict {
    flags.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect()
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("a written file");
    file
}

fn source<S>(loaded: &Loaded<S>, key: &str) -> String {
    loaded.origins.iter().find(|origin| origin.key == key).map(|origin| origin.source.clone()).expect(key)
}

fn problems<S: Settings + fmt::Debug>(environment: &Environment, file: Option<&Path>, flags: Dict) -> Vec<String> {
    let failure = load::<S>(environment, file, &flags).expect_err("problems");
    assert_eq!(failure.code(), 64);
    let message = format!("{failure:?}");
    message.split("\\n  ").skip(1).map(|line| line.trim_end_matches("\") }").replace("\\\"", "\"")).collect()
}

#[test]
fn defaults_need_nothing() {
    let environment = Environment::from([("HOME", "/home/anna")]);
    let master = load::<MasterSettings>(&environment, None, &flags(NONE)).expect("settings");
    assert_eq!(master.settings.http_addr, (Ipv4Addr::LOCALHOST, 9092).into());
    assert_eq!(master.settings.data_dir, Path::new("/home/anna/.local/state/sortie/master"));
    assert_eq!(master.settings.auth, Auth::Loopback);
    assert!(master.origins.iter().all(|origin| origin.source == "default"));
    let client = load::<ClientSettings>(&environment, None, &flags(NONE)).expect("settings");
    assert_eq!(client.settings.server, "http://127.0.0.1:9092");
    assert_eq!(client.settings.retry_for, Duration::from_secs(30));
}

#[test]
fn a_later_layer_wins_and_is_the_source() {
    let file = file("http_addr = '127.0.0.1:1'\ngrpc_addr = '127.0.0.1:2'\ndata_dir = '/data'\n");
    let environment = Environment::from([
        ("SORTIE_MASTER_GRPC_ADDR", "127.0.0.1:3"),
        ("SORTIE_MASTER_DATA_DIR", "/other"),
        ("SORTIE_MASTER_START_TIMEOUT", "90s"),
        ("SORTIE_MASTER_MAX_SPEC_BYTES", "1048576"),
    ]);
    let loaded =
        load::<MasterSettings>(&environment, Some(file.path()), &flags([("data_dir", "/flag")])).expect("settings");
    let settings = &loaded.settings;
    assert_eq!((settings.http_addr.port(), settings.grpc_addr.port()), (1, 3));
    assert_eq!(settings.data_dir, Path::new("/flag"));
    assert_eq!(settings.start_timeout, Duration::from_secs(90));
    assert_eq!(settings.max_spec_bytes, 1_048_576);
    assert_eq!(source(&loaded, "http_addr"), format!("file:{}", file.path().display()));
    assert_eq!(source(&loaded, "grpc_addr"), "SORTIE_MASTER_GRPC_ADDR");
    assert_eq!(source(&loaded, "data_dir"), "--data-dir");
    assert_eq!(source(&loaded, "auth"), "default");
}

#[test]
fn a_variable_is_a_string_until_its_setting_says_otherwise() {
    let environment = Environment::from([
        ("HOME", "/home/anna"),
        ("SORTIE_WORKER_CGROUPS", "on"),
        ("SORTIE_WORKER_NAME", "42"),
        ("SORTIE_WORKER_SLOTS", "3"),
        ("SORTIE_WORKER_LABELS", "zone=a,gpu"),
        ("SORTIE_WORKER_STOP_TIMEOUT", "0s"),
    ]);
    let loaded = load::<WorkerSettings>(&environment, None, &flags(NONE)).expect("settings");
    let settings = &loaded.settings;
    assert_eq!((settings.name.as_str(), settings.slots), ("42", 3));
    assert_eq!(settings.labels, [("zone".to_owned(), "a".to_owned()), ("gpu".to_owned(), String::new())].into());
    assert_eq!(settings.data_dir, Path::new("/home/anna/.local/state/sortie/workers/42"));
    assert!(settings.stop_timeout.is_zero());
    let values: Vec<&str> = loaded.origins.iter().map(|origin| origin.value.as_str()).collect();
    let data_dir = "/home/anna/.local/state/sortie/workers/42";
    assert_eq!(values, ["on", data_dir, "gpu,zone=a", "http://127.0.0.1:50051", "42", "3", "0s"]);
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let file = file("slots = 7\n");
    let path = file.path().to_str().expect("a path");
    let environment = Environment::from([("SORTIE_WORKER_CONFIG", path)]);
    let loaded = load::<WorkerSettings>(&environment, None, &flags(NONE)).expect("settings");
    assert_eq!(loaded.settings.slots, 7);
}

#[test]
fn every_problem_is_told_at_once_with_its_source() {
    let file = file("http_addr = 9092\nport = 1\nauth = 'none'\n");
    let environment = Environment::from([
        ("SORTIE_MASTER_GRPC_ADDR", "localhost:1"),
        ("SORTIE_MASTER_DATA_DIR", ""),
        ("SORTIE_MASTER_HTTP_PORT", "9092"),
        ("SORTIE_MASTER_MAX_JOBS", "0"),
        ("SORTIE_MASTER_START_TIMEOUT", "soon"),
    ]);
    let told = problems::<MasterSettings>(&environment, Some(file.path()), flags([("auth", "open")]));
    let path = file.path().display();
    let expected = [
        format!("file:{path} http_addr: must be a string, not signed int `9092`"),
        format!("file:{path} port: is no setting; these are: {MASTER_SETTINGS}"),
        "SORTIE_MASTER_DATA_DIR: is empty; name a directory".to_owned(),
        "SORTIE_MASTER_GRPC_ADDR: `localhost:1` is no IP:PORT, such as 127.0.0.1:9092".to_owned(),
        format!("SORTIE_MASTER_HTTP_PORT: is no setting; these are: {MASTER_SETTINGS}"),
        "SORTIE_MASTER_MAX_JOBS: must be a whole number from 1".to_owned(),
        "SORTIE_MASTER_START_TIMEOUT: `soon` is no duration, such as 500ms, 90s or 1h 30m".to_owned(),
        "--auth: `open` is none of loopback, none".to_owned(),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_worker_s_values_are_checked() {
    let environment = Environment::from([
        ("SORTIE_WORKER_LABELS", "zone=a,zone=b"),
        ("SORTIE_WORKER_MASTER_URL", "master:50051"),
        ("SORTIE_WORKER_NAME", "../x"),
        ("SORTIE_WORKER_SLOTS", "0"),
    ]);
    let told = problems::<WorkerSettings>(&environment, None, flags([("slots", "many")]));
    let sources: Vec<&str> = told.iter().filter_map(|problem| problem.split(": ").next()).collect();
    let [labels, url, name, slots, flag] = sources.as_slice() else { panic!("{told:?}") };
    assert_eq!([*labels, *url], ["SORTIE_WORKER_LABELS", "SORTIE_WORKER_MASTER_URL"]);
    assert_eq!([*name, *slots, *flag], ["SORTIE_WORKER_NAME", "SORTIE_WORKER_SLOTS", "--slots"]);
    assert!(
        told.iter().rev().take(2).all(|problem| problem.ends_with(": must be a number from 1 to 65535")),
        "{told:?}"
    );
}

#[test]
fn a_worker_s_name_is_one_that_a_master_takes() {
    let long = "a".repeat(MAX_NAME_BYTES);
    let load = |name: &str| load::<WorkerSettings>(&Environment::default(), None, &flags([("name", name)]));
    assert_eq!(load(&long).expect("settings").settings.name, long);
    for name in [format!("{long}a").as_str(), "", "..", "a b", "a/b"] {
        assert_eq!(load(name).expect_err(name).code(), 64);
    }
}

#[test]
fn a_duration_has_limits() {
    let environment = Environment::from([("SORTIE_MASTER_START_TIMEOUT", "366days")]);
    let told = problems::<MasterSettings>(&environment, None, flags([("start_timeout", "0s")]));
    let limits = ["SORTIE_MASTER_START_TIMEOUT: must be at most 365days", "--start-timeout: must be at least 1ms"];
    assert_eq!(told, limits);
}

#[test]
fn a_file_that_is_none_is_told() {
    let missing = problems::<MasterSettings>(&Environment::default(), Some(Path::new("/no/such")), flags(NONE));
    assert_eq!(missing, ["--config: `/no/such` cannot be read: No such file or directory (os error 2)"]);
    let broken = file("http_addr =");
    let told = problems::<MasterSettings>(&Environment::default(), Some(broken.path()), flags(NONE));
    assert!(told[0].contains("is no TOML: "), "{told:?}");
    let environment = Environment::from([("SORTIE_MASTER_CONFIG", "")]);
    assert_eq!(problems::<MasterSettings>(&environment, None, flags(NONE)).len(), 1);
}

#[test]
fn kubernetes_service_links_are_told_apart_from_settings() {
    let environment = Environment::from([
        ("SORTIE_MASTER_PORT", "tcp://10.0.0.1:9092"),
        ("SORTIE_MASTER_PORT_9092_TCP", "tcp://10.0.0.1:9092"),
        ("SORTIE_MASTER_SERVICE_HOST", "10.0.0.1"),
        ("SORTIE_MASTER_SERVICE_PORT", "9092"),
    ]);
    let told = problems::<MasterSettings>(&environment, None, flags(NONE));
    assert_eq!(told, [format!("SORTIE_MASTER_PORT and 3 others: {SERVICE_LINKS}")]);
}

#[test]
fn the_client_leaves_other_variables_alone() {
    let environment = Environment::from([
        ("SORTIE_SERVER", "http://master:9092"),
        ("SORTIE_RETRY_FOR", "0s"),
        ("SORTIE_JOB_ID", "42"),
        ("SORTIE_MASTER_HTTP_ADDR", "127.0.0.1:1"),
        ("SORTIE_SERVICE_HOST", "10.0.0.1"),
    ]);
    let loaded = load::<ClientSettings>(&environment, None, &flags(NONE)).expect("settings");
    assert_eq!(loaded.settings.server, "http://master:9092");
    assert!(loaded.settings.retry_for.is_zero());
    assert_eq!(source(&loaded, "server"), "SORTIE_SERVER");
    let empty = Environment::from([("SORTIE_SERVER", "")]);
    assert_eq!(problems::<ClientSettings>(&empty, None, flags(NONE)).len(), 1);
}
