//! The broker's own configuration keys, and all groups of keys that make up a broker.

use transport::{Addresses, RemotingServerConfig};
use wire::message::perm;

use crate::error::BrokerError;

config::settings! {
    /// Who the broker is, what it allows, and how often it reports.
    pub struct BrokerConfig from "BrokerConfig", "BrokerIdentity" {
        /// Name of the broker, unique among the masters of a cluster.
        "brokerName" broker_name: String = config::machine::host_name(), shown("${hostname}"), important;
        /// Name of the cluster the broker belongs to.
        "brokerClusterName" broker_cluster_name: String = "DefaultCluster".into(), important;
        /// Number of the broker among those of its name; 0 is the master.
        "brokerId" broker_id: i64 = 0, range(0..), important;
        /// Address that clients are told to connect to.
        "brokerIP1" broker_ip: String = config::machine::local_address(), shown("${local address}"), important;
        /// Name servers to register with, `host:port`, or with a protocol as in `tls://host:port`,
        /// joined by semicolons. Without one the broker can be reached by its address only.
        "namesrvAddr" namesrv_addr: Option<String> = None, check(Addresses::check), important;
        /// What clients may do here: 4 read, 2 write, 6 both.
        "brokerPermission" broker_permission: i32 = 6, range(0..=7), reloadable;
        /// Queues of a topic that is created by a first message, at most.
        "defaultTopicQueueNums" default_topic_queue_nums: i32 = 8, range(1..=65_536), reloadable;
        /// Whether a message to an unknown topic creates it.
        "autoCreateTopicEnable" auto_create_topic_enable: bool = true, reloadable, important;
        /// Whether a consumer group that is not known yet may consume.
        "autoCreateSubscriptionGroup" auto_create_subscription_group: bool = true, reloadable, important;
        /// Whether there is a topic named after the cluster.
        "clusterTopicEnable" cluster_topic_enable: bool = true;
        /// Whether there is a topic named after the broker.
        "brokerTopicEnable" broker_topic_enable: bool = true;
        /// Topic that clients write message traces to.
        "msgTraceTopicName" msg_trace_topic_name: String = "RMQ_SYS_TRACE_TOPIC".into();
        /// Whether the broker has the topic for message traces.
        "traceTopicEnable" trace_topic_enable: bool = false;
        /// Whether clients are asked to trace.
        "traceOn" trace_on: bool = true, reloadable;
        /// Region that is written into every message.
        "regionId" region_id: String = "DefaultRegion".into();
        /// Time before which nothing may be sent here, in milliseconds since 1970.
        "startAcceptSendRequestTimeStamp" start_accept_send_request_time_stamp: i64 = 0, reloadable;
        /// Whether producers may take messages back that wait for their time.
        "recallMessageEnable" recall_message_enable: bool = false, reloadable;
        /// Whether they may also where `brokerPermission` does not let them send.
        "allowRecallWhenBrokerNotWriteable" allow_recall_when_broker_not_writeable: bool = true, reloadable;
        /// Whether a pull that finds nothing waits here for a message.
        "longPollingEnable" long_polling_enable: bool = true, reloadable;
        /// How long a pull waits when long polling is off, in milliseconds.
        "shortPollingTimeMills" short_polling_time_mills: i64 = 1000, range(0..), reloadable;
        /// Whether consumers that pull on their own may do so with the lite pull command.
        "litePullMessageEnable" lite_pull_message_enable: bool = true, reloadable;
        /// Most subscriptions to lite topics, each lite topic of each client counted.
        "maxLiteSubscriptionCount" max_lite_subscription_count: usize = 100_000, range(0..), reloadable;
        /// Most lite topics with messages that wait for one client, if its group does not say.
        "maxClientEventCount" max_client_event_count: usize = 100, range(1..=10_000_000), reloadable;
        /// Time after which a client that could not be told of all its lite topics looks through them, in milliseconds.
        "liteEventFullDispatchDelayTime" lite_event_full_dispatch_delay_time: i64 = 10_000, range(50..=86_400_000), reloadable;
        /// The same for a group that gets all lite topics of its parent topic.
        "liteEventFullDispatchDelayTimeForWildcardGroup" lite_event_full_dispatch_delay_time_for_wildcard_group: i64 = 10_000, range(50..=86_400_000), reloadable;
        /// Time without a word after which a client's subscriptions to lite topics end, in milliseconds.
        "liteSubscriptionCheckTimeoutMills" lite_subscription_check_timeout_mills: i64 = 180_000, range(1000..=86_400_000), reloadable;
        /// Time between two looks for lite topics whose time is over, in milliseconds.
        "liteTtlCheckInterval" lite_ttl_check_interval: u64 = 120_000, range(100..);
        /// Time that each lite topic lives at least after its last message and after the start of the broker, in milliseconds.
        "minLiteTTl" min_lite_ttl: i64 = 900_000, range(0..=i64::MAX / 2), reloadable;
        /// Whether the members of a group are told at once when one comes or goes.
        "notifyConsumerIdsChangedEnable" notify_consumer_ids_changed_enable: bool = true, reloadable;
        /// Whether topics may be made for messages of all types (`message.type=MIXED`).
        "enableMixedMessageType" enable_mixed_message_type: bool = false, reloadable;
        /// Whether half messages of transactions are refused.
        "rejectTransactionMessage" reject_transaction_message: bool = false, reloadable;
        /// Age of a half message at which its producer is first asked what became of its
        /// transaction, in milliseconds.
        "transactionTimeOut" transaction_time_out: i64 = 6000, range(0..), reloadable, important;
        /// Time between two looks at the half messages that are open, in milliseconds.
        "transactionCheckInterval" transaction_check_interval: u64 = 30_000, range(10..=86_400_000), reloadable, important;
        /// How often a producer is asked about a half message before it is given up.
        "transactionCheckMax" transaction_check_max: i32 = 15, reloadable, important;
        /// Whether replies to requests are stored, beside being handed to the client that waits.
        "storeReplyMessageEnable" store_reply_message_enable: bool = true, reloadable;
        /// Replies that are handed over at the same time.
        "processReplyMessageThreadPoolNums" process_reply_message_thread_pool_nums: usize = 20, range(1..=1024), reloadable;
        /// Replies that wait for their turn.
        "replyThreadPoolQueueCapacity" reply_thread_pool_queue_capacity: usize = 10_000, range(1..), reloadable;
        /// Time without a heartbeat after which a client is forgotten, in milliseconds.
        "channelExpiredTimeout" channel_expired_timeout: i64 = 120_000, range(1000..), reloadable;
        /// Whether resetting a group's offsets takes effect here, at its next pull.
        "useServerSideResetOffset" use_server_side_reset_offset: bool = true, reloadable;
        /// Whether consumers may select messages by SQL92 expressions.
        "enablePropertyFilter" enable_property_filter: bool = false, reloadable, important;
        /// Whether an expression for a retry topic is that of the topic that a message comes from.
        "filterSupportRetry" filter_support_retry: bool = false, reloadable;
        /// Time after which an expression that no consumer uses is forgotten, in milliseconds.
        "filterDataCleanTimeSpan" filter_data_clean_time_span: i64 = 86_400_000, range(0..), reloadable;
        /// Whether each message is stored with the groups whose expressions are true of it, to find
        /// them sooner; takes `enableConsumeQueueExt`.
        "enableCalcFilterBitMap" enable_calc_filter_bit_map: bool = false, reloadable;
        /// Groups with expressions that the bloom filters of a topic are made for.
        "expectConsumerNumUseFilter" expect_consumer_num_use_filter: u32 = 32, range(1..=10_000);
        /// Messages of a hundred that a bloom filter may let pass wrongly.
        "maxErrorRateOfBloomFilter" max_error_rate_of_bloom_filter: u32 = 20, range(1..=99);
        /// Time between two writes of the offsets of groups and delay levels to disk, in milliseconds.
        "flushConsumerOffsetInterval" flush_consumer_offset_interval: u64 = 5000, range(100..);
        /// Whether the broker remembers how far the members of broadcasting groups have come, for
        /// proxies, which do not.
        "enableBroadcastOffsetStore" enable_broadcast_offset_store: bool = true, reloadable;
        /// Time after its last pull that a member of a broadcasting group is remembered which is
        /// gone, in seconds.
        "broadcastOffsetExpireSecond" broadcast_offset_expire_second: i64 = 120, range(1..=86_400), reloadable;
        /// The same for a member that is online.
        "broadcastOffsetExpireMaxSecond" broadcast_offset_expire_max_second: i64 = 300, range(1..=86_400), reloadable;
        /// Time between two registrations with the name servers, in milliseconds.
        "registerNameServerPeriod" register_name_server_period: u64 = 30_000, range(1000..=60_000), reloadable;
        /// Time that a name server has to answer a registration, in milliseconds.
        "registerBrokerTimeoutMills" register_broker_timeout_mills: u64 = 24_000, range(1..), reloadable;
        /// Time that another broker has to answer what is passed on to it, in milliseconds.
        "forwardTimeout" forward_timeout: u64 = 3000, range(1..=86_400_000), reloadable;
        /// File that the settings were read from, which changes at run time are written to.
        "brokerConfigPath" broker_config_path: Option<String> = None;
        /// Keys that nobody may change from afar, joined by semicolons.
        "configBlackList" config_black_list: String = "configBlackList;brokerConfigPath".into();
        /// Bytes of old data that a group may read in a period, as tools are told; nobody is held up by it.
        "cgColdReadThreshold" cg_cold_read_threshold: i64 = 3 * 1024 * 1024, range(0..), reloadable;
        /// The same for all groups together.
        "globalColdReadThreshold" global_cold_read_threshold: i64 = 100 * 1024 * 1024, range(0..), reloadable;
        /// Sends whose answers wait for the disk at the same time; further ones are told SYSTEM_BUSY.
        "sendThreadPoolQueueCapacity" send_thread_pool_queue_capacity: usize = 10_000, range(1..);
        /// Administration commands that run at the same time.
        "adminBrokerThreadPoolNums" admin_broker_thread_pool_nums: usize = 16, range(1..=1024), reloadable;
        /// Administration commands that wait for their turn.
        "adminBrokerThreadPoolQueueCapacity" admin_broker_thread_pool_queue_capacity: usize = 10_000, range(1..), reloadable;
        /// Heartbeats, group lists and queue locks that are served at the same time.
        "clientManageThreadPoolNums" client_manage_thread_pool_nums: usize = 32, range(1..=1024), reloadable;
        /// Heartbeats, group lists and queue locks that wait for their turn.
        "clientManagerThreadPoolQueueCapacity" client_manager_thread_pool_queue_capacity: usize = 1_000_000, range(1..), reloadable;
        /// Whether requests are refused that wait too long for their turn.
        "brokerFastFailureEnable" broker_fast_failure_enable: bool = true, reloadable;
        /// Time after which a heartbeat, group list or queue lock that waits for its turn is told
        /// SYSTEM_BUSY, in milliseconds.
        "waitTimeMillsInHeartbeatQueue" wait_time_mills_in_heartbeat_queue: u64 = 31_000, range(1..=86_400_000), reloadable;
        /// The same for an administration command.
        "waitTimeMillsInAdminBrokerQueue" wait_time_mills_in_admin_broker_queue: u64 = 5000, range(1..=86_400_000), reloadable;
    }
}

