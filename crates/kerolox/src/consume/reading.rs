//! Reading without a group: all queues from a place on, and no trace left in the broker.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use transport::HandlerTable;
use wire::message::names::TOOLS_CONSUMER_GROUP;

use super::message::Message;
use super::{Args, Printer, RETRY_INTERVAL, Troubles};
use crate::client::queue::{Pull, Queue};
use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::signals::Signals;

/// Batches of messages that wait to be shown.
const WAITING: usize = 16;

/// Reads and prints until the end, the count or a signal.
pub(super) async fn run(args: &Args) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let client = Client::new(&args.cluster, HandlerTable::new())?;
    let done = tokio::select! {
        done = read(&client, args) => done,
        _ = signals.next() => Ok(()),
    };
    client.shutdown().await;
    Ok(done?)
}

async fn read(client: &Client, args: &Args) -> Result<(), ClientError> {
    let route = client.route(&args.topic).await?;
    let mut readers = Vec::new();
    for queue in Queue::readable(&args.topic, &route) {
        readers.push(Reader {
            next: args.from.offset(client, &queue).await?,
            end: client.max_offset(&queue).await?,
            queue,
            read: VecDeque::new(),
        });
    }
    let mut printer = Printer::new(args)?;
    if stored(client, args, &mut readers, &mut printer)
        .await?
        .is_break()
        || !args.follow
    {
        return Ok(());
    }
    follow(client, args, readers, &mut printer).await
}

/// A queue that is being read.
struct Reader {
    queue: Queue,
    next: i64,
    /// Where the queue ended when reading began.
    end: i64,
    /// Messages read but not shown.
    read: VecDeque<Message>,
}

impl Reader {
    /// Makes sure that a message is there, unless the end has been reached.
    async fn fill(&mut self, client: &Client, expression: &str) -> Result<(), ClientError> {
        while self.read.is_empty() && self.next < self.end {
            let pulled = client
                .pull(&self.queue, pull(expression, self.next, false))
                .await?;
            self.read = Message::read_all(&self.queue, self.next, &pulled.records)?.into();
            self.read.retain(|message| message.queue_offset < self.end);
            self.next = if pulled.at_end { self.end } else { pulled.next };
        }
        Ok(())
    }
}

fn pull(expression: &str, offset: i64, hold: bool) -> Pull<'_> {
    // A group that every broker knows from the start.
    Pull {
        group: TOOLS_CONSUMER_GROUP,
        expression,
        offset,
        hold,
    }
}

/// Shows what is there, all queues together in the order of storing.
async fn stored(
    client: &Client,
    args: &Args,
    readers: &mut [Reader],
    printer: &mut Printer<'_>,
) -> Result<ControlFlow<()>, ClientError> {
    loop {
        for reader in &mut *readers {
            reader.fill(client, &args.tag).await?;
        }
        let time =
            |reader: &&mut Reader| reader.read.front().map(|message| message.store_timestamp);
        let waiting = readers.iter_mut().filter(|reader| !reader.read.is_empty());
        let Some(earliest) = waiting.min_by_key(time) else {
            return Ok(ControlFlow::Continue(()));
        };
        if let Some(message) = earliest.read.pop_front()
            && printer.show(&message)?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// Shows what comes.
async fn follow(
    client: &Client,
    args: &Args,
    readers: Vec<Reader>,
    printer: &mut Printer<'_>,
) -> Result<(), ClientError> {
    let (into, mut messages) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    for reader in readers {
        let (client, into, expression) = (client.clone(), into.clone(), args.tag.clone());
        tasks.spawn(async move {
            let mut next = reader.next;
            loop {
                let pulled = client
                    .pull(&reader.queue, pull(&expression, next, true))
                    .await;
                let messages = match pulled {
                    Ok(pulled) => {
                        let from = std::mem::replace(&mut next, pulled.next);
                        Message::read_all(&reader.queue, from, &pulled.records)
                    }
                    Err(error) => Err(error),
                };
                let failed = messages.is_err();
                if into.send(messages).await.is_err() {
                    break;
                }
                if failed {
                    time::sleep(RETRY_INTERVAL).await;
                }
            }
        });
    }
    drop(into);
    let mut troubles = Troubles::default();
    while let Some(messages) = messages.recv().await {
        let messages = match messages {
            // The broker may come back.
            Err(error @ ClientError::Transport(_)) => {
                troubles.tell(&error);
                continue;
            }
            other => other?,
        };
        troubles.over();
        for message in messages {
            if printer.show(&message)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
