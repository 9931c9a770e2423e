//! Which commands the broker serves, by what, and where they run.
//!
//! This table is the one place that knows: dispatch, the list of served commands and the tests of
//! coverage derive from it.
//!
//! Hot commands run on the connection's task and must not wait. So do those about a queue, but
//! about a logical queue of a static topic they may wait for another broker. The others run on a
//! bounded executor of their class, so that none of them can keep messages from flowing.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use config::Live;
use transport::{Connection, Executor, HandlerTable, Outbox, Refusal, Reply};
use wire::command::{self, Command, RequestCode};
use wire::frame::{Frame, Head};
use wire::header::{EncodeHeader, HeaderError};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::settings::{BrokerConfig, BrokerSettings};
use crate::static_topics::requests;
use crate::{admin, cold_data, lite, pop, pull, reply, send, send_back, timer, transaction};

/// What a handler may want to know besides the header and the body.
pub(crate) struct Call {
    /// The connection that the request came on.
    pub(crate) connection: Arc<Connection>,
    /// The fixed part of the request.
    pub(crate) head: Head,
}

/// The executors by class.
struct Executors {
    /// Presence of clients: heartbeats, lists of group members, queue locks.
    client: Arc<Executor>,
    /// Replies, which wait for the client that gets them.
    reply: Arc<Executor>,
    /// Administration, and all that may read much from disk.
    admin: Arc<Executor>,
}

impl Executors {
    fn new(live: &Live<BrokerSettings>) -> Self {
        // The sizes come with the settings, at once and whenever these change.
        let sized = |executor: Arc<Executor>, sizes: fn(&BrokerConfig) -> (usize, usize)| {
            let follower = Arc::downgrade(&executor);
            live.watch(move |now| {
                if let Some(executor) = follower.upgrade() {
                    let (running, waiting) = sizes(&now.broker);
                    executor.resize(running, waiting);
                }
            });
            executor
        };
        let executors = Self {
            client: sized(Executor::new("client", 1, 0), |settings| {
                (
                    settings.client_manage_thread_pool_nums,
                    settings.client_manager_thread_pool_queue_capacity,
                )
            }),
            reply: sized(Executor::new("reply", 1, 0), |settings| {
                (
                    settings.process_reply_message_thread_pool_nums,
                    settings.reply_thread_pool_queue_capacity,
                )
            }),
            admin: sized(Executor::on_threads("admin", 1, 0), |settings| {
                (
                    settings.admin_broker_thread_pool_nums,
                    settings.admin_broker_thread_pool_queue_capacity,
                )
            }),
        };
        let limit = |executor: &Executor, millis: fn(&BrokerConfig) -> u64| {
            let live = live.clone();
            executor.limit_wait(move || {
                let settings = &live.load().broker;
                let limited = settings.broker_fast_failure_enable;
                limited.then(|| Duration::from_millis(millis(settings)))
            });
        };
        limit(&executors.client, |settings| {
            settings.wait_time_mills_in_heartbeat_queue
        });
        limit(&executors.admin, |settings| {
            settings.wait_time_mills_in_admin_broker_queue
        });
        executors
    }
}

/// Commands whose required fields came later than the commands: a client of version 4 asks for
/// the whole table, and sends no field at all.
const ONCE_WITHOUT_FIELDS: [RequestCode; 2] = [
    RequestCode::GetAllTopicConfig,
    RequestCode::GetAllSubscriptionGroupConfig,
];

fn read_header<C: Command>(frame: &Frame) -> Result<C::Request<'_>, HeaderError> {
    if frame.ext.is_empty() && ONCE_WITHOUT_FIELDS.contains(&C::CODE) {
        return Ok(C::Request::default());
    }
    frame.header()
}

/// Answers at once if there is nothing to wait for, or else as soon as there is an answer.
pub(crate) fn answer_soon<H: EncodeHeader + Send + 'static>(
    connection: &Arc<Connection>,
    head: &Head,
    out: &mut Outbox,
    answer: impl Future<Output = Result<Reply<H>, BrokerError>> + Send + 'static,
) {
    let mut answer = Box::pin(answer);
    let mut context = Context::from_waker(Waker::noop());
    match answer.as_mut().poll(&mut context) {
        Poll::Ready(answer) => out.answer(head, answer.map_err(Refusal::from)),
        Poll::Pending => {
            let responder = connection.responder(head);
            tokio::spawn(async move { responder.answer(answer.await.map_err(Refusal::from)) });
        }
    }
}

