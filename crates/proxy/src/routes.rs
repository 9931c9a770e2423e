//! The calls served: one line for each says which handler it has. All else derives from these
//! lines.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use transport::{BoxFuture, HttpPeer, HttpService, RequestBody, ResponseBody};
use wire::grpc::rpc::{self, Rpc, SERVICE_PATH};
use wire::grpc::{Code, StatusOnly};

use crate::call::Call;
use crate::error::ProxyError;
use crate::grpc::{self, Answers, GrpcCode, GrpcError, Requests};
use crate::proxy::State;
use crate::{acknowledging, activity, lite, receiving, route, sending, telemetry, transactions};

macro_rules! routes {
    ($($shape:ident $rpc:ident => $handler:path;)*) => {
        /// The names of the calls that a proxy serves.
        pub const SERVED: &[&str] = &[$(rpc::$rpc::NAME,)*];

        async fn serve(call: Call, name: &str, request: Incoming) -> Response<ResponseBody> {
            match name {
                $(rpc::$rpc::NAME => $shape::<rpc::$rpc, _>(call, request, $handler).await,)*
                _ => GrpcError::new(GrpcCode::Unimplemented, format!("{name} is not served"))
                    .into_response(),
            }
        }
    };
}

routes! {
    unary QueryRoute => route::query_route;
    unary QueryAssignment => route::query_assignment;

    unary Heartbeat => activity::heartbeat;
    unary NotifyClientTermination => activity::terminate;
    streams Telemetry => telemetry::telemetry;

    unary SendMessage => sending::send;
    unary RecallMessage => sending::recall;
    unary ForwardMessageToDeadLetterQueue => acknowledging::forward_to_dead_letters;
    unary EndTransaction => transactions::end;

    stream ReceiveMessage => receiving::receive;
    unary AckMessage => acknowledging::acknowledge;
    unary ChangeInvisibleDuration => acknowledging::change_invisible_duration;
    unary SyncLiteSubscription => lite::subscribe;
}

/// The headers of a request, and its messages.
type Incoming = (HeaderMap, RequestBody);

/// The service as a server's port sees it.
pub(crate) struct MessagingService {
    pub(crate) state: Arc<State>,
}

impl HttpService for MessagingService {
    fn serves(&self, head: &http::request::Parts) -> bool {
        let kind = head.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
        kind.and_then(|kind| kind.strip_prefix(b"application/grpc"))
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    }

    fn call(
        &self,
        request: Request<RequestBody>,
        connection: HttpPeer,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        Box::pin(answer(Arc::clone(&self.state), request, connection))
    }
}

/// Answers a call, whichever port it came on.
async fn answer(
    state: Arc<State>,
    request: Request<RequestBody>,
    connection: HttpPeer,
) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let call = Call::new(&state, &head.headers, connection);
    let path = head.uri.path();
    let Some(name) = path.strip_prefix(SERVICE_PATH) else {
        let unknown = format!("{path} is no call of this server");
        return GrpcError::new(GrpcCode::Unimplemented, unknown).into_response();
    };
    if call.client_id.trim().is_empty() {
        let error = ProxyError::new(Code::ClientIdRequired, "client id cannot be empty");
        return grpc::unary(&refusal(&error));
    }
    serve(call, name, (head.headers, body)).await
}

/// The answer that says why a call is refused; it is the same for all calls.
fn refusal(error: &ProxyError) -> StatusOnly {
    if matches!(error.code(), Code::InternalServerError) {
        tracing::warn!(%error, "a call failed");
    }
    StatusOnly {
        status: Some(error.status()),
    }
}

/// Serves a call with one request and one answer. What has begun is done to its end, even if the
/// client leaves: it may have sent a message, whose traces would be lost otherwise.
async fn unary<R: Rpc, F>(
    call: Call,
    request: Incoming,
    handler: impl FnOnce(Call, R::Request) -> F,
) -> Response<ResponseBody>
where
    R::Response: 'static,
    F: Future<Output = Result<R::Response, ProxyError>> + Send + 'static,
{
    match only_request(&call, request).await {
        Ok(request) => match tokio::spawn(handler(call, request)).await {
            Ok(Ok(response)) => grpc::unary(&response),
            Ok(Err(error)) => grpc::unary(&refusal(&error)),
            Err(error) => {
                tracing::error!(call = R::NAME, %error, "a handler failed");
                GrpcError::new(GrpcCode::Internal, "the server failed; its log has more")
                    .into_response()
            }
        },
        Err(error) => error.into_response(),
    }
}

/// Serves a call with one request and a stream of answers.
async fn stream<R: Rpc, F>(
    call: Call,
    request: Incoming,
    handler: impl FnOnce(Call, R::Request, Answers<R::Response>) -> F,
) -> Response<ResponseBody>
where
    F: Future<Output = ()> + Send + 'static,
{
    match only_request(&call, request).await {
        Ok(request) => {
            let (answers, response) = Answers::stream();
            tokio::spawn(handler(call, request, answers));
            response
        }
        Err(error) => error.into_response(),
    }
}

/// Serves a call with a stream of requests and a stream of answers.
async fn streams<R: Rpc, F>(
    call: Call,
    request: Incoming,
    handler: impl FnOnce(Call, Requests<R::Request>, Answers<R::Response>) -> F,
) -> Response<ResponseBody>
where
    F: Future<Output = ()> + Send + 'static,
{
    let requests = requests(&call, request);
    let (answers, response) = Answers::stream();
    tokio::spawn(handler(call, requests, answers));
    response
}

async fn only_request<M: prost::Message + Default>(
    call: &Call,
    request: Incoming,
) -> Result<M, GrpcError> {
    let request = requests(call, request).next().await?;
    request.ok_or_else(|| GrpcError::new(GrpcCode::Internal, "the request has no message"))
}

fn requests<M: prost::Message + Default>(call: &Call, (headers, body): Incoming) -> Requests<M> {
    Requests::new(&headers, body, call.state.allowance.clone())
}
