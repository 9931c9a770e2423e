//! The proxy's own port: HTTP/2 by prior knowledge, nothing else.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use transport::{HttpPeer, RemotingServerConfig, TransportError};

use crate::proxy::State;
use crate::routes;

/// How long accepting pauses when the system can't, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a silent connection is asked whether it is there, and how long it has to say so.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Calls of one connection at a time.
const MAX_STREAMS: u32 = 10_000;

/// A port that is listened on.
pub(crate) struct Port {
    local: SocketAddr,
    accepting: JoinHandle<()>,
    /// Has a receiver in each connection.
    open: watch::Sender<()>,
}

impl Port {
    /// Takes a port and serves it.
    pub(crate) async fn open(
        config: &RemotingServerConfig,
        state: &Arc<State>,
    ) -> Result<Self, TransportError> {
        let address = (config.bind_address.as_str(), config.listen_port);
        let failed = |error: io::Error| {
            let address = format!("{}:{}", config.bind_address, config.listen_port);
            match error.kind() {
                io::ErrorKind::AddrInUse => TransportError::AddressInUse { address },
                _ => TransportError::Bind {
                    address,
                    reason: error.to_string(),
                },
            }
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let (open, connected) = watch::channel(());
        let places = config.server_max_connections.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(places));
        let state = Arc::clone(state);
        let accepting = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                            continue;
                        };
                        let connection = HttpPeer { peer, local };
                        let serving = serve(Arc::clone(&state), stream, connection);
                        let held = (place, connected.clone());
                        tokio::spawn(async move {
                            serving.await;
                            drop(held);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "connections can't be accepted at the moment");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        tracing::info!(address = %local, "listening");
        Ok(Self {
            local,
            accepting,
            open,
        })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Accepts nothing more and waits until calls have ended, for so long at most, once the proxy
    /// is stopping.
    pub(crate) async fn close(mut self, limit: Duration) {
        self.accepting.abort();
        // The port is free once the task is gone; its end is always that it was cancelled.
        let _ = (&mut self.accepting).await;
        // What has not ended by then is cut off with the process.
        let _ = tokio::time::timeout(limit, self.open.closed()).await;
    }
}

/// Serves one connection to its end.
async fn serve(state: Arc<State>, stream: TcpStream, connection: HttpPeer) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has left already");
        return;
    }
    let proxy = Arc::clone(&state);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let request = request.map(|body| body.map_err(io::Error::other).boxed_unsync());
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(routes::answer(state, request, connection).await) }
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = proxy.stopped() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %connection.peer, %error, "a connection failed");
    }
}
