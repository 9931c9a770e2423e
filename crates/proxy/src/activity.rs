//! Clients that say that they are there, or leave (`ClientActivity`).

use wire::grpc::{
    ClientType, Code, HeartbeatRequest, HeartbeatResponse, NotifyClientTerminationRequest,
    NotifyClientTerminationResponse, Settings,
};

use crate::call::Call;
use crate::error::{ProxyError, ok};
use crate::{lite, validate};

/// A client is still there.
pub(crate) async fn heartbeat(
    call: Call,
    request: HeartbeatRequest,
) -> Result<HeartbeatResponse, ProxyError> {
    let settings = call.state.clients.heard(&call.client_id);
    if is_consumer(settings.as_ref())? {
        validate::group(request.group.as_ref())?;
    }
    Ok(HeartbeatResponse { status: ok() })
}

/// A client leaves. What it has received and not acknowledged is delivered to others soon.
pub(crate) async fn terminate(
    call: Call,
    request: NotifyClientTerminationRequest,
) -> Result<NotifyClientTerminationResponse, ProxyError> {
    let settings = call.state.clients.leave(&call.client_id);
    call.state.heartbeat_due.notify_one();
    if is_consumer(settings.as_ref())? {
        validate::group(request.group.as_ref())?;
    }
    if let Some(settings) = settings {
        lite::leave(&call.state, &call.client_id, &settings).await;
    }
    Ok(NotifyClientTerminationResponse { status: ok() })
}

/// Whether a client consumes; one that is not known, or does neither, is refused.
fn is_consumer(settings: Option<&Settings>) -> Result<bool, ProxyError> {
    let refused = |message| Err(ProxyError::new(Code::UnrecognizedClientType, message));
    let Some(settings) = settings else {
        return refused("cannot find client settings for this client");
    };
    match settings.client_type() {
        ClientType::Producer => Ok(false),
        ClientType::PushConsumer
        | ClientType::SimpleConsumer
        | ClientType::LitePushConsumer
        | ClientType::LiteSimpleConsumer => Ok(true),
        ClientType::PullConsumer => refused("PULL_CONSUMER"),
        ClientType::Unspecified => refused("CLIENT_TYPE_UNSPECIFIED"),
    }
}