macro_rules! routes {
    (
        hot { $($hot:ident => $hot_handler:path;)* }
        queue { $($queue:ident => $queue_handler:path, $logical_handler:path;)* }
        client { $($client:ident => $client_handler:path;)* }
        reply { $($reply:ident => $reply_handler:path;)* }
        admin { $($admin:ident => $admin_handler:path;)* }
    ) => {
        /// The codes that the broker serves.
        pub const SERVED: &[RequestCode] = &[
            RequestCode::SendMessage,
            RequestCode::SendMessageV2,
            RequestCode::SendBatchMessage,
            RequestCode::PullMessage,
            RequestCode::LitePullMessage,
            RequestCode::EndTransaction,
            RequestCode::PopLiteMessage,
            RequestCode::PopMessage,
            RequestCode::AckMessage,
            RequestCode::Notification,
            $(RequestCode::$hot,)*
            $(RequestCode::$queue,)*
            $(RequestCode::$client,)*
            $(RequestCode::$reply,)*
            $(RequestCode::$admin,)*
        ];

        fn register(broker: &Arc<Broker>, executors: &Executors, table: &mut HandlerTable) {
            $({
                let broker = Arc::clone(broker);
                table.inline_each(&[RequestCode::$hot], move |connection, frame| {
                    let call = Call { connection: Arc::clone(connection), head: frame.head };
                    let header = frame.header::<<command::$hot as Command>::Request<'_>>()?;
                    $hot_handler(&broker, &call, header, &frame.body).map_err(Refusal::from)
                });
            })*
            $({
                let broker = Arc::clone(broker);
                table.inline_held(&[RequestCode::$queue], move |connection, frame, out| {
                    let call = Call { connection: Arc::clone(connection), head: frame.head };
                    let read = || -> Result<_, BrokerError> {
                        let header = frame.header::<<command::$queue as Command>::Request<'_>>()?;
                        let (topic, id) = (&header.topic, header.queue_id);
                        let logical = broker.static_topics.find(topic, id, &header.rpc)?;
                        Ok((header, logical))
                    };
                    match read() {
                        Ok((header, None)) => {
                            let answer = $queue_handler(&broker, &call, header, &frame.body);
                            out.answer(&frame.head, answer.map_err(Refusal::from));
                        }
                        Ok((_, Some(logical))) => {
                            let (broker, kept) = (Arc::clone(&broker), frame.detached());
                            answer_soon(connection, &frame.head, out, async move {
                                $logical_handler(&broker, &call, logical, kept.header()?).await
                            });
                        }
                        Err(error) => out.refuse(&frame.head, &error.into()),
                    }
                });
            })*
            $(routes!(@spawned broker table executors.client, $client, $client_handler);)*
            $(routes!(@spawned broker table executors.reply, $reply, $reply_handler);)*
            $(routes!(@spawned broker table executors.admin, $admin, $admin_handler);)*
        }
    };
    (@spawned $broker:ident $table:ident $executors:ident.$class:ident, $command:ident, $handler:path) => {{
        let broker = Arc::clone($broker);
        $table.spawned(
            &[RequestCode::$command],
            &$executors.$class,
            move |connection, frame| {
                let broker = Arc::clone(&broker);
                async move {
                    let call = Call { connection, head: frame.head };
                    let header = read_header::<command::$command>(&frame)?;
                    $handler(&broker, &call, header, frame.body.clone())
                        .await
                        .map_err(Refusal::from)
                }
            },
        );
    }};
}

