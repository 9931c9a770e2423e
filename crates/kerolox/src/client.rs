//! What the commands that talk to a cluster share: finding it and asking it.
//!
//! [`queue`] has what is asked about a single queue: offsets, messages.

pub(crate) mod queue;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Settings;
use transport::{
    Addresses, Body, Connection, HandlerTable, RemotingClient, RemotingClientConfig, TransportError,
};
use wire::body::BodyError;
use wire::body::json;
use wire::body::route::{ClusterInfo, TopicRouteData};
use wire::code::ResponseCode;
use wire::command::{Command, GetBrokerClusterInfo, GetRouteInfoByTopic};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::HeaderError;
use wire::header::nameserver::GetRouteInfoRequest;
use wire::message::MessageError;

use crate::error::CliError;
use crate::start;

/// How long a server may take for an answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Which cluster a command talks to.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Addresses of the name servers: host:port, or with a protocol as in ws://host:port, which the
    /// brokers are then spoken to by as well; joined by semicolons
    #[arg(
        short,
        long,
        value_name = "ADDRESSES",
        default_value = "127.0.0.1:9876",
        env = "NAMESRV_ADDR"
    )]
    name_server: String,
    /// Setting of the connections, such as tls.enable=true or kerolox.clientProtocol=auto; may be given
    /// several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    settings: Vec<(String, String)>,
    /// File of such settings: Java properties, or TOML if its name ends in .toml
    #[arg(long, value_name = "FILE", env = "KEROLOX_CLIENT_CONFIG")]
    client_config: Option<PathBuf>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl ClusterArgs {
    /// How to connect: what the options say over what the file says.
    fn settings(&self) -> Result<RemotingClientConfig, CliError> {
        let path = self.client_config.as_deref();
        let mut settings = start::read(path, RemotingClientConfig::default())?.settings;
        for (key, value) in &self.settings {
            settings.set(key, value)?;
        }
        Ok(settings)
    }
}

/// How the result of a command is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Why a command that talks to a cluster failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Options that don't go together, or a value out of range.
    #[error("{0}")]
    Argument(String),
    /// The name server cannot be reached.
    #[error(
        "the name server at {address} cannot be reached ({reason}): is it running? Choose another with --name-server"
    )]
    NameServer { address: String, reason: String },
    /// What answers does not know the commands of name servers.
    #[error("{address} is no name server: give the address of one with --name-server")]
    NotANameServer { address: String },
    /// A request could not be sent or was not answered.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// No broker has the topic.
    #[error("no broker has the topic {topic}: check the name, or send to it first")]
    NoRoute { topic: String },
    /// No broker has the topic, and none creates it.
    #[error(
        "no broker has the topic {topic}, and none creates topics by itself (autoCreateTopicEnable): create it first"
    )]
    NotCreated { topic: String },
    /// No broker takes messages for the topic.
    #[error(
        "no broker takes messages for the topic {topic} now: its master is away, or the topic is read-only"
    )]
    NotWritable { topic: String },
    /// The name server knows no broker that could serve this.
    #[error("the name server at {address} knows no broker: is one running and registered there?")]
    NoBroker { address: String },
    /// The server's answer is a refusal.
    #[error("{address} refuses {command}: {remark} (code {code}{})", name_of(*.code))]
    Refused {
        address: String,
        command: &'static str,
        code: i32,
        remark: String,
    },
    /// The server's answer cannot be understood.
    #[error("{address} answers {command} with what cannot be understood: {reason}")]
    Answer {
        address: String,
        command: &'static str,
        reason: String,
    },
    /// A message cannot be made or read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Standard input or output failed.
    #[error("cannot {what}: {source}")]
    Terminal {
        what: &'static str,
        source: io::Error,
    },
    /// A connection under load broke.
    #[error("a connection to the broker broke: {0}")]
    Connection(#[from] io::Error),
    /// A server under load stopped answering.
    #[error(
        "the broker has answered nothing for {seconds} s, though requests wait: it has stalled"
    )]
    Stalled { seconds: u64 },
}

/// The name of a response code, for a message.
fn name_of(code: i32) -> String {
    ResponseCode::try_from(code).map_or_else(|_| String::new(), |code| format!(", {}", code.name()))
}

/// A client of one cluster.
#[derive(Clone)]
pub(crate) struct Client {
    remoting: RemotingClient,
    /// The first that answers is used.
    name_servers: Addresses,
}

impl Client {
    /// A client of the cluster that the options name; `handlers` serve what brokers ask.
    pub(crate) fn new(cluster: &ClusterArgs, handlers: HandlerTable) -> Result<Self, CliError> {
        Ok(Self {
            remoting: RemotingClient::new(cluster.settings()?, handlers),
            name_servers: Addresses::parse(&cluster.name_server),
        })
    }

    /// Asks and takes any answer, refusals included.
    pub(crate) async fn ask<C: Command>(
        &self,
        address: &str,
        request: &C::Request<'_>,
        body: impl Into<Body>,
        timeout: Duration,
    ) -> Result<Frame, ClientError> {
        let head = Head::request(C::CODE as i32, SerializeType::Json);
        let address = self.name_servers.told(address);
        Ok(self
            .remoting
            .request(&address, head, request, body.into(), timeout)
            .await?)
    }

