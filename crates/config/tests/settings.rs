//! What a user and a role meet: declared keys, files, updates, listings.

use std::path::Path;
use std::sync::{Arc, Mutex};

use kerolox_config as config;

use config::properties;
use config::{ConfigError, Live, Settings, Value};

config::choices! {
    /// When a message counts as stored.
    pub enum FlushDiskType {
        /// After a while.
        AsyncFlush = "ASYNC_FLUSH",
        /// Before the sender gets its answer.
        SyncFlush = "SYNC_FLUSH",
    }
}

config::settings! {
    /// What is stored.
    pub struct StoreConfig from "MessageStoreConfig" {
        /// Directory of everything.
        "storePathRootDir" root: String = "/data".into(), shown("${user.home}/store");
        /// Directory of the commit log.
        "storePathCommitLog" commit_log: Option<String> = None;
        /// Time between two flushes, in milliseconds.
        "flushIntervalCommitLog" flush_interval: u32 = 500, range(1..=60_000), reloadable;
        /// When a message counts as stored.
        "flushDiskType" flush_disk_type: FlushDiskType = FlushDiskType::AsyncFlush, reloadable;
        /// Share of the disk that may be used.
        "logicalDiskSpaceCleanForciblyThreshold" threshold: f64 = 0.8, range(0.0..=1.0);
    }
}

config::settings! {
    /// Where it listens.
    pub struct ServerConfig from "NettyServerConfig" {
        /// The port.
        "listenPort" listen_port: u16 = 0, reloadable;
    }
}

config::settings! {
    /// What it does.
    pub struct BrokerConfig from "BrokerConfig" {
        /// Name of the broker.
        "brokerName" broker_name: String = "broker-a".into(), shown("${hostname}"), important;
        /// Whether topics come into being when first used.
        "autoCreateTopicEnable" auto_create_topic: bool = true, reloadable;
        /// The port, as the broker sees it.
        "listenPort" listen_port: u16 = 10911, differs("6888 in the class, but 10911 once started");
    }
}

config::groups! {
    /// A role.
    pub struct RoleSettings {
        /// What it does.
        pub broker: BrokerConfig,
        /// Where it listens.
        pub server: ServerConfig = ServerConfig { listen_port: 10911 },
        /// What it stores.
        pub store: StoreConfig,
        /// What it logs.
        pub log: config::LogConfig,
    }
}

fn conf(text: &str) -> Result<config::Loaded<RoleSettings>, ConfigError> {
    config::parse_properties("broker.conf", text.as_bytes(), RoleSettings::default())
}

fn changes(text: &str) -> Vec<config::Entry> {
    properties::parse("request", text.as_bytes()).expect("properties")
}

#[test]
fn the_declarations_here_agree_with_the_reference() {
    assert_eq!(config::reference::check::<StoreConfig>(), [] as [String; 0]);
    assert_eq!(
        config::reference::check::<ServerConfig>(),
        [] as [String; 0]
    );
    assert_eq!(
        config::reference::check::<BrokerConfig>(),
        [] as [String; 0]
    );
    assert_eq!(
        config::reference::check::<config::LogConfig>(),
        [] as [String; 0]
    );
}

#[test]
fn the_references_own_broker_conf_is_read() {
    let loaded = conf(
        "brokerClusterName = DefaultCluster\nbrokerName = broker-b\nbrokerId = 0\ndeleteWhen = 04\n\
         fileReservedTime = 48\nbrokerRole = ASYNC_MASTER\nflushDiskType = SYNC_FLUSH\nlistenPort=10921\n",
    )
    .unwrap();
    assert_eq!(loaded.settings.broker.broker_name, "broker-b");
    assert_eq!(
        loaded.settings.store.flush_disk_type,
        FlushDiskType::SyncFlush
    );
    assert_eq!(loaded.settings.store.flush_interval, 500);
    // A key of two groups goes to both.
    assert_eq!(loaded.settings.server.listen_port, 10921);
    assert_eq!(loaded.settings.broker.listen_port, 10921);
    assert_eq!(
        loaded.notice().unwrap(),
        "accepted, has no effect in Kerolox: brokerClusterName, brokerId, deleteWhen, fileReservedTime, brokerRole"
    );
}

