//! What happens to connections.

use std::sync::Arc;

use crate::connection::Connection;
use crate::error::TransportError;

/// Is told what happens to the connections of a server or client (`ChannelEventListener` of the
/// reference). The methods run on tasks that have other work, so they must be short and not wait.
pub trait ConnectionListener: Send + Sync + 'static {
    /// A connection is made and its protocol known.
    fn connected(&self, connection: &Arc<Connection>) {
        let _ = connection;
    }

    /// A connection is closed, whatever the reason; told once, and last.
    fn closed(&self, connection: &Arc<Connection>) {
        let _ = connection;
    }

    /// A connection was unused for so long that it is closed now.
    fn idle(&self, connection: &Arc<Connection>) {
        let _ = connection;
    }

    /// A connection failed and is closed now.
    fn failed(&self, connection: &Arc<Connection>, error: &TransportError) {
        let _ = (connection, error);
    }
}

/// A listener that does nothing.
impl ConnectionListener for () {}
