//! The command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};

use crate::{bench, consume, inspect, send, store_dir};

/// RocketMQ in one small binary.
#[derive(Debug, Parser)]
#[command(name = "kerolox", version, max_term_width = 100)]
#[command(disable_help_subcommand = true, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line; ends the program where it is wrong or asks for help.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| with_tip(error).exit())
    }
}

/// Tells who gives `kerolox inspect` a file where a command is due how it is opened.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let is_of_inspect = std::env::args().any(|word| word == "inspect");
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && is_of_inspect
        && Path::new(word).is_file()
    {
        let tip = format!("a file is opened by `kerolox inspect open {word}`");
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// What is logged, and where to.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogArgs {
    /// How much is logged: off, error, warn, info, debug or trace; one part of
    /// the program can differ: info,kerolox_store=debug
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Logging")]
    pub(crate) log_level: Option<String>,
    /// Append the log to this file instead of writing it to standard error
    #[arg(long, global = true, value_name = "FILE", help_heading = "Logging")]
    pub(crate) log_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a name server, a broker and a proxy in one process
    Start(StartArgs),
    /// Run a name server
    #[command(visible_alias = "namesrv")]
    Nameserver(NameServerArgs),
    /// Run a broker
    Broker(BrokerArgs),
    /// Run a proxy, which serves the gRPC API of the 5.x clients
    Proxy(ProxyArgs),
    /// Send messages
    Send(send::Args),
    /// Read messages
    Consume(consume::Args),
    /// Put load on a broker and measure it
    Bench(bench::Args),
    /// Look into a store directory, verify it, repair it
    Store(store_dir::Args),
    /// See what clients and servers say to each other
    Inspect(inspect::Args),
    /// Print every configuration key with its default and its bounds, as Markdown
    ConfigKeys,
}

/// Options of `kerolox start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Directory for everything that is stored
    #[arg(long, value_name = "DIR", default_value = "./kerolox-data")]
    pub(crate) data: PathBuf,
    /// Address to listen on, and to tell clients to connect to
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) host: IpAddr,
    /// Port of the name server; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 9876)]
    pub(crate) nameserver_port: u16,
    /// Port of the broker; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 10911)]
    pub(crate) broker_port: u16,
    /// Port of the gRPC API; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) grpc_port: u16,
    /// Name of the broker [default: broker-a, or as the configuration file says]
    #[arg(long, value_name = "NAME")]
    pub(crate) broker_name: Option<String>,
    /// Configuration file of the broker; the options here outweigh it
    #[arg(short = 'c', long, value_name = "FILE", alias = "configFile")]
    pub(crate) config: Option<PathBuf>,
}

/// Options of `kerolox nameserver`: those of the reference's `mqnamesrv`.
#[derive(Debug, Args)]
pub(crate) struct NameServerArgs {
    /// Configuration file: Java properties, or TOML if its name ends in .toml
    #[arg(short = 'c', long, value_name = "FILE", alias = "configFile")]
    pub(crate) config: Option<PathBuf>,
    /// Print the configuration and end
    #[arg(short = 'p', long, alias = "printConfigItem")]
    pub(crate) print_config: bool,
    /// Accepted as the reference's name server accepts it; it has no effect
    #[arg(
        short = 'n',
        long,
        value_name = "ADDRESSES",
        alias = "namesrvAddr",
        hide = true
    )]
    pub(crate) name_server: Option<String>,
}

/// Options of `kerolox broker`: those of the reference's `mqbroker`.
#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// Configuration file: Java properties, or TOML if its name ends in .toml
    #[arg(short = 'c', long, value_name = "FILE", alias = "configFile")]
    pub(crate) config: Option<PathBuf>,
    /// Name servers to register with: host:port, or with a protocol as in tls://host:port; joined by semicolons
    /// [default: the configuration file's, or those of the environment variable NAMESRV_ADDR]
    #[arg(short = 'n', long, value_name = "ADDRESSES", alias = "namesrvAddr")]
    pub(crate) name_server: Option<String>,
    /// Print the configuration and end
    #[arg(short = 'p', long, alias = "printConfigItem")]
    pub(crate) print_config: bool,
    /// Print the most important part of the configuration and end
    #[arg(
        short = 'm',
        long,
        alias = "printImportantConfig",
        conflicts_with = "print_config"
    )]
    pub(crate) print_important_config: bool,
}

/// Options of `kerolox proxy`: those of the reference's `mqproxy`.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Configuration file: JSON if its name ends in .json, TOML if it ends in .toml, otherwise
    /// Java properties
    #[arg(short = 'c', long, value_name = "FILE", alias = "proxyConfigPath")]
    pub(crate) config: Option<PathBuf>,
    /// Name servers of the cluster: host:port, or with a protocol as in tls://host:port; joined by semicolons
    /// [default: the configuration file's, or those of the environment variable NAMESRV_ADDR]
    #[arg(short = 'n', long, value_name = "ADDRESSES", alias = "namesrvAddr")]
    pub(crate) name_server: Option<String>,
    /// Print the configuration and end
    #[arg(short = 'p', long, alias = "printConfigItem")]
    pub(crate) print_config: bool,
}