#[test]
fn every_error_is_told_with_its_line() {
    let error = conf(
        "# comment\nflushDiskTyp=ASYNC_FLUSH\nlistenPort=high\nlistenPort=65536\nflushIntervalCommitLog=0\n\
         flushDiskType=SOMETIMES\nautoCreateTopicEnable=yes\nlogicalDiskSpaceCleanForciblyThreshold=1.5\nwombat=1\n",
    )
    .unwrap_err();
    assert_eq!(
        error.to_string().lines().collect::<Vec<_>>(),
        [
            "broker.conf:2: there is no key `flushDiskTyp`; did you mean `flushDiskType`?",
            "broker.conf:3: `listenPort` cannot be `high`: it takes a whole number from 0 to 65535",
            "broker.conf:4: `listenPort` cannot be `65536`: it takes a whole number from 0 to 65535",
            "broker.conf:5: `flushIntervalCommitLog` cannot be `0`: it takes a whole number from 1 to 60000",
            "broker.conf:6: `flushDiskType` cannot be `SOMETIMES`: it takes one of ASYNC_FLUSH, SYNC_FLUSH",
            "broker.conf:7: `autoCreateTopicEnable` cannot be `yes`: it takes true or false",
            "broker.conf:8: `logicalDiskSpaceCleanForciblyThreshold` cannot be `1.5`: it takes a number from 0.0 to 1.0",
            "broker.conf:9: there is no key `wombat`; `kerolox config-keys` lists all",
        ]
    );
}

#[test]
fn a_misspelled_key_of_the_reference_is_named_too() {
    // `sendMessageThreadPoolNums` means nothing here, but it is what was meant.
    let error = conf("sendMessageThreadPoolNum=4").unwrap_err();
    assert_eq!(
        error.to_string(),
        "broker.conf:1: there is no key `sendMessageThreadPoolNum`; did you mean `sendMessageThreadPoolNums`?"
    );
}

#[test]
fn toml_holds_the_same_keys() {
    let text = "brokerName = \"broker-c\" # a comment\nlistenPort = 10_931\nautoCreateTopicEnable = false\n\
                logicalDiskSpaceCleanForciblyThreshold = 0.5\nbrokerId = 0\n\n[kerolox]\nlogLevel = \"debug\"\n";
    let loaded = config::parse_toml("broker.toml", text, RoleSettings::default()).unwrap();
    assert_eq!(loaded.settings.broker.broker_name, "broker-c");
    assert_eq!(loaded.settings.server.listen_port, 10931);
    assert!(!loaded.settings.broker.auto_create_topic);
    assert_eq!(loaded.settings.store.threshold, 0.5);
    assert_eq!(loaded.settings.log.log_level, "debug");
    assert_eq!(loaded.without_effect.len(), 1);

    let error = |text| {
        config::parse_toml("b.toml", text, RoleSettings::default())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("\nlistenPrt = 1\n"),
        "b.toml:2: there is no key `listenPrt`; did you mean `listenPort`?"
    );
    assert_eq!(
        error("a = 1\nb = [1]"),
        "b.toml:2: `b` is a list or a date: a value is text in quotes, a number, true or false"
    );
    assert!(error("brokerName = broker-a\n").starts_with("b.toml:1: "));
}

#[test]
fn a_file_is_read_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.toml");
    std::fs::write(&path, "brokerName = \"t\"").unwrap();
    let loaded = config::load(&path, RoleSettings::default()).unwrap();
    assert_eq!(loaded.settings.broker.broker_name, "t");
    let path = dir.path().join("broker.conf");
    std::fs::write(&path, "brokerName = p").unwrap();
    let loaded = config::load(&path, RoleSettings::default()).unwrap();
    assert_eq!(loaded.settings.broker.broker_name, "p");

    let missing = config::load(Path::new("/nowhere/x.conf"), RoleSettings::default()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "cannot read the configuration file /nowhere/x.conf: No such file or directory (os error 2)"
    );
}

#[test]
fn an_update_takes_effect_at_once_and_everywhere() {
    let live = Live::new(RoleSettings::default());
    let store = live.part(|role| &role.store);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    live.watch(move |role| log.lock().unwrap().push(role.broker.auto_create_topic));

    let updated = live
        .update(&changes(
            "autoCreateTopicEnable=false\nflushIntervalCommitLog=100\nsendMessageThreadPoolNums=4",
        ))
        .unwrap();
    let changed: Vec<&str> = updated.changed.iter().map(|change| change.key).collect();
    assert_eq!(changed, ["autoCreateTopicEnable", "flushIntervalCommitLog"]);
    assert_eq!(updated.changed[1].from.as_deref(), Some("500"));
    assert_eq!(updated.changed[1].to.as_deref(), Some("100"));
    assert_eq!(updated.without_effect, ["sendMessageThreadPoolNums"]);

    assert!(!live.load().broker.auto_create_topic);
    assert_eq!(store.load().flush_interval, 100);
    assert_eq!(*seen.lock().unwrap(), [true, false]);
}

#[test]
fn an_update_is_all_or_nothing() {
    let live = Live::new(RoleSettings::default());
    let error = live
        .update(&changes(
            "flushIntervalCommitLog=100\nbrokerName=other\nlistenPort=10911\nflushDiskType=x\nflushDiskTipe=x",
        ))
        .unwrap_err();
    assert_eq!(
        error.to_string().lines().collect::<Vec<_>>(),
        [
            "`brokerName` cannot change while running (it is `broker-a`): set it in the configuration file and restart",
            "`flushDiskType` cannot be `x`: it takes one of ASYNC_FLUSH, SYNC_FLUSH",
            "there is no key `flushDiskTipe`; did you mean `flushDiskType`?",
        ]
    );
    assert_eq!(live.load().store.flush_interval, 500);
}

