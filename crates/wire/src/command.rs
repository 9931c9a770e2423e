//! Commands: every request code of the reference, with what its request and answer carry.
//!
//! One entry of the table below declares all there is to a command. From it come the numbers
//! ([`RequestCode`]), the types ([`Command`], one marker type for each) and what a program can
//! list ([`COMMANDS`]). The documentation of a code says so where the broker asks a client or
//! another broker.

use crate::frame::{Head, SerializeType};
use crate::header::{
    EncodeHeader, Field, Header, NoHeader, auth, broker, client, controller, group, lite,
    nameserver, offset, pop, pull, raft, send, topic, transaction,
};

/// A command as types, so that code, request header and response header go together.
///
/// ```
/// use kerolox_wire::command::{Command, PullMessage, RequestCode};
///
/// assert_eq!(PullMessage::CODE, RequestCode::PullMessage);
/// assert_eq!(PullMessage::INFO.response.name, "PullMessageResponseHeader");
/// ```
pub trait Command {
    /// The request code.
    const CODE: RequestCode;
    /// The same as values.
    const INFO: CommandInfo;
    /// The header of a request.
    type Request<'a>: Header<'a> + EncodeHeader;
    /// The header of an answer.
    type Response<'a>: Header<'a> + EncodeHeader;
}

/// A command as values, for lists and tests.
#[derive(Debug, Clone, Copy)]
pub struct CommandInfo {
    /// The request code.
    pub code: RequestCode,
    /// The header of a request.
    pub request: HeaderInfo,
    /// The header of an answer.
    pub response: HeaderInfo,
}

/// What a header is called and what it carries.
#[derive(Debug, Clone, Copy)]
pub struct HeaderInfo {
    /// The reference's class, or [`NoHeader`]'s name.
    pub name: &'static str,
    /// Lists the fields.
    pub fields: fn() -> Vec<Field>,
}

impl HeaderInfo {
    /// The description of a header type.
    pub const fn of<H: Header<'static>>() -> Self {
        Self {
            name: H::NAME,
            fields: H::fields,
        }
    }
}

/// A number that is no request code of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no request code of RocketMQ 5.5.0")]
pub struct UnknownRequestCode(pub i32);

impl RequestCode {
    /// The code of a request that came.
    ///
    /// ROCKETMQ headers have 16 bits for it, so that pop (200050) comes as 3442; such a number is
    /// taken for the code that it was cut from.
    ///
    /// # Errors
    /// There is no such code.
    pub fn of(head: &Head) -> Result<Self, UnknownRequestCode> {
        let exact = Self::try_from(head.code);
        if exact.is_ok() || head.serialize == SerializeType::Json {
            return exact;
        }
        let cut = COMMANDS
            .iter()
            .find(|command| i32::from(command.code as i32 as i16) == head.code);
        cut.map(|command| command.code)
            .ok_or(UnknownRequestCode(head.code))
    }
}

macro_rules! commands {
    ($a:lifetime; $(
        $(#[$doc:meta])+
        $command:ident = $code:literal $name:literal: $request:ty => $response:ty;
    )*) => {
        /// What a request asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum RequestCode {
            $($(#[$doc])+ $command = $code,)*
        }

        impl RequestCode {
            /// The reference's name of it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$command => $name,)*
                }
            }

            /// What its request and answer carry.
            pub const fn info(self) -> &'static CommandInfo {
                match self {
                    $(Self::$command => &<$command as Command>::INFO,)*
                }
            }
        }

        impl TryFrom<i32> for RequestCode {
            type Error = UnknownRequestCode;

            fn try_from(code: i32) -> Result<Self, UnknownRequestCode> {
                match code {
                    $($code => Ok(Self::$command),)*
                    unknown => Err(UnknownRequestCode(unknown)),
                }
            }
        }

        /// Every command, in the order of the declaration.
        pub static COMMANDS: &[CommandInfo] = &[$(<$command as Command>::INFO,)*];

        $(
            $(#[$doc])+
            #[derive(Debug, Clone, Copy)]
            pub struct $command;

            impl Command for $command {
                const CODE: RequestCode = RequestCode::$command;
                const INFO: CommandInfo = CommandInfo {
                    code: Self::CODE,
                    request: HeaderInfo::of::<Self::Request<'static>>(),
                    response: HeaderInfo::of::<Self::Response<'static>>(),
                };
                type Request<$a> = $request;
                type Response<$a> = $response;
            }
        )*
    };
}

