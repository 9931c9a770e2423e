//! Metrics for standing use: a small HTTP/1.1 server that answers every GET with the page.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use inspect::view::metrics;
use inspect::{Exchange, Statistics};
use parking_lot::Mutex;

use crate::error::CliError;

/// How long somebody who asks may take, and most bytes of what is asked.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_REQUEST: u64 = 16 << 10;

/// What is counted for the server's answers.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    statistics: Mutex<Statistics>,
    lost: AtomicU64,
}

impl Metrics {
    /// Listens at an address, for as long as the program runs, and says so.
    pub(super) fn serve(address: SocketAddr) -> Result<Arc<Self>, CliError> {
        let cannot = |source| CliError::System {
            what: "serve metrics",
            source,
        };
        let listener = TcpListener::bind(address).map_err(cannot)?;
        // The port may be one that the system chose.
        let address = listener.local_addr().map_err(cannot)?;
        eprintln!("kerolox: metrics are at http://{address}/metrics");
        let metrics = Arc::new(Self::default());
        let served = Arc::clone(&metrics);
        let serve = move || {
            // One after the other: who scrapes is alone, or nearly so.
            for stream in listener.incoming().flatten() {
                // Who asks is gone, or has not asked in time.
                let _ = served.answer(&stream);
            }
        };
        let thread = thread::Builder::new().name("metrics".to_owned());
        thread.spawn(serve).map_err(cannot)?;
        Ok(metrics)
    }

    pub(super) fn add(&self, exchange: &Exchange) {
        self.statistics.lock().add(exchange);
    }

    pub(super) fn set_lost(&self, lost: u64) {
        self.lost.store(lost, Ordering::Relaxed);
    }

    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.take(MAX_REQUEST));
        let mut request = String::new();
        lines.read_line(&mut request)?;
        let mut line = String::new();
        // To the empty line behind the headers.
        while lines.read_line(&mut line)? > 2 {
            line.clear();
        }
        if request.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let (status, page) = match request.starts_with("GET ") {
            true => {
                let lost = self.lost.load(Ordering::Relaxed);
                ("200 OK", metrics::page(&self.statistics.lock(), lost))
            }
            false => ("405 Method Not Allowed", String::new()),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
            metrics::CONTENT_TYPE,
            page.len(),
        )
    }
}