routes! {
    hot {
        ChangeMessageInvisibleTime => pop::change_invisible_time;
    }
    queue {
        QueryConsumerOffset => admin::offset::query, requests::query;
        UpdateConsumerOffset => admin::offset::update, requests::update;
        GetMaxOffset => admin::offset::max, requests::max;
        GetMinOffset => admin::offset::min, requests::min;
    }
    client {
        ConsumerSendMsgBack => send_back::send_back;
        RecallMessage => timer::commands::recall;
        Heartbeat => admin::client::heartbeat;
        UnregisterClient => admin::client::unregister;
        CheckClientConfig => admin::client::check_config;
        GetConsumerListByGroup => admin::client::consumer_list;
        LiteSubscriptionCtl => lite::control::control;
        LockBatchMq => admin::client::lock;
        UnlockBatchMq => admin::client::unlock;
        BatchAckMessage => pop::batch_acknowledge;
        QueryAssignment => pop::query_assignment;
    }
    reply {
        SendReplyMessage => reply::reply;
        SendReplyMessageV2 => reply::reply_v2;
    }
    admin {
        GetConsumerConnectionList => admin::client::consumer_connections;
        GetProducerConnectionList => admin::client::producer_connections;
        GetAllProducerInfo => admin::client::all_producers;
        GetConsumerRunningInfo => admin::ask_client::running_info;
        ConsumeMessageDirectly => admin::ask_client::consume_directly;
        InvokeBrokerToGetConsumerStatus => admin::ask_client::consumer_status;
        InvokeBrokerToResetOffset => admin::offset::reset;
        SearchOffsetByTimestamp => admin::offset::search;
        GetEarliestMsgStoreTime => admin::offset::earliest_time;
        GetAllConsumerOffset => admin::offset::all;
        GetAllDelayOffset => admin::offset::all_delayed;
        CloneGroupOffset => admin::offset::clone_group;
        QueryCorrectionOffset => admin::offset::correction;
        UpdateAndCreateTopic => admin::topic::upsert;
        UpdateAndCreateTopicList => admin::topic::upsert_list;
        UpdateAndCreateStaticTopic => admin::topic::map;
        DeleteTopicInBroker => admin::topic::delete;
        GetTopicConfig => admin::topic::get;
        GetAllTopicConfig => admin::topic::all;
        GetSystemTopicListFromBroker => admin::topic::system_list;
        QueryTopicConsumeByWho => admin::topic::consumed_by;
        QueryTopicsByConsumer => admin::topic::consumed_topics;
        CleanUnusedTopic => admin::topic::clean_unused;
        UpdateAndCreateSubscriptionGroup => admin::group::upsert;
        UpdateAndCreateSubscriptionGroupList => admin::group::upsert_list;
        DeleteSubscriptionGroup => admin::group::delete;
        GetSubscriptionGroupConfig => admin::group::get;
        GetAllSubscriptionGroupConfig => admin::group::all;
        UpdateAndGetGroupForbidden => admin::group::forbid;
        QuerySubscriptionByConsumer => admin::group::subscription;
        GetBrokerLiteInfo => admin::lite::broker_info;
        GetParentTopicInfo => admin::lite::parent_topic;
        GetLiteTopicInfo => admin::lite::lite_topic;
        GetLiteClientInfo => admin::lite::client;
        GetLiteGroupInfo => admin::lite::group;
        TriggerLiteDispatch => admin::lite::dispatch;
        GetTopicStatsInfo => admin::progress::topic_stats;
        GetConsumeStats => admin::progress::group_stats;
        GetBrokerConsumeStats => admin::progress::broker_stats;
        QueryConsumeTimeSpan => admin::progress::time_span;
        QueryMessage => admin::message::query;
        ViewMessageById => admin::message::view;
        ResumeCheckHalfMessage => transaction::resume;
        QueryConsumeQueue => admin::message::queue_entries;
        PeekMessage => pop::peek;
        PollingInfo => pop::polling_info;
        PopRollback => pop::roll_back;
        SetMessageRequestMode => pop::set_request_mode;
        GetAllMessageRequestMode => pop::all_request_modes;
        GetBrokerConfig => admin::settings::get;
        UpdateBrokerConfig => admin::settings::update;
        GetBrokerRuntimeInfo => admin::runtime::info;
        ViewBrokerStatsData => admin::runtime::statistics;
        UpdateColdDataFlowCtrConfig => cold_data::update;
        RemoveColdDataFlowCtrConfig => cold_data::remove;
        GetColdDataFlowCtrInfo => cold_data::info;
        GetTimerCheckPoint => timer::commands::checkpoint;
        GetTimerMetrics => timer::commands::metrics;
        SwitchTimerEngine => timer::commands::switch_engine;
        DeleteExpiredCommitLog => admin::runtime::delete_expired;
        CleanExpiredConsumeQueue => admin::runtime::clean_queues;
    }
}

/// The table of handlers for the broker's server.
pub(crate) fn handlers(broker: &Arc<Broker>) -> HandlerTable {
    let mut table = HandlerTable::new();
    let sending = Arc::clone(broker);
    let sends = [
        RequestCode::SendMessage,
        RequestCode::SendMessageV2,
        RequestCode::SendBatchMessage,
    ];
    table.inline(&sends, move |connection, run, out| {
        send::send(&sending, connection, run, out)
    });
    let pulling = Arc::clone(broker);
    let pulls = [RequestCode::PullMessage, RequestCode::LitePullMessage];
    table.inline_held(&pulls, move |connection, frame, out| {
        pull::pull(&pulling, connection, frame, out);
    });
    let ending = Arc::clone(broker);
    table.inline(&[RequestCode::EndTransaction], move |_, run, out| {
        transaction::end(&ending, run, out);
    });
    let popping = Arc::clone(broker);
    let pops = [RequestCode::PopLiteMessage];
    table.inline_held(&pops, move |connection, frame, out| {
        lite::pop::pop(&popping, connection, frame, out);
    });
    let popping = Arc::clone(broker);
    table.inline_held(&[RequestCode::PopMessage], move |connection, frame, out| {
        pop::pop(&popping, connection, frame, out);
    });
    let acknowledging = Arc::clone(broker);
    table.inline(&[RequestCode::AckMessage], move |connection, run, out| {
        pop::acknowledge(&acknowledging, connection, run, out);
    });
    let notifying = Arc::clone(broker);
    table.inline_held(
        &[RequestCode::Notification],
        move |connection, frame, out| {
            pop::notification(&notifying, connection, frame, out);
        },
    );
    let executors = Executors::new(&broker.live);
    register(broker, &executors, &mut table);
    table
}
