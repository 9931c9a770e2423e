//! The calls of the service, each with its messages.

use prost::Message;

/// What the path of a call begins with: the service's name between slashes.
pub const SERVICE_PATH: &str = "/apache.rocketmq.v2.MessagingService/";

/// A call as types, so that name, request and answer go together.
///
/// ```
/// use kerolox_wire::grpc::rpc::{QueryRoute, Rpc};
///
/// assert_eq!(QueryRoute::NAME, "QueryRoute");
/// ```
pub trait Rpc {
    /// Its name in paths.
    const NAME: &'static str;
    /// What the client sends, once or as a stream.
    type Request: Message + Default + PartialEq;
    /// What the server answers, once or as a stream.
    type Response: Message + Default + PartialEq;
}

macro_rules! rpcs {
    ($( $(#[$doc:meta])+ $rpc:ident: $request:ident => $response:ident; )*) => {
        $(
            $(#[$doc])+
            #[derive(Debug, Clone, Copy)]
            pub struct $rpc;

            impl Rpc for $rpc {
                const NAME: &'static str = stringify!($rpc);
                type Request = super::$request;
                type Response = super::$response;
            }
        )*
    };
}

rpcs! {
    /// Which queues has a topic?
    QueryRoute: QueryRouteRequest => QueryRouteResponse;
    /// A client is still there.
    Heartbeat: HeartbeatRequest => HeartbeatResponse;
    /// Stores messages.
    SendMessage: SendMessageRequest => SendMessageResponse;
    /// Which queues shall a consumer receive from?
    QueryAssignment: QueryAssignmentRequest => QueryAssignmentResponse;
    /// Takes messages. The answer is a stream.
    ReceiveMessage: ReceiveMessageRequest => ReceiveMessageResponse;
    /// Messages were consumed.
    AckMessage: AckMessageRequest => AckMessageResponse;
    /// Gives a message up.
    ForwardMessageToDeadLetterQueue: ForwardMessageToDeadLetterQueueRequest => ForwardMessageToDeadLetterQueueResponse;
    /// Reads a queue. The answer is a stream.
    PullMessage: PullMessageRequest => PullMessageResponse;
    /// Says how far a group has come.
    UpdateOffset: UpdateOffsetRequest => UpdateOffsetResponse;
    /// How far has a group come?
    GetOffset: GetOffsetRequest => GetOffsetResponse;
    /// Where does a queue begin or end?
    QueryOffset: QueryOffsetRequest => QueryOffsetResponse;
    /// Commits or rolls back.
    EndTransaction: EndTransactionRequest => EndTransactionResponse;
    /// Commands both ways, as two streams.
    Telemetry: TelemetryCommand => TelemetryCommand;
    /// A client leaves.
    NotifyClientTermination: NotifyClientTerminationRequest => NotifyClientTerminationResponse;
    /// Changes how long a message is hidden.
    ChangeInvisibleDuration: ChangeInvisibleDurationRequest => ChangeInvisibleDurationResponse;
    /// Takes a delayed message back.
    RecallMessage: RecallMessageRequest => RecallMessageResponse;
    /// Says which lite topics a client subscribes to.
    SyncLiteSubscription: SyncLiteSubscriptionRequest => SyncLiteSubscriptionResponse;
}