impl BrokerConfig {
    /// Refuses to read where `brokerPermission` forbids it; `doing` is what the remark calls it.
    pub(crate) fn check_readable(&self, doing: &str) -> Result<(), BrokerError> {
        self.check(perm::is_readable(self.broker_permission), doing)
    }

    /// Refuses to store messages where `brokerPermission` forbids it.
    pub(crate) fn check_writable(&self) -> Result<(), BrokerError> {
        self.check(perm::is_writable(self.broker_permission), "sending message")
    }

    /// Refuses what these settings do not allow; `doing` is what the remark calls it.
    pub(crate) fn check(&self, is_allowed: bool, doing: &str) -> Result<(), BrokerError> {
        if is_allowed {
            return Ok(());
        }
        let problem = format!("the broker[{}] {doing} is forbidden", self.broker_ip);
        Err(BrokerError::NoPermission(problem))
    }

    /// The name servers to register with.
    pub(crate) fn name_servers(&self) -> Addresses {
        Addresses::parse(self.namesrv_addr.as_deref().unwrap_or_default())
    }
}

config::groups! {
    /// All settings of a broker, as they stand in `broker.conf`.
    pub struct BrokerSettings {
        /// The broker itself.
        pub broker: BrokerConfig,
        /// How consumers pop.
        pub pop: crate::pop::PopConfig,
        /// What it stores and how.
        pub store: store::StoreConfig,
        /// Where it listens.
        pub server: RemotingServerConfig = RemotingServerConfig { listen_port: 10911, ..Default::default() },
        /// How it connects to name servers.
        pub client: transport::RemotingClientConfig,
        /// What is logged.
        pub log: config::LogConfig,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_defaults_are_the_references() {
        assert_eq!(
            config::reference::check::<BrokerConfig>(),
            [] as [String; 0]
        );
    }
}
