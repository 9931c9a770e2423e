//! The configuration keys of pop consumption.

use wire::body::assignment::MessageRequestMode;

config::choices! {
    /// How a group gets the messages of a topic for which nobody has set it.
    pub enum RequestMode {
        /// Each client pulls the queues that are its own.
        Pull = "PULL",
        /// Clients receive from shared queues.
        Pop = "POP",
    }
}

impl From<RequestMode> for MessageRequestMode {
    fn from(mode: RequestMode) -> Self {
        match mode {
            RequestMode::Pull => Self::Pull,
            RequestMode::Pop => Self::Pop,
        }
    }
}

config::settings! {
    /// How consumers pop.
    pub struct PopConfig from "BrokerConfig" {
        /// How a group gets the messages of a topic for which nobody has set it.
        "defaultMessageRequestMode" default_message_request_mode: RequestMode = RequestMode::Pull, reloadable;
        /// With how many other clients one shares its queues in that case, if it is to pop; 0 or
        /// less: all share all.
        "defaultPopShareQueueNum" default_pop_share_queue_num: i32 = -1, reloadable;
        /// Whether the broker shares queues among the clients of a group that ask; otherwise each
        /// gets all.
        "serverLoadBalancerEnable" server_load_balancer_enable: bool = true, reloadable;
        /// Whether messages to deliver again go to retry topics of the newer naming.
        "enableRetryTopicV2" enable_retry_topic_v2: bool = false, reloadable;
        /// Whether those in retry topics of the older naming are delivered as well then.
        "retrieveMessageFromPopRetryTopicV1" retrieve_message_from_pop_retry_topic_v1: bool = true, reloadable;
        /// How many pops of a hundred look for messages to deliver again before any others.
        "popFromRetryProbability" pop_from_retry_probability: u32 = 20, range(0..=100), reloadable;
        /// The same of pops by priority, from topics whose message type is PRIORITY.
        "popFromRetryProbabilityForPriority" pop_from_retry_probability_for_priority: u32 = 0, range(0..=100), reloadable;
        /// Whether a greater number is a higher priority. Pops look into the queues of a topic
        /// downwards then, else upwards.
        "priorityOrderAsc" priority_order_asc: bool = true, reloadable;
        /// Whether messages that are delivered again name their retry topic, not the one they
        /// were sent to.
        "popResponseReturnActualRetryTopic" pop_response_return_actual_retry_topic: bool = false, reloadable;
        /// Whether a group that starts behind the last message gets all the same what a young
        /// queue has.
        "initPopOffsetByCheckMsgInMem" init_pop_offset_by_check_msg_in_mem: bool = true, reloadable;
        /// Whether what was received from the queues of a topic is delivered again from different
        /// queues, too.
        "useSeparateRetryQueue" use_separate_retry_queue: bool = false, reloadable;
        /// Whether a group with too many messages of a queue that are not acknowledged gets no more
        /// of it.
        "enablePopMessageThreshold" enable_pop_message_threshold: bool = false, reloadable;
        /// More than so many are too many.
        "popInflightMessageThreshold" pop_inflight_message_threshold: usize = 10_000, reloadable;
        /// Pops of a group that wait for messages of a queue.
        "popPollingSize" pop_polling_size: usize = 1024, reloadable;
        /// Pops that wait for messages, and requests that wait to be told of some.
        "maxPopPollingSize" max_pop_polling_size: usize = 100_000, reloadable;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_defaults_are_the_references() {
        assert_eq!(config::reference::check::<PopConfig>(), [] as [String; 0]);
    }
}