commands! { 'a;
    // Messages.
    /// Stores a message, with field names in full.
    SendMessage = 10 "SEND_MESSAGE": send::SendMessageRequest<'a> => send::SendMessageResponse<'a>;
    /// Stores a message.
    SendMessageV2 = 310 "SEND_MESSAGE_V2":
        send::SendMessageRequestV2<'a> => send::SendMessageResponse<'a>;
    /// Stores several messages of one topic.
    SendBatchMessage = 320 "SEND_BATCH_MESSAGE":
        send::SendMessageRequestV2<'a> => send::SendMessageResponse<'a>;
    /// Sends a reply to a waiting requester, with field names in full.
    SendReplyMessage = 324 "SEND_REPLY_MESSAGE":
        send::SendMessageRequest<'a> => send::SendMessageResponse<'a>;
    /// Sends a reply to a waiting requester.
    SendReplyMessageV2 = 325 "SEND_REPLY_MESSAGE_V2":
        send::SendMessageRequestV2<'a> => send::SendMessageResponse<'a>;
    /// To a client: hands it the reply that it waits for.
    PushReplyMessageToClient = 326 "PUSH_REPLY_MESSAGE_TO_CLIENT":
        send::ReplyMessageRequest<'a> => NoHeader;
    /// Returns a message that failed, for a retry or the dead letter queue.
    ConsumerSendMsgBack = 36 "CONSUMER_SEND_MSG_BACK":
        send::ConsumerSendMsgBackRequest<'a> => NoHeader;
    /// Takes back a timed message.
    RecallMessage = 370 "RECALL_MESSAGE":
        send::RecallMessageRequest<'a> => send::RecallMessageResponse<'a>;
    /// Reads the messages of a queue from an offset on.
    PullMessage = 11 "PULL_MESSAGE": pull::PullMessageRequest<'a> => pull::PullMessageResponse;
    /// The same for consumers that assign their queues themselves.
    LitePullMessage = 361 "LITE_PULL_MESSAGE":
        pull::PullMessageRequest<'a> => pull::PullMessageResponse;
    /// Finds messages by key or unique id.
    QueryMessage = 12 "QUERY_MESSAGE": pull::QueryMessageRequest<'a> => pull::QueryMessageResponse;
    /// Reads the one message at a place in the commit log.
    ViewMessageById = 33 "VIEW_MESSAGE_BY_ID":
        pull::ViewMessageRequest<'a> => pull::ViewMessageResponse;
    /// Looks at entries of a consume queue.
    QueryConsumeQueue = 321 "QUERY_CONSUME_QUEUE": pull::QueryConsumeQueueRequest<'a> => NoHeader;
    /// Commits or rolls back a half message.
    EndTransaction = 37 "END_TRANSACTION":
        transaction::EndTransactionRequest<'a> => transaction::EndTransactionResponse;
    /// To a producer: asks what became of a transaction.
    CheckTransactionState = 39 "CHECK_TRANSACTION_STATE":
        transaction::CheckTransactionStateRequest<'a>
            => transaction::CheckTransactionStateResponse<'a>;
    /// Checks a half message again that had been given up.
    ResumeCheckHalfMessage = 323 "RESUME_CHECK_HALF_MESSAGE":
        transaction::ResumeCheckHalfMessageRequest<'a> => NoHeader;

    // Pop consumption.
    /// Takes messages and hides them from the group for a while.
    PopMessage = 200050 "POP_MESSAGE": pop::PopMessageRequest<'a> => pop::PopMessageResponse<'a>;
    /// A taken message was consumed.
    AckMessage = 200051 "ACK_MESSAGE": pop::AckMessageRequest<'a> => NoHeader;
    /// Several taken messages were consumed; the body names them.
    BatchAckMessage = 200151 "BATCH_ACK_MESSAGE": NoHeader => NoHeader;
    /// Reads messages without taking them.
    PeekMessage = 200052 "PEEK_MESSAGE": pop::PeekMessageRequest<'a> => pop::PopMessageResponse<'a>;
    /// Changes how long a taken message stays hidden.
    ChangeMessageInvisibleTime = 200053 "CHANGE_MESSAGE_INVISIBLETIME":
        pop::ChangeInvisibleTimeRequest<'a> => pop::ChangeInvisibleTimeResponse;
    /// Waits until there is something to take.
    Notification = 200054 "NOTIFICATION": pop::NotificationRequest<'a> => pop::NotificationResponse;
    /// Asks how many requests are held.
    PollingInfo = 200055 "POLLING_INFO": pop::PollingInfoRequest<'a> => pop::PollingInfoResponse;
    /// Moves the records of taken messages from RocksDB back to the file store.
    PopRollback = 200056 "POP_ROLLBACK": NoHeader => NoHeader;
    /// Asks which queues a client shall consume, and how.
    QueryAssignment = 400 "QUERY_ASSIGNMENT": NoHeader => NoHeader;
    /// Sets whether a group pulls or pops a topic.
    SetMessageRequestMode = 401 "SET_MESSAGE_REQUEST_MODE": NoHeader => NoHeader;
    /// Asks for all such settings.
    GetAllMessageRequestMode = 402 "GET_ALL_MESSAGE_REQUEST_MODE": NoHeader => NoHeader;

    // Lite topics.
    /// Takes messages of the lite topics that a client is subscribed to.
    PopLiteMessage = 200070 "POP_LITE_MESSAGE":
        lite::PopLiteMessageRequest<'a> => lite::PopLiteMessageResponse<'a>;
    /// Subscribes to lite topics or leaves them.
    LiteSubscriptionCtl = 200071 "LITE_SUBSCRIPTION_CTL":
        lite::LiteSubscriptionCtlRequest<'a> => NoHeader;
    /// Set aside for acknowledging lite messages; 5.5.0 uses `ACK_MESSAGE`.
    AckLiteMessage = 200072 "ACK_LITE_MESSAGE": NoHeader => NoHeader;
    /// To a client: it no longer gets a lite topic.
    NotifyUnsubscribeLite = 200073 "NOTIFY_UNSUBSCRIBE_LITE":
        lite::NotifyUnsubscribeLiteRequest<'a> => NoHeader;
    /// Asks about the lite topics of a broker.
    GetBrokerLiteInfo = 200074 "GET_BROKER_LITE_INFO": NoHeader => NoHeader;
    /// Asks about a parent topic.
    GetParentTopicInfo = 200075 "GET_PARENT_TOPIC_INFO":
        lite::GetParentTopicInfoRequest<'a> => NoHeader;
    /// Asks about a lite topic.
    GetLiteTopicInfo = 200076 "GET_LITE_TOPIC_INFO": lite::GetLiteTopicInfoRequest<'a> => NoHeader;
    /// Asks about a client of lite topics.
    GetLiteClientInfo = 200077 "GET_LITE_CLIENT_INFO":
        lite::GetLiteClientInfoRequest<'a> => NoHeader;
    /// Asks about a group on its lite topics.
    GetLiteGroupInfo = 200078 "GET_LITE_GROUP_INFO": lite::GetLiteGroupInfoRequest<'a> => NoHeader;
    /// Looks again for messages that lite clients wait for.
    TriggerLiteDispatch = 200079 "TRIGGER_LITE_DISPATCH":
        lite::TriggerLiteDispatchRequest<'a> => NoHeader;

    // Offsets.
    /// Asks what protocols a server has; no server of 5.5.0 serves it.
    QueryBrokerOffset = 13 "QUERY_BROKER_OFFSET": NoHeader => NoHeader;
    /// Asks how far a group has come in a queue.
    QueryConsumerOffset = 14 "QUERY_CONSUMER_OFFSET":
        offset::QueryConsumerOffsetRequest<'a> => offset::QueryConsumerOffsetResponse;
    /// Stores how far a group has come in a queue.
    UpdateConsumerOffset = 15 "UPDATE_CONSUMER_OFFSET":
        offset::UpdateConsumerOffsetRequest<'a> => offset::UpdateConsumerOffsetResponse;
    /// Asks for the offset of the message stored at a time.
    SearchOffsetByTimestamp = 29 "SEARCH_OFFSET_BY_TIMESTAMP":
        offset::SearchOffsetRequest<'a> => offset::SearchOffsetResponse;
    /// Asks for the offset behind the last message.
    GetMaxOffset = 30 "GET_MAX_OFFSET":
        offset::GetMaxOffsetRequest<'a> => offset::GetMaxOffsetResponse;
    /// Asks for the offset of the first message.
    GetMinOffset = 31 "GET_MIN_OFFSET":
        offset::GetMinOffsetRequest<'a> => offset::GetMinOffsetResponse;
    /// Asks when the first message was stored.
    GetEarliestMsgStoreTime = 32 "GET_EARLIEST_MSG_STORETIME":
        offset::GetEarliestMsgStoretimeRequest<'a> => offset::GetEarliestMsgStoretimeResponse;
    /// To a master: asks for all consumer offsets.
    GetAllConsumerOffset = 43 "GET_ALL_CONSUMER_OFFSET": NoHeader => NoHeader;
    /// To a master: asks for the offsets of the delay levels.
    GetAllDelayOffset = 45 "GET_ALL_DELAY_OFFSET": NoHeader => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    ResetConsumerOffsetInConsumer = 211 "RESET_CONSUMER_OFFSET_IN_CONSUMER": NoHeader => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    ResetConsumerOffsetInBroker = 212 "RESET_CONSUMER_OFFSET_IN_BROKER": NoHeader => NoHeader;
    /// To a client: its offsets have been reset; the body has the new ones.
    ResetConsumerClientOffset = 220 "RESET_CONSUMER_CLIENT_OFFSET":
        offset::ResetOffsetRequest<'a> => NoHeader;
    /// To a client: asks how far it has come.
    GetConsumerStatusFromClient = 221 "GET_CONSUMER_STATUS_FROM_CLIENT":
        client::GetConsumerStatusRequest<'a> => NoHeader;
    /// Sets a group's offsets to a time or a place.
    InvokeBrokerToResetOffset = 222 "INVOKE_BROKER_TO_RESET_OFFSET":
        offset::ResetOffsetRequest<'a> => NoHeader;
    /// Asks clients, through the broker, how far each has come.
    InvokeBrokerToGetConsumerStatus = 223 "INVOKE_BROKER_TO_GET_CONSUMER_STATUS":
        client::GetConsumerStatusRequest<'a> => NoHeader;
    /// Asks what span of time a group has still to consume.
    QueryConsumeTimeSpan = 303 "QUERY_CONSUME_TIME_SPAN":
        offset::QueryConsumeTimeSpanRequest<'a> => NoHeader;
    /// Asks for other groups' offsets to correct one group's by.
    QueryCorrectionOffset = 308 "QUERY_CORRECTION_OFFSET":
        offset::QueryCorrectionOffsetRequest<'a> => NoHeader;
    /// Gives a group the offsets of another.
    CloneGroupOffset = 314 "CLONE_GROUP_OFFSET": offset::CloneGroupOffsetRequest<'a> => NoHeader;

    // Clients.
    /// A client says that it is there, and what it produces and consumes.
    Heartbeat = 34 "HEART_BEAT": client::HeartbeatRequest<'a> => client::HeartbeatResponse;
    /// A client leaves its groups.
    UnregisterClient = 35 "UNREGISTER_CLIENT":
        client::UnregisterClientRequest<'a> => client::UnregisterClientResponse;
    /// Asks for the ids of the clients in a group.
    GetConsumerListByGroup = 38 "GET_CONSUMER_LIST_BY_GROUP":
        client::GetConsumerListByGroupRequest<'a> => client::GetConsumerListByGroupResponse;
    /// To a client: the members of its group have changed.
    NotifyConsumerIdsChanged = 40 "NOTIFY_CONSUMER_IDS_CHANGED":
        client::NotifyConsumerIdsChangedRequest<'a> => NoHeader;
    /// Locks queues for one ordered consumer.
    LockBatchMq = 41 "LOCK_BATCH_MQ": client::LockBatchMqRequest<'a> => NoHeader;
    /// Unlocks queues.
    UnlockBatchMq = 42 "UNLOCK_BATCH_MQ": client::UnlockBatchMqRequest<'a> => NoHeader;
    /// Asks whether the broker accepts a subscription's filter.
    CheckClientConfig = 46 "CHECK_CLIENT_CONFIG": NoHeader => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    GetClientConfig = 47 "GET_CLIENT_CONFIG": NoHeader => NoHeader;
    /// Asks for the connected clients of a consumer group.
    GetConsumerConnectionList = 203 "GET_CONSUMER_CONNECTION_LIST":
        client::GetConsumerConnectionListRequest<'a> => NoHeader;
    /// Asks for the connected clients of a producer group.
    GetProducerConnectionList = 204 "GET_PRODUCER_CONNECTION_LIST":
        client::GetProducerConnectionListRequest<'a> => NoHeader;
    /// Asks for all connected producers.
    GetAllProducerInfo = 328 "GET_ALL_PRODUCER_INFO": client::GetAllProducerInfoRequest => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    SuspendConsumer = 209 "SUSPEND_CONSUMER": NoHeader => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    ResumeConsumer = 210 "RESUME_CONSUMER": NoHeader => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    AdjustConsumerThreadPool = 213 "ADJUST_CONSUMER_THREAD_POOL": NoHeader => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    WhoConsumeTheMessage = 214 "WHO_CONSUME_THE_MESSAGE": NoHeader => NoHeader;
    /// Asks a client, through the broker, how it is doing.
    GetConsumerRunningInfo = 307 "GET_CONSUMER_RUNNING_INFO":
        client::GetConsumerRunningInfoRequest<'a> => NoHeader;
    /// Makes a client, through the broker, consume one message now.
    ConsumeMessageDirectly = 309 "CONSUME_MESSAGE_DIRECTLY":
        client::ConsumeMessageDirectlyResultRequest<'a> => NoHeader;

    // Topics.
    /// Creates a topic or changes it.
    UpdateAndCreateTopic = 17 "UPDATE_AND_CREATE_TOPIC": topic::CreateTopicRequest<'a> => NoHeader;
    /// Creates or changes the topics in the body.
    UpdateAndCreateTopicList = 18 "UPDATE_AND_CREATE_TOPIC_LIST":
        topic::CreateTopicListRequest<'a> => NoHeader;
    /// Creates a static topic, whose queues are mapped to brokers.
    UpdateAndCreateStaticTopic = 513 "UPDATE_AND_CREATE_STATIC_TOPIC":
        topic::CreateTopicRequest<'a> => NoHeader;
    /// Asks for the settings of all topics.
    GetAllTopicConfig = 21 "GET_ALL_TOPIC_CONFIG":
        topic::GetAllTopicConfigRequest<'a> => topic::GetAllTopicConfigResponse;
    /// Set aside; no server of 5.5.0 serves it.
    GetTopicConfigList = 22 "GET_TOPIC_CONFIG_LIST": NoHeader => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    GetTopicNameList = 23 "GET_TOPIC_NAME_LIST": NoHeader => NoHeader;
    /// Asks how far the queues of a topic go.
    GetTopicStatsInfo = 202 "GET_TOPIC_STATS_INFO": topic::GetTopicStatsInfoRequest<'a> => NoHeader;
    /// Deletes a topic and its queues.
    DeleteTopicInBroker = 215 "DELETE_TOPIC_IN_BROKER": topic::DeleteTopicRequest<'a> => NoHeader;
    /// Asks which groups consume a topic.
    QueryTopicConsumeByWho = 300 "QUERY_TOPIC_CONSUME_BY_WHO":
        topic::QueryTopicConsumeByWhoRequest<'a> => NoHeader;
    /// Asks which topics a group consumes.
    QueryTopicsByConsumer = 343 "QUERY_TOPICS_BY_CONSUMER":
        topic::QueryTopicsByConsumerRequest<'a> => NoHeader;
    /// Asks a broker for its system topics.
    GetSystemTopicListFromBroker = 305 "GET_SYSTEM_TOPIC_LIST_FROM_BROKER": NoHeader => NoHeader;
    /// Deletes the queues of topics that are gone.
    CleanUnusedTopic = 316 "CLEAN_UNUSED_TOPIC": NoHeader => NoHeader;
    /// Asks for the settings of a topic.
    GetTopicConfig = 351 "GET_TOPIC_CONFIG": topic::GetTopicConfigRequest<'a> => NoHeader;

    // Consumer groups.
    /// Creates the group in the body or changes it.
    UpdateAndCreateSubscriptionGroup = 200 "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP":
        NoHeader => NoHeader;
    /// Creates or changes the groups in the body.
    UpdateAndCreateSubscriptionGroupList = 225 "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST":
        NoHeader => NoHeader;
    /// Asks for the settings of all groups.
    GetAllSubscriptionGroupConfig = 201 "GET_ALL_SUBSCRIPTIONGROUP_CONFIG":
        group::GetAllSubscriptionGroupRequest<'a> => group::GetAllSubscriptionGroupResponse;
    /// Asks for the settings of a group.
    GetSubscriptionGroupConfig = 352 "GET_SUBSCRIPTIONGROUP_CONFIG":
        group::GetSubscriptionGroupConfigRequest<'a> => NoHeader;
    /// Deletes a group.
    DeleteSubscriptionGroup = 207 "DELETE_SUBSCRIPTIONGROUP":
        group::DeleteSubscriptionGroupRequest<'a> => NoHeader;
    /// Asks how far behind a group is.
    GetConsumeStats = 208 "GET_CONSUME_STATS": group::GetConsumeStatsRequest<'a> => NoHeader;
    /// Asks how far behind every group of a broker is.
    GetBrokerConsumeStats = 317 "GET_BROKER_CONSUME_STATS":
        group::GetConsumeStatsInBrokerRequest => NoHeader;
    /// Asks how a group is subscribed to a topic.
    QuerySubscriptionByConsumer = 345 "QUERY_SUBSCRIPTION_BY_CONSUMER":
        group::QuerySubscriptionByConsumerRequest<'a> => NoHeader;
    /// Forbids or allows a group to read a topic.
    UpdateAndGetGroupForbidden = 353 "UPDATE_AND_GET_GROUP_FORBIDDEN":
        group::UpdateGroupForbiddenRequest<'a> => NoHeader;

    // Brokers.
    /// Changes the broker's configuration; the body is properties text.
    UpdateBrokerConfig = 25 "UPDATE_BROKER_CONFIG": NoHeader => NoHeader;
    /// Asks for the broker's configuration.
    GetBrokerConfig = 26 "GET_BROKER_CONFIG": NoHeader => broker::GetBrokerConfigResponse<'a>;
    /// Set aside; no server of 5.5.0 serves it.
    TriggerDeleteFiles = 27 "TRIGGER_DELETE_FILES": NoHeader => NoHeader;
    /// Asks how the broker is doing.
    GetBrokerRuntimeInfo = 28 "GET_BROKER_RUNTIME_INFO": NoHeader => NoHeader;
    /// To a master: asks how far its timed messages have come.
    GetTimerCheckPoint = 60 "GET_TIMER_CHECK_POINT": NoHeader => NoHeader;
    /// To a master: asks how many timed messages each topic has.
    GetTimerMetrics = 61 "GET_TIMER_METRICS": NoHeader => NoHeader;
    /// Chooses what keeps timed messages.
    SwitchTimerEngine = 5001 "SWITCH_TIMER_ENGINE":
        broker::SwitchTimerEngineRequest<'a> => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    RegisterFilterServer = 301 "REGISTER_FILTER_SERVER": NoHeader => NoHeader;
    /// Set aside; no server of 5.5.0 serves it.
    RegisterMessageFilterClass = 302 "REGISTER_MESSAGE_FILTER_CLASS": NoHeader => NoHeader;
    /// Deletes consume queue files that point at nothing any more.
    CleanExpiredConsumeQueue = 306 "CLEAN_EXPIRED_CONSUMEQUEUE": NoHeader => NoHeader;
    /// Asks for a counter of the broker's statistics.
    ViewBrokerStatsData = 315 "VIEW_BROKER_STATS_DATA":
        broker::ViewBrokerStatsDataRequest<'a> => NoHeader;
    /// Deletes commit log files that are old enough.
    DeleteExpiredCommitLog = 329 "DELETE_EXPIRED_COMMITLOG": NoHeader => NoHeader;
    /// Asks whether consume queues in files and in RocksDB agree.
    CheckRocksdbCqWriteProgress = 354 "CHECK_ROCKSDB_CQ_WRITE_PROGRESS":
        broker::CheckRocksdbCqWriteProgressRequest<'a> => NoHeader;
    /// Writes configuration kept in RocksDB to JSON files.
    ExportRocksdbConfigToJson = 355 "EXPORT_ROCKSDB_CONFIG_TO_JSON":
        broker::ExportRocksDBConfigToJsonRequest<'a> => NoHeader;
    /// Limits how much old data groups may read.
    UpdateColdDataFlowCtrConfig = 2001 "UPDATE_COLD_DATA_FLOW_CTR_CONFIG": NoHeader => NoHeader;
    /// Removes such limits.
    RemoveColdDataFlowCtrConfig = 2002 "REMOVE_COLD_DATA_FLOW_CTR_CONFIG": NoHeader => NoHeader;
    /// Asks for such limits and what was read.
    GetColdDataFlowCtrInfo = 2003 "GET_COLD_DATA_FLOW_CTR_INFO": NoHeader => NoHeader;
    /// Tells the system whether to read ahead in the commit log.
    SetCommitLogReadMode = 2004 "SET_COMMITLOG_READ_MODE": NoHeader => NoHeader;
    /// Starts a broker inside a container.
    AddBroker = 902 "ADD_BROKER": broker::AddBrokerRequest<'a> => NoHeader;
    /// Stops a broker inside a container.
    RemoveBroker = 903 "REMOVE_BROKER": broker::RemoveBrokerRequest<'a> => NoHeader;
    /// To a broker: another one of its group has the smallest id now.
    NotifyMinBrokerIdChange = 905 "NOTIFY_MIN_BROKER_ID_CHANGE":
        broker::NotifyMinBrokerIdChangeRequest<'a> => NoHeader;
    /// Asks a master about replication, or tells it.
    ExchangeBrokerHaInfo = 906 "EXCHANGE_BROKER_HA_INFO":
        broker::ExchangeHAInfoRequest<'a> => broker::ExchangeHAInfoResponse<'a>;
    /// Asks how replication is doing.
    GetBrokerHaStatus = 907 "GET_BROKER_HA_STATUS": NoHeader => NoHeader;
    /// Sets from where a replica counts the master's data as its own.
    ResetMasterFlushOffset = 908 "RESET_MASTER_FLUSH_OFFSET":
        broker::ResetMasterFlushOffsetRequest => NoHeader;

    // Name server.
    /// Stores a value under a name.
    PutKvConfig = 100 "PUT_KV_CONFIG": nameserver::PutKVConfigRequest<'a> => NoHeader;
    /// Asks for the value under a name.
    GetKvConfig = 101 "GET_KV_CONFIG":
        nameserver::GetKVConfigRequest<'a> => nameserver::GetKVConfigResponse<'a>;
    /// Deletes the value under a name.
    DeleteKvConfig = 102 "DELETE_KV_CONFIG": nameserver::DeleteKVConfigRequest<'a> => NoHeader;
    /// Asks for all names and values of a namespace.
    GetKvListByNamespace = 219 "GET_KVLIST_BY_NAMESPACE":
        nameserver::GetKVListByNamespaceRequest<'a> => NoHeader;
    /// A broker registers itself and its topics.
    RegisterBroker = 103 "REGISTER_BROKER":
        nameserver::RegisterBrokerRequest<'a> => nameserver::RegisterBrokerResponse<'a>;
    /// A broker takes itself out.
    UnregisterBroker = 104 "UNREGISTER_BROKER": nameserver::UnRegisterBrokerRequest<'a> => NoHeader;
    /// A broker says that it is alive.
    BrokerHeartbeat = 904 "BROKER_HEARTBEAT": nameserver::BrokerHeartbeatRequest<'a> => NoHeader;
    /// Asks whether a broker's topics have changed.
    QueryDataVersion = 322 "QUERY_DATA_VERSION":
        nameserver::QueryDataVersionRequest<'a> => nameserver::QueryDataVersionResponse;
    /// Asks which brokers have a topic.
    GetRouteInfoByTopic = 105 "GET_ROUTEINFO_BY_TOPIC":
        nameserver::GetRouteInfoRequest<'a> => NoHeader;
    /// Asks for all clusters and brokers.
    GetBrokerClusterInfo = 106 "GET_BROKER_CLUSTER_INFO": NoHeader => NoHeader;
    /// Asks for the brokers of a group.
    GetBrokerMemberGroup = 901 "GET_BROKER_MEMBER_GROUP":
        broker::GetBrokerMemberGroupRequest<'a> => NoHeader;
    /// Forbids writing to all topics of a broker.
    WipeWritePermOfBroker = 205 "WIPE_WRITE_PERM_OF_BROKER":
        nameserver::WipeWritePermOfBrokerRequest<'a> => nameserver::WipeWritePermOfBrokerResponse;
    /// Allows it again.
    AddWritePermOfBroker = 327 "ADD_WRITE_PERM_OF_BROKER":
        nameserver::AddWritePermOfBrokerRequest<'a> => nameserver::AddWritePermOfBrokerResponse;
    /// Asks for all topics.
    GetAllTopicListFromNameServer = 206 "GET_ALL_TOPIC_LIST_FROM_NAMESERVER": NoHeader => NoHeader;
    /// Forgets a topic.
    DeleteTopicInNamesrv = 216 "DELETE_TOPIC_IN_NAMESRV":
        nameserver::DeleteTopicFromNamesrvRequest<'a> => NoHeader;
    /// Adds a topic's queues, which are the body.
    RegisterTopicInNamesrv = 217 "REGISTER_TOPIC_IN_NAMESRV":
        nameserver::RegisterTopicRequest<'a> => NoHeader;
    /// Asks for the topics of a cluster.
    GetTopicsByCluster = 224 "GET_TOPICS_BY_CLUSTER":
        nameserver::GetTopicsByClusterRequest<'a> => NoHeader;
    /// Asks for the topics named after clusters and brokers.
    GetSystemTopicListFromNs = 304 "GET_SYSTEM_TOPIC_LIST_FROM_NS": NoHeader => NoHeader;
    /// Asks for the topics of units.
    GetUnitTopicList = 311 "GET_UNIT_TOPIC_LIST": NoHeader => NoHeader;
    /// Asks for the topics that units are subscribed to.
    GetHasUnitSubTopicList = 312 "GET_HAS_UNIT_SUB_TOPIC_LIST": NoHeader => NoHeader;
    /// Asks for those of them that are not of a unit.
    GetHasUnitSubUnUnitTopicList = 313 "GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST": NoHeader => NoHeader;
    /// Changes the name server's configuration; the body is properties text.
    UpdateNamesrvConfig = 318 "UPDATE_NAMESRV_CONFIG": NoHeader => NoHeader;
    /// Asks for the name server's configuration.
    GetNamesrvConfig = 319 "GET_NAMESRV_CONFIG": NoHeader => NoHeader;

    // Controller.
    /// A master changes the in-sync replicas, which are the body.
    ControllerAlterSyncStateSet = 1001 "CONTROLLER_ALTER_SYNC_STATE_SET":
        controller::AlterSyncStateSetRequest<'a> => controller::AlterSyncStateSetResponse;
    /// Asks for a master.
    ControllerElectMaster = 1002 "CONTROLLER_ELECT_MASTER":
        controller::ElectMasterRequest<'a> => controller::ElectMasterResponse<'a>;
    /// A broker with an id goes online.
    ControllerRegisterBroker = 1003 "CONTROLLER_REGISTER_BROKER":
        controller::RegisterBrokerToControllerRequest<'a>
            => controller::RegisterBrokerToControllerResponse<'a>;
    /// Asks for the master and the in-sync replicas of a group.
    ControllerGetReplicaInfo = 1004 "CONTROLLER_GET_REPLICA_INFO":
        controller::GetReplicaInfoRequest<'a> => controller::GetReplicaInfoResponse<'a>;
    /// Asks which controller leads.
    ControllerGetMetadataInfo = 1005 "CONTROLLER_GET_METADATA_INFO":
        NoHeader => controller::GetMetaDataResponse<'a>;
    /// Asks for the in-sync replicas of the groups in the body.
    ControllerGetSyncStateData = 1006 "CONTROLLER_GET_SYNC_STATE_DATA": NoHeader => NoHeader;
    /// To a broker: asks for the epochs that it has lived through.
    GetBrokerEpochCache = 1007 "GET_BROKER_EPOCH_CACHE": NoHeader => NoHeader;
    /// To a broker: who is master now.
    NotifyBrokerRoleChanged = 1008 "NOTIFY_BROKER_ROLE_CHANGED":
        controller::NotifyBrokerRoleChangedRequest<'a> => NoHeader;
    /// Changes the controller's configuration; the body is properties text.
    UpdateControllerConfig = 1009 "UPDATE_CONTROLLER_CONFIG": NoHeader => NoHeader;
    /// Asks for the controller's configuration.
    GetControllerConfig = 1010 "GET_CONTROLLER_CONFIG": NoHeader => NoHeader;
    /// Forgets brokers of a group.
    CleanBrokerData = 1011 "CLEAN_BROKER_DATA":
        controller::CleanControllerBrokerDataRequest<'a> => NoHeader;
    /// Asks which id a new broker may take.
    ControllerGetNextBrokerId = 1012 "CONTROLLER_GET_NEXT_BROKER_ID":
        controller::GetNextBrokerIdRequest<'a> => controller::GetNextBrokerIdResponse<'a>;
    /// A new broker takes an id.
    ControllerApplyBrokerId = 1013 "CONTROLLER_APPLY_BROKER_ID":
        controller::ApplyBrokerIdRequest<'a> => controller::ApplyBrokerIdResponse<'a>;

    // From controller to controller, through the log of their Raft group.
    /// A broker's connection was closed.
    BrokerCloseChannel = 1014 "BROKER_CLOSE_CHANNEL_REQUEST":
        raft::BrokerCloseChannelRequest<'a> => raft::BrokerCloseChannelResponse;
    /// Looks for brokers that have been silent too long.
    CheckNotActiveBroker = 1015 "CHECK_NOT_ACTIVE_BROKER_REQUEST":
        raft::CheckNotActiveBrokerRequest => raft::CheckNotActiveBrokerResponse;
    /// Asks what is known of living brokers.
    GetBrokerLiveInfo = 1016 "GET_BROKER_LIVE_INFO_REQUEST":
        raft::GetBrokerLiveInfoRequest<'a> => raft::GetBrokerLiveInfoResponse;
    /// Asks for the in-sync replicas of all groups.
    GetSyncStateData = 1017 "GET_SYNC_STATE_DATA_REQUEST":
        raft::GetSyncStateDataRequest => NoHeader;
    /// A broker was heard of.
    RaftBrokerHeartBeatEvent = 1018 "RAFT_BROKER_HEART_BEAT_EVENT_REQUEST":
        raft::RaftBrokerHeartBeatEventRequest<'a> => raft::RaftBrokerHeartBeatEventResponse;

    // Users and access control.
    /// Creates the user in the body.
    AuthCreateUser = 3001 "AUTH_CREATE_USER": auth::CreateUserRequest<'a> => NoHeader;
    /// Changes a user to what is in the body.
    AuthUpdateUser = 3002 "AUTH_UPDATE_USER": auth::UpdateUserRequest<'a> => NoHeader;
    /// Deletes a user.
    AuthDeleteUser = 3003 "AUTH_DELETE_USER": auth::DeleteUserRequest<'a> => NoHeader;
    /// Asks for a user.
    AuthGetUser = 3004 "AUTH_GET_USER": auth::GetUserRequest<'a> => NoHeader;
    /// Asks for users.
    AuthListUser = 3005 "AUTH_LIST_USER": auth::ListUsersRequest<'a> => NoHeader;
    /// Creates the policies in the body.
    AuthCreateAcl = 3006 "AUTH_CREATE_ACL": auth::CreateAclRequest<'a> => NoHeader;
    /// Changes the policies to what is in the body.
    AuthUpdateAcl = 3007 "AUTH_UPDATE_ACL": auth::UpdateAclRequest<'a> => NoHeader;
    /// Deletes policies.
    AuthDeleteAcl = 3008 "AUTH_DELETE_ACL": auth::DeleteAclRequest<'a> => NoHeader;
    /// Asks for the policies of a subject.
    AuthGetAcl = 3009 "AUTH_GET_ACL": auth::GetAclRequest<'a> => NoHeader;
    /// Asks for policies.
    AuthListAcl = 3010 "AUTH_LIST_ACL": auth::ListAclsRequest<'a> => NoHeader;
}