#[test]
fn a_request_of_nothing_but_faults_is_told_some() {
    let live = Live::new(RoleSettings::default());
    let long = "x".repeat(1_000_000);
    let many = "nonsense=1\n".repeat(100_000);
    let text = format!("{long}=1\nflushIntervalCommitLog={long}\n{many}");
    let error = live.update(&changes(&text)).unwrap_err().to_string();
    let told: Vec<_> = error.lines().collect();
    assert_eq!(told.len(), 20);
    assert!(told.iter().all(|line| line.len() < 200), "{error}");
}

#[test]
fn the_listing_is_sorted_properties() {
    let loaded = conf("brokerName=bröker\nbrokerId=0\nstorePathRootDir=C:\\\\data").unwrap();
    let live = Live::from(loaded);
    live.update(&changes("traceOn=false")).unwrap();
    assert_eq!(
        live.properties(),
        "autoCreateTopicEnable=true\nbrokerId=0\nbrokerName=br\\u00F6ker\nflushDiskType=ASYNC_FLUSH\n\
         flushIntervalCommitLog=500\nkerolox.logLevel=info\nlistenPort=10911\n\
         logicalDiskSpaceCleanForciblyThreshold=0.8\nstorePathRootDir=C:\\\\data\ntraceOn=false\n"
    );
    // It reads back to the same settings.
    let again = conf(&live.properties()).unwrap();
    assert_eq!(again.settings, *live.load());
}

#[test]
fn values_are_read_and_shown_alike() {
    assert_eq!(<Option<String>>::parse(""), Some(None));
    assert_eq!(<Option<u16>>::parse("7"), Some(Some(7)));
    assert_eq!(
        FlushDiskType::parse("sync_flush"),
        Some(FlushDiskType::SyncFlush)
    );
    assert_eq!(FlushDiskType::SyncFlush.word(), "SYNC_FLUSH");
    assert_eq!(f64::parse("NaN"), None);
    assert_eq!(8000.0_f64.show().as_deref(), Some("8000.0"));
    let mut store = StoreConfig::default();
    store.set("flushIntervalCommitLog", " 7 ").unwrap();
    assert_eq!(store.get("flushIntervalCommitLog").as_deref(), Some("7"));
    assert_eq!(store.get("storePathCommitLog"), None);
    assert_eq!(store.get("nothing"), None);
}

#[test]
fn the_page_tells_everything_about_a_key() {
    let page = config::page::section::<RoleSettings>("Broker");
    assert!(page.starts_with(
        "## Broker\n\n### `brokerName`\n\nDefault `${hostname}`; text; read at the start.\n"
    ));
    assert!(page.contains(
        "### `flushIntervalCommitLog`\n\nDefault `500`; a whole number from 1 to 60000; can change while running.\n\n\
         Time between two flushes, in milliseconds.\n"
    ));
    assert!(
        page.contains(
            "Default `ASYNC_FLUSH`; `ASYNC_FLUSH`, `SYNC_FLUSH`; can change while running."
        )
    );
    assert!(page.contains("### `storePathCommitLog`\n\nDefault not set; text;"));
    assert!(page.contains("can change while running. Kerolox's own.\n"));
    assert!(page.contains(
        "The reference's default is another: 6888 in the class, but 10911 once started.\n"
    ));
    // Of a key in two groups only what holds for both is told.
    assert_eq!(page.matches("### `listenPort`").count(), 1);
    assert!(page.contains(
        "### `listenPort`\n\nDefault `10911`; a whole number from 0 to 65535; read at the start.\n"
    ));
}

#[test]
fn json_holds_the_same_keys() {
    let text = "{\n  \"brokerName\": \"broker-c\",\n  \"listenPort\": 10931,\n  \"autoCreateTopicEnable\": false,\n  \"brokerId\": null,\n  \"grpcServerPort\": 8081\n}";
    let loaded = config::parse_json("proxy.json", text, RoleSettings::default()).unwrap();
    assert_eq!(loaded.settings.broker.broker_name, "broker-c");
    assert_eq!(loaded.settings.server.listen_port, 10931);
    assert!(!loaded.settings.broker.auto_create_topic);
    assert_eq!(loaded.without_effect.len(), 1);

    let error = |text| {
        config::parse_json("p.json", text, RoleSettings::default())
            .unwrap_err()
            .to_string()
    };
    assert!(error("{\n\"listenPort\": [1]}").starts_with("p.json:2: `listenPort` is a list"));
    assert!(error("{\n\"listenPrt\": 1}").starts_with("p.json:2: there is no key `listenPrt`"));
    assert!(error("{\n\"listenPort\"").starts_with("p.json:2: "));
}
