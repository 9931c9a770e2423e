//! The topics and groups that requests name, which have to be there.

use std::sync::Arc;

use transport::Connection;
use wire::body::group::SubscriptionGroupConfig;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::topics::Topic;

impl Broker {
    /// A topic that there is.
    pub(crate) fn existing_topic(&self, name: &str) -> Result<Arc<Topic>, BrokerError> {
        let topic = self.topics.get(name);
        topic.ok_or_else(|| BrokerError::TopicNotExist(name.to_owned()))
    }

    /// A group that there is.
    pub(crate) fn existing_group(
        &self,
        name: &str,
    ) -> Result<Arc<SubscriptionGroupConfig>, BrokerError> {
        let group = self.groups.get(name);
        group.ok_or_else(|| BrokerError::GroupNotExist(name.to_owned()))
    }

    /// A group that there is, or that its first use makes.
    pub(crate) fn group(&self, name: &str) -> Result<Arc<SubscriptionGroupConfig>, BrokerError> {
        let group = self.groups.get_or_create(name);
        group.ok_or_else(|| BrokerError::GroupNotExist(name.to_owned()))
    }

    /// The same of a group that may consume.
    pub(crate) fn consuming_group(
        &self,
        name: &str,
    ) -> Result<Arc<SubscriptionGroupConfig>, BrokerError> {
        let group = self.group(name)?;
        if !group.consume_enable {
            let problem = format!("subscription group no permission, {name}");
            return Err(BrokerError::NoPermission(problem));
        }
        Ok(group)
    }
}

/// What is wrong with a consumer's request for a queue that its topic does not have.
pub(crate) fn illegal_queue(connection: &Connection, topic: &Topic, queue_id: i32) -> String {
    format!(
        "queueId[{queue_id}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{}]",
        topic.config.topic_name,
        topic.config.read_queue_nums,
        connection.peer()
    )
}