    /// Asks and wants success.
    pub(crate) async fn call<C: Command>(
        &self,
        address: &str,
        request: &C::Request<'_>,
        body: impl Into<Body>,
    ) -> Result<Frame, ClientError> {
        let answer = self.ask::<C>(address, request, body, TIMEOUT).await?;
        if answer.head.code != ResponseCode::Success as i32 {
            return Err(refused::<C>(address, answer));
        }
        Ok(answer)
    }

    /// Asks the name servers.
    async fn ask_name_server<C: Command>(
        &self,
        request: &C::Request<'_>,
    ) -> Result<(&str, Frame), ClientError> {
        let ask = async |address: &str| {
            let answer = self.ask::<C>(address, request, Body::Empty, TIMEOUT).await;
            let address = address.to_owned();
            match answer {
                Ok(answer) if answer.head.code == ResponseCode::RequestCodeNotSupported as i32 => {
                    Err(ClientError::NotANameServer { address })
                }
                Ok(answer) => Ok(answer),
                Err(ClientError::Transport(TransportError::Connect { reason, .. })) => {
                    Err(ClientError::NameServer { address, reason })
                }
                Err(error) => Err(ClientError::NameServer {
                    address,
                    reason: error.to_string(),
                }),
            }
        };
        let asked = self.name_servers.ask_in_turn(ask).await;
        asked.map_err(|failure| {
            let none = || ClientError::Argument("--name-server names no address".to_owned());
            failure.unwrap_or_else(none)
        })
    }

    /// Which brokers have a topic; `None` if none has.
    pub(crate) async fn find_route(
        &self,
        topic: &str,
    ) -> Result<Option<TopicRouteData>, ClientError> {
        let request = GetRouteInfoRequest {
            topic: topic.into(),
            accept_standard_json_only: Some(true),
            ..GetRouteInfoRequest::default()
        };
        let (address, answer) = self
            .ask_name_server::<GetRouteInfoByTopic>(&request)
            .await?;
        match ResponseCode::try_from(answer.head.code) {
            Ok(ResponseCode::Success) => {
                Ok(Some(read_body::<GetRouteInfoByTopic, _>(address, &answer)?))
            }
            Ok(ResponseCode::TopicNotExist) => Ok(None),
            _ => Err(refused::<GetRouteInfoByTopic>(address, answer)),
        }
    }

    /// Which brokers have a topic.
    pub(crate) async fn route(&self, topic: &str) -> Result<TopicRouteData, ClientError> {
        let no_route = || ClientError::NoRoute {
            topic: topic.to_owned(),
        };
        self.find_route(topic).await?.ok_or_else(no_route)
    }

    /// The addresses of all master brokers by name.
    pub(crate) async fn masters(&self) -> Result<BTreeMap<String, String>, ClientError> {
        let (address, answer) = self
            .ask_name_server::<GetBrokerClusterInfo>(&Default::default())
            .await?;
        let cluster: ClusterInfo = read_body::<GetBrokerClusterInfo, _>(address, &answer)?;
        let brokers = cluster.broker_addr_table.into_iter();
        let masters: BTreeMap<_, _> = brokers
            .filter_map(|(name, broker)| Some((name, broker.master()?.clone())))
            .collect();
        if masters.is_empty() {
            let address = address.to_owned();
            return Err(ClientError::NoBroker { address });
        }
        Ok(masters)
    }

    /// The connection to a broker, made now if there is none.
    pub(crate) async fn connection(&self, address: &str) -> Result<Arc<Connection>, ClientError> {
        Ok(self
            .remoting
            .connection(&self.name_servers.told(address))
            .await?)
    }

    /// Closes all connections.
    pub(crate) async fn shutdown(&self) {
        self.remoting.shutdown().await;
    }
}

/// The error that a refusing answer is.
pub(crate) fn refused<C: Command>(address: &str, answer: Frame) -> ClientError {
    ClientError::Refused {
        address: address.to_owned(),
        command: C::CODE.name(),
        code: answer.head.code,
        remark: answer
            .remark
            .unwrap_or_else(|| "it does not say why".to_owned()),
    }
}

/// The error that an answer with a wrong header is.
pub(crate) fn misread<C: Command>(address: &str, error: HeaderError) -> ClientError {
    ClientError::Answer {
        address: address.to_owned(),
        command: C::CODE.name(),
        reason: error.to_string(),
    }
}

/// Reads the body of an answer.
pub(crate) fn read_body<C: Command, T: serde::de::DeserializeOwned>(
    address: &str,
    answer: &Frame,
) -> Result<T, ClientError> {
    json::read(&answer.body).map_err(|error: BodyError| ClientError::Answer {
        address: address.to_owned(),
        command: C::CODE.name(),
        reason: error.to_string(),
    })
}

/// Writes a line to standard output. Broken off: nobody reads it any more (`kerolox … | head`).
pub(crate) fn print_line(line: &str) -> Result<ControlFlow<()>, ClientError> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(source) => Err(ClientError::Terminal {
            what: "write to standard output",
            source,
        }),
    }
}
