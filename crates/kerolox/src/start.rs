//! Starting and stopping roles.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use broker::{BrokerSettings, RunningBroker, StartError};
use config::{Live, Loaded, Settings};
use nameserver::{NameServer, NameServerError, NameServerSettings};
use proxy::{Proxy, ProxySettings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use transport::{Http2, TransportError};

use crate::cli::{BrokerArgs, LogArgs, NameServerArgs, ProxyArgs, StartArgs};
use crate::data_dir::DataDir;
use crate::error::CliError;
use crate::logging::Logging;
use crate::output;
use crate::signals::Signals;

/// `kerolox start`: a name server, a broker and a proxy in one process.
pub(crate) fn cluster(args: StartArgs, log: &LogArgs, begun: Instant) -> Result<(), CliError> {
    let mut defaults = BrokerSettings::default();
    defaults.set("brokerName", "broker-a")?;
    let mut broker = read(args.config.as_deref(), defaults)?;
    let data = DataDir::take(&args.data)?;
    set_log_level(&mut broker.settings, log)?;

    let mut name_server = name_server_settings(&args, &data)?;
    set_log_level(&mut name_server, log)?;
    name_server.client = broker.settings.client.clone();
    let settings = &mut broker.settings;
    settings.set("bindAddress", &args.host.to_string())?;
    settings.set("listenPort", &args.broker_port.to_string())?;
    settings.set("brokerIP1", &announced(args.host))?;
    settings.set("storePathRootDir", &data.file("store"))?;
    settings.set("kerolox.tlsSelfSignedDirectory", &data.file("tls"))?;
    if let Some(name) = &args.broker_name {
        settings.set("brokerName", name)?;
    }

    let logging = start_log(&broker.settings, log)?;
    in_runtime(async {
        let signals = Signals::listen()?;
        let name_server = Live::new(name_server);
        follow_log_level(&name_server, &logging);
        let name_server = NameServer::start(name_server)
            .await
            .map_err(|error| match error {
                NameServerError::Transport(error) => {
                    cannot_listen("name server", error, "--nameserver-port")
                }
                error => CliError::start("name server", error),
            })?;
        let name_server_at = name_server.local_addr();
        let settings = &mut broker.settings;
        settings.set("namesrvAddr", &reachable(name_server_at).to_string())?;
        let live = Live::from(broker);
        follow_log_level(&live, &logging);
        let broker = match RunningBroker::start(live.clone()).await {
            Ok(broker) => broker,
            Err(error) => {
                name_server.shutdown().await;
                return Err(match error {
                    StartError::Listen(error) => cannot_listen("broker", error, "--broker-port"),
                    error => CliError::start("broker", error),
                });
            }
        };
        let now = live.load();
        let get = |key| now.get(key).unwrap_or_default();
        let proxy = match Proxy::start(proxy_settings(&args, &data, &now)?).await {
            Ok(proxy) => proxy,
            Err(error) => {
                stop_broker(broker).await?;
                name_server.shutdown().await;
                return Err(cannot_listen("proxy", error, "--grpc-port"));
            }
        };
        let with_grpc = Http2::new().service(proxy.service());
        broker.protocols().add(Arc::new(with_grpc));
        output::print(&format!(
            "kerolox {}\n  name server  {}\n  broker       {}  ({} in {})\n  \
             proxy        {}  (gRPC)\n  data         {}\n\
             ready in {} ms; Ctrl-C stops it\n",
            env!("CARGO_PKG_VERSION"),
            name_server_at,
            broker.local_addr(),
            get("brokerName"),
            get("brokerClusterName"),
            proxy.local_addr(),
            args.data.display(),
            begun.elapsed().as_millis(),
        ))?;
        stop_signal(signals).await;
        // Who asks others first: the proxy gives back to the broker what its clients hold, and
        // the broker takes its leave of the name server.
        proxy.shutdown().await;
        let stopped = stop_broker(broker).await;
        name_server.shutdown().await;
        stopped
    })?;
    drop(data);
    output::print("stopped\n")
}

fn name_server_settings(args: &StartArgs, data: &DataDir) -> Result<NameServerSettings, CliError> {
    let mut settings = NameServerSettings::default();
    settings.set("bindAddress", &args.host.to_string())?;
    settings.set("listenPort", &args.nameserver_port.to_string())?;
    settings.set("kvConfigPath", &data.file("namesrv/kvConfig.json"))?;
    settings.set("configStorePath", &data.file("namesrv/namesrv.properties"))?;
    settings.set("kerolox.tlsSelfSignedDirectory", &data.file("tls"))?;
    Ok(settings)
}

/// Those of a proxy for the cluster that this broker belongs to.
fn proxy_settings(
    args: &StartArgs,
    data: &DataDir,
    broker: &BrokerSettings,
) -> Result<ProxySettings, CliError> {
    let get = |key| broker.get(key).unwrap_or_default();
    let mut settings = ProxySettings::default();
    settings.set("bindAddress", &args.host.to_string())?;
    settings.set("proxyMode", "LOCAL")?;
    settings.set("grpcServerPort", &args.grpc_port.to_string())?;
    settings.set("namesrvAddr", &get("namesrvAddr"))?;
    settings.set("rocketMQClusterName", &get("brokerClusterName"))?;
    settings.set("kerolox.tlsSelfSignedDirectory", &data.file("tls"))?;
    settings.client = broker.client.clone();
    Ok(settings)
}

/// `kerolox nameserver`.
pub(crate) fn name_server(
    args: NameServerArgs,
    log: &LogArgs,
    begun: Instant,
) -> Result<(), CliError> {
    let path = args.config.as_deref();
    let mut loaded = read(path, NameServerSettings::default())?;
    set_log_level(&mut loaded.settings, log)?;
    // As in the reference, changes at run time are kept in the file given.
    remember_file(&mut loaded.settings, "configStorePath", path)?;
    if args.print_config {
        return output::print(&listing(&loaded.settings, false));
    }
    let logging = start_log(&loaded.settings, log)?;
    in_runtime(async {
        let signals = Signals::listen()?;
        let live = Live::from(loaded);
        follow_log_level(&live, &logging);
        let name_server = NameServer::start(live)
            .await
            .map_err(|error| CliError::start("name server", error))?;
        output::print(&format!(
            "The Name Server boot success. Listening on {}, ready in {} ms\n",
            name_server.local_addr(),
            begun.elapsed().as_millis()
        ))?;
        stop_signal(signals).await;
        name_server.shutdown().await;
        Ok(())
    })
}

/// `kerolox broker`.
pub(crate) fn broker(args: BrokerArgs, log: &LogArgs, begun: Instant) -> Result<(), CliError> {
    let path = args.config.as_deref();
    let mut defaults = BrokerSettings::default();
    if let Ok(addresses) = std::env::var("NAMESRV_ADDR") {
        defaults.set("namesrvAddr", &addresses)?;
    }
    let mut loaded = read(path, defaults)?;
    set_log_level(&mut loaded.settings, log)?;
    remember_file(&mut loaded.settings, "brokerConfigPath", path)?;
    if let Some(addresses) = &args.name_server {
        loaded.settings.set("namesrvAddr", addresses)?;
    }
    if args.print_config || args.print_important_config {
        return output::print(&listing(&loaded.settings, args.print_important_config));
    }
    let logging = start_log(&loaded.settings, log)?;
    in_runtime(async {
        let signals = Signals::listen()?;
        let live = Live::from(loaded);
        follow_log_level(&live, &logging);
        let broker = RunningBroker::start(live.clone())
            .await
            .map_err(|error| CliError::start("broker", error))?;
        let now = live.load();
        let name_servers = match now.get("namesrvAddr") {
            Some(addresses) => format!("Name servers: {addresses}"),
            None => "No name server".to_owned(),
        };
        output::print(&format!(
            "The broker[{}, {}] boot success. {name_servers}, ready in {} ms\n",
            now.get("brokerName").unwrap_or_default(),
            broker.local_addr(),
            begun.elapsed().as_millis()
        ))?;
        stop_signal(signals).await;
        stop_broker(broker).await
    })
}

/// `kerolox proxy`.
pub(crate) fn proxy(args: ProxyArgs, log: &LogArgs, begun: Instant) -> Result<(), CliError> {
    let mut defaults = ProxySettings::default();
    if let Ok(addresses) = std::env::var("NAMESRV_ADDR") {
        defaults.set("namesrvAddr", &addresses)?;
    }
    let mut loaded = read(args.config.as_deref(), defaults)?;
    set_log_level(&mut loaded.settings, log)?;
    if let Some(addresses) = &args.name_server {
        loaded.settings.set("namesrvAddr", addresses)?;
    }
    if args.print_config {
        return output::print(&listing(&loaded.settings, false));
    }
    let _logging = start_log(&loaded.settings, log)?;
    in_runtime(async {
        let signals = Signals::listen()?;
        let name_servers = loaded.settings.get("namesrvAddr");
        let name_servers = name_servers.ok_or(CliError::NoNameServer)?;
        let proxy = Proxy::start(loaded.settings)
            .await
            .map_err(|error| cannot_listen("proxy", error, "grpcServerPort"))?;
        output::print(&format!(
            "The proxy boot success. Listening on {}, name servers: {name_servers}, ready in {} ms\n",
            proxy.local_addr(),
            begun.elapsed().as_millis()
        ))?;
        stop_signal(signals).await;
        proxy.shutdown().await;
        Ok(())
    })
}

/// Why a role did not start; `option` names what sets its port.
fn cannot_listen(role: &'static str, error: TransportError, option: &'static str) -> CliError {
    match error {
        TransportError::AddressInUse { address } => CliError::PortInUse { address, option },
        error => CliError::start(role, error),
    }
}

/// Reads a configuration file, if one is given, over `defaults`. What has no
/// effect in it is told to the user.
pub(crate) fn read<S: Settings>(path: Option<&Path>, defaults: S) -> Result<Loaded<S>, CliError> {
    let Some(path) = path else {
        return Ok(Loaded {
            settings: defaults,
            without_effect: Vec::new(),
        });
    };
    let loaded = config::load(path, defaults)?;
    if let Some(notice) = loaded.notice() {
        eprintln!("{}: {notice}", path.display());
    }
    Ok(loaded)
}

fn set_log_level(settings: &mut impl Settings, log: &LogArgs) -> Result<(), CliError> {
    match &log.log_level {
        Some(level) => Ok(settings.set(LOG_LEVEL, level)?),
        None => Ok(()),
    }
}

/// Sets the key that tells the role its own configuration file, where the
/// role has such a key.
fn remember_file<S: Settings>(
    settings: &mut S,
    key: &str,
    path: Option<&Path>,
) -> Result<(), CliError> {
    match path {
        Some(path) if S::key(key).is_some() => Ok(settings.set(key, &path.to_string_lossy())?),
        _ => Ok(()),
    }
}

/// The configuration as `-p` and `-m` print it: one `key=value` a line.
fn listing<S: Settings>(settings: &S, important_only: bool) -> String {
    let mut text = String::new();
    for info in S::keys() {
        if info.important || !important_only {
            let value = settings.get(info.key).unwrap_or_default();
            text.push_str(&format!("{}={value}\n", info.key));
        }
    }
    text
}

const LOG_LEVEL: &str = "kerolox.logLevel";

fn start_log(settings: &impl Settings, log: &LogArgs) -> Result<Logging, CliError> {
    Logging::start(log, &settings.get(LOG_LEVEL).unwrap_or_default())
}

/// Lets an update of the key change the level of this process.
fn follow_log_level<S: Settings>(live: &Live<S>, logging: &Logging) {
    let level = logging.level();
    live.watch(move |now| {
        if let Some(wanted) = now.get(LOG_LEVEL) {
            level.set(&wanted);
        }
    });
}

/// What a command logs that is a client of some cluster: only that it could not connect by the
/// protocol that was wanted.
const CLIENT_LOG_LEVEL: &str = "off,kerolox_transport::choice=warn";

/// Runs a command that is a client of some cluster.
pub(crate) fn client(
    work: impl Future<Output = Result<(), CliError>>,
    log: &LogArgs,
) -> Result<(), CliError> {
    let _logging = Logging::start(log, log.log_level.as_deref().unwrap_or(CLIENT_LOG_LEVEL))?;
    in_runtime(work)
}

/// As many open files and connections as the system allows this process, as Java has them.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

fn in_runtime(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    open_many_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System {
            what: "start threads",
            source,
        })?;
    runtime.block_on(work)
}

async fn stop_broker(broker: RunningBroker) -> Result<(), CliError> {
    broker.shutdown().await.map_err(|source| CliError::Stop {
        role: "broker",
        source: Box::new(source),
    })
}

/// Waits for the signal to stop. From then on another one ends the process at
/// once, whatever is still being put away.
async fn stop_signal(mut signals: Signals) {
    signals.next().await;
    tracing::info!("stopping");
    tokio::spawn(async move {
        let code = signals.next().await;
        eprintln!("kerolox: stopped at once by a second signal");
        std::process::exit(code);
    });
}

/// The address that clients are told: one of this machine's if it listens on
/// all of them.
fn announced(host: IpAddr) -> String {
    if host.is_unspecified() {
        config::machine::local_address()
    } else {
        host.to_string()
    }
}

/// Where this process reaches a server of its own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
