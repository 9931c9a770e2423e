//! Telling brokers that the smallest id of their group has changed.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use transport::{Body, RemotingClient};
use wire::command::RequestCode;
use wire::frame::{Head, SerializeType};
use wire::header::broker::NotifyMinBrokerIdChangeRequest;

use crate::route_table::MinBrokerIdChange;

/// Changes that may wait to be told. Brokers ask for their group now and then anyway.
const CAPACITY: usize = 1024;

/// Where changes are handed in to be told, in their order.
pub(crate) struct Notices(mpsc::Sender<MinBrokerIdChange>);

impl Notices {
    /// The notices, and what [`tell`] takes them from.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<MinBrokerIdChange>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self(sender), receiver)
    }

    /// Has the brokers told, soon.
    pub(crate) fn send(&self, change: MinBrokerIdChange) {
        let broker_name = change.broker_name.clone();
        if self.0.try_send(change).is_err() {
            tracing::warn!(
                broker_name,
                "brokers are not told of a change of the smallest id: too many notices wait"
            );
        }
    }
}

/// Tells the brokers of each change at the same time, and of changes one after the other.
pub(crate) async fn tell(mut changes: mpsc::Receiver<MinBrokerIdChange>, client: RemotingClient) {
    while let Some(change) = changes.recv().await {
        let change = Arc::new(change);
        let mut sending = JoinSet::new();
        for address in change.notify.clone() {
            sending.spawn(tell_one(client.clone(), address, Arc::clone(&change)));
        }
        sending.join_all().await;
    }
}

async fn tell_one(client: RemotingClient, address: String, change: Arc<MinBrokerIdChange>) {
    let code = RequestCode::NotifyMinBrokerIdChange as i32;
    let header = NotifyMinBrokerIdChangeRequest {
        min_broker_id: Some(change.min_broker_id),
        broker_name: Some(change.broker_name.as_str().into()),
        min_broker_addr: Some(change.min_broker_address.as_str().into()),
        offline_broker_addr: change.offline_address.as_deref().map(Into::into),
        ha_broker_addr: change.ha_address.as_deref().map(Into::into),
    };
    let head = Head::request(code, SerializeType::Json);
    if let Err(error) = client.oneway(&address, head, &header, Body::Empty).await {
        let broker_name = &change.broker_name;
        tracing::warn!(broker_name, %error, "a broker could not be told that the smallest id of its group changed");
    }
}
