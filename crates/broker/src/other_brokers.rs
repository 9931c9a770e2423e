//! The other brokers of the cluster: where they are, and asking them (`BrokerOuterAPI`,
//! `RpcClientImpl`).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tracing::warn;
use transport::{Body, RemotingClient};
use wire::body::json;
use wire::body::route::ClusterInfo;
use wire::code::ResponseCode;
use wire::command::{Command, GetBrokerClusterInfo};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::NoHeader;

use crate::broker::Broker;
use crate::error::BrokerError;

/// Time for which what the name servers said counts (`BrokerController.startBasicService`).
const FRESH: Duration = Duration::from_secs(5);

/// Requests to other brokers under way at a time. Each holds an answer of a few hundred KiB at
/// most.
const AT_A_TIME: usize = 256;

/// What is known of the other brokers.
pub(crate) struct OtherBrokers {
    /// Held by the one who asks the name servers.
    masters: Mutex<Masters>,
    room: Semaphore,
}

#[derive(Default)]
struct Masters {
    /// `host:port` by broker name.
    addresses: BTreeMap<String, String>,
    /// When the name servers were asked last.
    asked: Option<Instant>,
}

impl Default for OtherBrokers {
    fn default() -> Self {
        Self {
            masters: Mutex::default(),
            room: Semaphore::new(AT_A_TIME),
        }
    }
}

impl Broker {
    /// Asks the master of another name, which has `forwardTimeout` to answer.
    ///
    /// # Errors
    /// Nobody knows where it is, it does not answer, or too many such requests are under way. A
    /// refusal is an answer.
    pub(crate) async fn ask_other<C: Command>(
        &self,
        name: &str,
        header: &C::Request<'_>,
    ) -> Result<Frame, BrokerError> {
        let room = &self.others.room;
        let _turn = room.try_acquire().map_err(|_| BrokerError::Overload)?;
        let name_servers = self.settings().broker.name_servers();
        let address = self.address_of(name).await?;
        let address = name_servers.told(&address);
        let answer = self.request::<C>(&address, header, self.forward_timeout());
        let answer = answer.await;
        if answer.is_err() {
            // It may have moved.
            self.others.masters.lock().await.asked = None;
        }
        answer
    }

    /// Time that another server has to answer.
    pub(crate) fn forward_timeout(&self) -> Duration {
        Duration::from_millis(self.settings().broker.forward_timeout)
    }

    /// Asks the name servers.
    ///
    /// # Errors
    /// There is none, or none answers within `timeout`. A refusal is an answer.
    pub(crate) async fn ask_name_servers<C: Command>(
        &self,
        header: &C::Request<'_>,
        timeout: Duration,
    ) -> Result<Frame, BrokerError> {
        let servers = self.settings().broker.name_servers();
        let asked = servers.ask_in_turn(async |server| {
            let answer = self.request::<C>(server, header, timeout).await;
            answer.inspect_err(|error| {
                warn!(
                    "name server {server} does not answer {:?}: {error}",
                    C::CODE
                );
            })
        });
        let (_, answer) = asked.await.map_err(|_| {
            BrokerError::System(
                "no name server answers; check namesrvAddr and that they run".into(),
            )
        })?;
        Ok(answer)
    }

    async fn request<C: Command>(
        &self,
        address: &str,
        header: &C::Request<'_>,
        timeout: Duration,
    ) -> Result<Frame, BrokerError> {
        let head = Head::request(C::CODE as i32, SerializeType::Json);
        let answer = self
            .client()?
            .request(address, head, header, Body::Empty, timeout);
        answer
            .await
            .map_err(|error| BrokerError::System(error.to_string()))
    }

    fn client(&self) -> Result<&RemotingClient, BrokerError> {
        let starting = || BrokerError::System("the broker is not running yet; try again".into());
        self.client.get().ok_or_else(starting)
    }

    async fn address_of(&self, name: &str) -> Result<String, BrokerError> {
        let arrived = Instant::now();
        let mut masters = self.others.masters.lock().await;
        let is_known = masters.addresses.contains_key(name);
        // Those who waited for somebody's question do not ask it once more.
        let is_fresh = masters
            .asked
            .is_some_and(|asked| asked >= arrived || is_known && asked.elapsed() < FRESH);
        if !is_fresh {
            match self.masters().await {
                Ok(addresses) => masters.addresses = addresses,
                Err(error) => warn!("where the other brokers are is not known anew: {error}"),
            }
            masters.asked = Some(Instant::now());
        }
        masters.addresses.get(name).cloned().ok_or_else(|| {
            BrokerError::System(format!(
                "cannot find addr for broker {name}; check that it runs and is registered with \
                 the name servers of this one"
            ))
        })
    }

    /// Where the master of each name is.
    async fn masters(&self) -> Result<BTreeMap<String, String>, BrokerError> {
        let answer =
            self.ask_name_servers::<GetBrokerClusterInfo>(&NoHeader, self.forward_timeout());
        let answer = accepted(answer.await?, "the name server")?;
        let cluster: ClusterInfo =
            json::read(&answer.body).map_err(|error| BrokerError::Body(error.to_string()))?;
        let brokers = cluster.broker_addr_table.into_iter();
        Ok(brokers
            .filter_map(|(name, broker)| Some((name, broker.master()?.clone())))
            .collect())
    }
}

/// An answer that is no refusal.
///
/// # Errors
/// `NotFound` where there is nothing of that kind, `System` for all else.
pub(crate) fn accepted(answer: Frame, who: &str) -> Result<Frame, BrokerError> {
    let code = answer.head.code;
    if code == ResponseCode::Success as i32 {
        return Ok(answer);
    }
    let remark = answer.remark.unwrap_or_default();
    let why = format!("{who} answers with code {code}: {remark}");
    Err(match ResponseCode::try_from(code) {
        Ok(ResponseCode::QueryNotFound) => BrokerError::NotFound(why),
        _ => BrokerError::System(why),
    })
}
