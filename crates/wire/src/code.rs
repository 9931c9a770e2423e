//! Response codes: what became of a request (`ResponseCode`, `RemotingSysResponseCode`).

/// A number that is no response code of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no response code of RocketMQ 5.5.0")]
pub struct UnknownResponseCode(pub i32);

macro_rules! response_codes {
    ($($(#[$doc:meta])+ $variant:ident = $code:literal $name:literal,)*) => {
        /// What became of a request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum ResponseCode {
            $($(#[$doc])+ $variant = $code,)*
        }

        impl ResponseCode {
            /// Every code, in the order of the declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The reference's name of it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl TryFrom<i32> for ResponseCode {
            type Error = UnknownResponseCode;

            fn try_from(code: i32) -> Result<Self, UnknownResponseCode> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    unknown => Err(UnknownResponseCode(unknown)),
                }
            }
        }
    };
}

response_codes! {
    // Of every server.
    /// Done.
    Success = 0 "SUCCESS",
    /// Something failed that has no code of its own; the remark tells.
    SystemError = 1 "SYSTEM_ERROR",
    /// Too much is waiting; try again later.
    SystemBusy = 2 "SYSTEM_BUSY",
    /// The server does not know the request code.
    RequestCodeNotSupported = 3 "REQUEST_CODE_NOT_SUPPORTED",
    /// The transaction could not be ended.
    TransactionFailed = 4 "TRANSACTION_FAILED",

    // Of sending.
    /// Stored, but not on disk within the time that synchronous flushing allows.
    FlushDiskTimeout = 10 "FLUSH_DISK_TIMEOUT",
    /// Stored, but no replica is there to have it as well.
    SlaveNotAvailable = 11 "SLAVE_NOT_AVAILABLE",
    /// Stored, but not on enough replicas within the time allowed.
    FlushSlaveTimeout = 12 "FLUSH_SLAVE_TIMEOUT",
    /// The message breaks a rule, such as its size.
    MessageIllegal = 13 "MESSAGE_ILLEGAL",
    /// The broker does not take messages now: starting, stopping, a replica, a full disk.
    ServiceNotAvailable = 14 "SERVICE_NOT_AVAILABLE",
    /// The client's version is too old or too new for this.
    VersionNotSupported = 15 "VERSION_NOT_SUPPORTED",
    /// A permission of the broker, topic, group or user forbids it.
    NoPermission = 16 "NO_PERMISSION",
    /// The topic does not exist and is not created by itself.
    TopicNotExist = 17 "TOPIC_NOT_EXIST",
    /// The topic exists already.
    TopicExistAlready = 18 "TOPIC_EXIST_ALREADY",

    // Of pulling.
    /// There is no message at the offset yet.
    PullNotFound = 19 "PULL_NOT_FOUND",
    /// No message passed the filter; pull again from the offset in the header.
    PullRetryImmediately = 20 "PULL_RETRY_IMMEDIATELY",
    /// The offset is outside of the queue; go on from the one in the header.
    PullOffsetMoved = 21 "PULL_OFFSET_MOVED",
    /// What was asked for is not there.
    QueryNotFound = 22 "QUERY_NOT_FOUND",
    /// The filter expression does not parse.
    SubscriptionParseFailed = 23 "SUBSCRIPTION_PARSE_FAILED",
    /// The group is not subscribed to the topic.
    SubscriptionNotExist = 24 "SUBSCRIPTION_NOT_EXIST",
    /// The broker knows an older subscription than the client.
    SubscriptionNotLatest = 25 "SUBSCRIPTION_NOT_LATEST",
    /// The consumer group does not exist and is not created by itself.
    SubscriptionGroupNotExist = 26 "SUBSCRIPTION_GROUP_NOT_EXIST",
    /// The broker has no filter for the group.
    FilterDataNotExist = 27 "FILTER_DATA_NOT_EXIST",
    /// The broker has an older filter than the client.
    FilterDataNotLatest = 28 "FILTER_DATA_NOT_LATEST",
    /// A value in the request is out of its range.
    InvalidParameter = 29 "INVALID_PARAMETER",

    // Of transactions and consumers.
    /// The half message is to be committed.
    TransactionShouldCommit = 200 "TRANSACTION_SHOULD_COMMIT",
    /// The half message is to be rolled back.
    TransactionShouldRollback = 201 "TRANSACTION_SHOULD_ROLLBACK",
    /// The producer does not know what became of the transaction.
    TransactionStateUnknown = 202 "TRANSACTION_STATE_UNKNOW",
    /// The transaction belongs to another producer group.
    TransactionStateGroupWrong = 203 "TRANSACTION_STATE_GROUP_WRONG",
    /// A buyer id is missing; of a unit deployment.
    NoBuyerId = 204 "NO_BUYER_ID",
    /// The request reached the wrong unit.
    NotInCurrentUnit = 205 "NOT_IN_CURRENT_UNIT",
    /// No client of the group is connected.
    ConsumerNotOnline = 206 "CONSUMER_NOT_ONLINE",
    /// The client did not consume the message in time.
    ConsumeMsgTimeout = 207 "CONSUME_MSG_TIMEOUT",
    /// There is no message.
    NoMessage = 208 "NO_MESSAGE",
    /// Too many requests are held for new messages already.
    PollingFull = 209 "POLLING_FULL",
    /// No message came while the request was held.
    PollingTimeout = 210 "POLLING_TIMEOUT",
    /// The broker does not exist.
    BrokerNotExist = 211 "BROKER_NOT_EXIST",
    /// The broker has not yet queued all that is in its commit log.
    BrokerDispatchNotComplete = 212 "BROKER_DISPATCH_NOT_COMPLETE",
    /// The group consumes in broadcast, which this does not work with.
    BroadcastConsumption = 213 "BROADCAST_CONSUMPTION",
    /// The client is held back; try again later.
    FlowControl = 215 "FLOW_CONTROL",
    /// Another broker leads the static topic's queue.
    NotLeaderForQueue = 501 "NOT_LEADER_FOR_QUEUE",
    /// The operation does not fit the state of its object.
    IllegalOperation = 604 "ILLEGAL_OPERATION",
    /// The server goes away soon; connect elsewhere.
    GoAway = 1500 "GO_AWAY",

    // Of brokers that pass requests on.
    /// A request passed on failed in a way that is not known.
    RpcUnknown = -1000 "RPC_UNKNOWN",
    /// The broker to pass the request on to has no address.
    RpcAddrIsNull = -1002 "RPC_ADDR_IS_NULL",
    /// The request could not be passed on.
    RpcSendToChannelFailed = -1004 "RPC_SEND_TO_CHANNEL_FAILED",
    /// The answer to a request passed on did not come in time.
    RpcTimeOut = -1006 "RPC_TIME_OUT",

    // Of the controller.
    /// The request knows an older master epoch than the controller.
    ControllerFencedMasterEpoch = 2000 "CONTROLLER_FENCED_MASTER_EPOCH",
    /// The request knows an older set of in-sync replicas than the controller.
    ControllerFencedSyncStateSetEpoch = 2001 "CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH",
    /// The asking broker is not the master.
    ControllerInvalidMaster = 2002 "CONTROLLER_INVALID_MASTER",
    /// The set of replicas names one that the controller does not know.
    ControllerInvalidReplicas = 2003 "CONTROLLER_INVALID_REPLICAS",
    /// The broker group has no master.
    ControllerMasterNotAvailable = 2004 "CONTROLLER_MASTER_NOT_AVAILABLE",
    /// The request does not make sense to the controller.
    ControllerInvalidRequest = 2005 "CONTROLLER_INVALID_REQUEST",
    /// The broker is not alive.
    ControllerBrokerNotAlive = 2006 "CONTROLLER_BROKER_NOT_ALIVE",
    /// Another controller leads.
    ControllerNotLeader = 2007 "CONTROLLER_NOT_LEADER",
    /// The controller knows nothing of the broker group.
    ControllerBrokerMetadataNotExist = 2008 "CONTROLLER_BROKER_METADATA_NOT_EXIST",
    /// What the controller knows of the broker can't be deleted.
    ControllerInvalidCleanBrokerMetadata = 2009 "CONTROLLER_INVALID_CLEAN_BROKER_METADATA",
    /// The broker has to register first.
    ControllerBrokerNeedToBeRegistered = 2010 "CONTROLLER_BROKER_NEED_TO_BE_REGISTERED",
    /// The old master is still there.
    ControllerMasterStillExist = 2011 "CONTROLLER_MASTER_STILL_EXIST",
    /// No broker could be elected as master.
    ControllerElectMasterFailed = 2012 "CONTROLLER_ELECT_MASTER_FAILED",
    /// The in-sync replicas could not be changed.
    ControllerAlterSyncStateSetFailed = 2013 "CONTROLLER_ALTER_SYNC_STATE_SET_FAILED",
    /// The broker id is taken or not this broker's.
    ControllerBrokerIdInvalid = 2014 "CONTROLLER_BROKER_ID_INVALID",
    /// The controllers' Raft group failed.
    ControllerJraftInternalError = 2015 "CONTROLLER_JRAFT_INTERNAL_ERROR",
    /// The controller has not heard of the broker.
    ControllerBrokerLiveInfoNotExists = 2016 "CONTROLLER_BROKER_LIVE_INFO_NOT_EXISTS",

    // Of lite topics.
    /// The broker has as many light queues as it may.
    LmqQuotaExceeded = 2017 "LMQ_QUOTA_EXCEEDED",
    /// The client or the broker has as many lite subscriptions as it may.
    LiteSubscriptionQuotaExceeded = 2018 "LITE_SUBSCRIPTION_QUOTA_EXCEEDED",

    // Of users and access control.
    /// The user does not exist.
    UserNotExist = 3001 "USER_NOT_EXIST",
    /// The policy does not exist.
    PolicyNotExist = 3002 "POLICY_NOT_EXIST",
}
