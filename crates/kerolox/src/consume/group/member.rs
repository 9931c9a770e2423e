//! A group's member as brokers know it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use transport::Body;
use wire::body::client::GetConsumerListByGroupResponseBody;
use wire::body::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use wire::body::json;
use wire::body::route::BrokerData;
use wire::code::ResponseCode;
use wire::command::{GetConsumerListByGroup, Heartbeat, UnregisterClient};
use wire::header::client::{
    GetConsumerListByGroupRequest, HeartbeatRequest, UnregisterClientRequest,
};
use wire::message::names;
use wire::message::tags::{SUB_ALL, TagExpression};

use crate::client::{Client, ClientError, TIMEOUT, read_body, refused};

/// This process in a consumer group.
pub(super) struct Member {
    client: Client,
    group: String,
    topic: String,
    /// The client id: address, process and time, as the reference's clients make it.
    id: String,
    /// What is announced to the brokers.
    heartbeat: HeartbeatData,
}

impl Member {
    /// Announces itself to all brokers that have the topic.
    pub(super) async fn join(
        client: Client,
        group: &str,
        topic: &str,
        expression: &str,
    ) -> Result<Self, ClientError> {
        let route = client.route(topic).await?;
        let address = route
            .broker_datas
            .iter()
            .find_map(BrokerData::master_or_replica);
        let no_route = || ClientError::NoRoute {
            topic: topic.to_owned(),
        };
        let connection = client.connection(address.ok_or_else(no_route)?).await?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ip = connection.local().ip().to_canonical();
        let id = format!("{ip}@{}#{}", std::process::id(), now.as_nanos());
        let version = now.as_millis() as i64;
        let consumer = ConsumerData {
            consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
            consume_type: ConsumeType::ConsumePassively,
            group_name: group.to_owned(),
            message_model: MessageModel::Clustering,
            subscription_data_set: vec![
                subscription(topic, expression, version)?,
                subscription(&names::retry_topic(group), SUB_ALL, version)?,
            ],
            unit_mode: false,
        };
        let heartbeat = HeartbeatData {
            client_id: id.clone(),
            consumer_data_set: vec![consumer],
            ..HeartbeatData::default()
        };
        let (group, topic) = (group.to_owned(), topic.to_owned());
        let member = Self {
            client,
            group,
            topic,
            id,
            heartbeat,
        };
        member.heartbeat().await?;
        Ok(member)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// The client id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// All brokers that have the topic.
    async fn brokers(&self) -> Result<Vec<String>, ClientError> {
        let route = self.client.route(&self.topic).await?;
        let brokers = route.broker_datas.into_iter();
        Ok(brokers
            .flat_map(|broker| broker.broker_addrs.into_values())
            .collect())
    }

    /// Says to all brokers that this member is there. One that cannot be reached does not keep
    /// it from the others; only when none takes it, it failed.
    pub(super) async fn heartbeat(&self) -> Result<(), ClientError> {
        let body = json::write(&self.heartbeat);
        let mut failure = None;
        let mut taken = false;
        for broker in self.brokers().await? {
            let request = HeartbeatRequest::default();
            match self
                .client
                .call::<Heartbeat>(&broker, &request, body.clone())
                .await
            {
                Ok(_) => taken = true,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !taken => Err(error),
            _ => Ok(()),
        }
    }

    /// The ids of the group's members, in the order that all agree on.
    pub(super) async fn members(&self, broker: &str) -> Result<Vec<String>, ClientError> {
        let request = GetConsumerListByGroupRequest {
            consumer_group: Cow::Borrowed(&self.group),
            ..GetConsumerListByGroupRequest::default()
        };
        let answer = self
            .client
            .ask::<GetConsumerListByGroup>(broker, &request, Body::Empty, TIMEOUT)
            .await?;
        if answer.head.code != ResponseCode::Success as i32 {
            return Err(refused::<GetConsumerListByGroup>(broker, answer));
        }
        let body: GetConsumerListByGroupResponseBody =
            read_body::<GetConsumerListByGroup, _>(broker, &answer)?;
        let mut members = body.consumer_id_list;
        members.sort();
        Ok(members)
    }

    /// Leaves the group. A broker that cannot be told notices by itself.
    pub(super) async fn leave(&self) {
        let request = UnregisterClientRequest {
            client_id: Cow::Borrowed(&self.id),
            consumer_group: Some(Cow::Borrowed(&self.group)),
            ..UnregisterClientRequest::default()
        };
        for broker in self.brokers().await.unwrap_or_default() {
            let told = self
                .client
                .call::<UnregisterClient>(&broker, &request, Body::Empty)
                .await;
            if let Err(error) = told {
                tracing::debug!(broker, %error, "a broker could not be told of the leave");
            }
        }
    }
}

fn subscription(
    topic: &str,
    expression: &str,
    version: i64,
) -> Result<SubscriptionData, ClientError> {
    let tags = TagExpression::parse(expression)?;
    let code_set: BTreeSet<i32> = tags.codes().into_iter().collect();
    let tags_set = match tags {
        TagExpression::All => BTreeSet::new(),
        TagExpression::Tags(tags) => tags.into_iter().map(str::to_owned).collect(),
    };
    Ok(SubscriptionData {
        topic: topic.to_owned(),
        sub_string: if expression.is_empty() {
            SUB_ALL
        } else {
            expression
        }
        .to_owned(),
        sub_version: version,
        code_set,
        tags_set,
        ..SubscriptionData::default()
    })
}
