//! Consuming as a member of a group.
//!
//! A member announces itself by heartbeats, asks who the other members are, takes its share of
//! the queues, reads them from where the group has come to, says from time to time how far it
//! has come itself, and leaves the group at the end. As all members of a group it reads the
//! group's retry topic too.

mod member;
mod share;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{self, MissedTickBehavior};
use transport::{HandlerTable, Reply};
use wire::command::RequestCode;
use wire::message::names;
use wire::message::tags::SUB_ALL;

use self::member::Member;
use self::share::share;
use super::message::Message;
use super::{Args, Printer, RETRY_INTERVAL, Troubles};
use crate::client::queue::{Pull, Queue};
use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::signals::Signals;

/// Batches of messages that wait to be shown.
const WAITING: usize = 16;
/// The reference's client does these things as often.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
const REBALANCE_INTERVAL: Duration = Duration::from_secs(20);
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// Consumes and prints until the end, the count or a signal.
pub(super) async fn run(args: &Args, group: &str) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let changed = Arc::new(Notify::new());
    let mut handlers = HandlerTable::new();
    let notified = Arc::clone(&changed);
    handlers.inline_each(&[RequestCode::NotifyConsumerIdsChanged], move |_, _| {
        notified.notify_one();
        Ok(Reply::empty())
    });
    let client = Client::new(&args.cluster, handlers)?;
    let member = Member::join(client.clone(), group, &args.topic, &args.tag).await?;
    let (events, received) = mpsc::channel(WAITING);
    let mut consumer = Consumer {
        member,
        args,
        events,
        assigned: BTreeMap::new(),
        assignments: 0,
        troubles: Troubles::default(),
    };
    let mut printer = Printer::new(args).map_err(ClientError::from)?;
    let consumed = tokio::select! {
        consumed = consumer.consume(received, &changed, &mut printer) => consumed,
        _ = signals.next() => Ok(()),
    };
    consumer.leave().await;
    client.shutdown().await;
    Ok(consumed?)
}

/// What a reading task tells.
struct Event {
    queue: Queue,
    /// The assignment that it reads for.
    assignment: u64,
    what: What,
}

enum What {
    /// Messages, and where to go on behind them.
    Messages { messages: Vec<Message>, next: i64 },
    /// There is nothing more, and nobody wants to wait.
    End,
    /// The queue could not be read; it is tried again.
    Trouble(ClientError),
}

/// A queue that is this member's.
struct Assigned {
    /// Tells this assignment from earlier ones of the same queue.
    number: u64,
    /// Offset of the next message to show.
    next: i64,
    /// What the broker was told last.
    committed: i64,
    /// Whether its end was reached, if nobody wants to wait there.
    ended: bool,
    task: JoinHandle<()>,
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Consumer<'a> {
    member: Member,
    args: &'a Args,
    events: mpsc::Sender<Event>,
    assigned: BTreeMap<Queue, Assigned>,
    /// How many assignments there have been.
    assignments: u64,
    troubles: Troubles,
}

impl Consumer<'_> {
    async fn consume(
        &mut self,
        mut received: mpsc::Receiver<Event>,
        changed: &Notify,
        printer: &mut Printer<'_>,
    ) -> Result<(), ClientError> {
        self.rebalance().await?;
        let mut heartbeat = ticks(HEARTBEAT_INTERVAL);
        let mut rebalance = ticks(REBALANCE_INTERVAL);
        let mut commit = ticks(COMMIT_INTERVAL);
        while self.args.follow || !self.assigned.values().all(|queue| queue.ended) {
            tokio::select! {
                Some(event) = received.recv() => {
                    if self.take(event, printer).await?.is_break() {
                        break;
                    }
                }
                () = changed.notified() => self.try_rebalance().await,
                _ = rebalance.tick() => self.try_rebalance().await,
                _ = heartbeat.tick() => self.try_heartbeat().await,
                _ = commit.tick() => self.commit().await,
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        event: Event,
        printer: &mut Printer<'_>,
    ) -> Result<ControlFlow<()>, ClientError> {
        let assigned = self.assigned.get_mut(&event.queue);
        // What comes from a queue that was given away is shown by its new owner.
        let Some(assigned) = assigned.filter(|assigned| assigned.number == event.assignment) else {
            return Ok(ControlFlow::Continue(()));
        };
        match event.what {
            What::Messages { messages, next } => {
                self.troubles.over();
                for message in messages {
                    let go_on = printer.show(&message)?;
                    assigned.next = message.queue_offset + 1;
                    if go_on.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                assigned.next = next;
            }
            What::End => assigned.ended = true,
            What::Trouble(error) if self.args.follow => {
                self.troubles.tell(&error);
                // A broker forgets its clients when it restarts.
                self.try_heartbeat().await;
            }
            What::Trouble(error) => return Err(error),
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn try_heartbeat(&mut self) {
        if let Err(error) = self.member.heartbeat().await {
            self.troubles.tell(&error);
        }
    }

    async fn try_rebalance(&mut self) {
        if let Err(error) = self.rebalance().await {
            self.troubles.tell(&error);
        }
    }

    /// Takes this member's share of the queues and gives away what is no longer in it.
    async fn rebalance(&mut self) -> Result<(), ClientError> {
        let retry_topic = names::retry_topic(self.member.group());
        let expressions = [
            (&*self.args.topic, &*self.args.tag),
            (&retry_topic, SUB_ALL),
        ];
        let mut wanted = BTreeMap::new();
        for (topic, expression) in expressions {
            let Some(route) = self.member.client().find_route(topic).await? else {
                continue;
            };
            let queues = Queue::readable(topic, &route);
            let Some(first) = queues.first() else {
                continue;
            };
            let members = self.member.members(&first.address).await?;
            for queue in share(&queues, &members, self.member.id()) {
                wanted.insert(queue.clone(), expression.to_owned());
            }
        }
        let given_away: Vec<_> = self
            .assigned
            .keys()
            .filter(|queue| !wanted.contains_key(queue))
            .cloned()
            .collect();
        for queue in given_away {
            if let Some(assigned) = self.assigned.remove(&queue) {
                self.commit_one(&queue, &assigned).await;
            }
        }
        for (queue, expression) in wanted {
            if !self.assigned.contains_key(&queue) {
                let assigned = self.assign(&queue, expression).await?;
                self.assigned.insert(queue, assigned);
            }
        }
        Ok(())
    }

    async fn assign(&mut self, queue: &Queue, expression: String) -> Result<Assigned, ClientError> {
        let client = self.member.client();
        let next = match client.group_offset(self.member.group(), queue).await? {
            Some(offset) => offset,
            // What the group itself failed to consume is always wanted.
            None if queue.topic != self.args.topic => client.min_offset(queue).await?,
            None => self.args.from.offset(client, queue).await?,
        };
        self.assignments += 1;
        let reader = QueueReader {
            client: client.clone(),
            group: self.member.group().to_owned(),
            queue: queue.clone(),
            assignment: self.assignments,
            expression,
            follow: self.args.follow,
            events: self.events.clone(),
        };
        Ok(Assigned {
            number: self.assignments,
            next,
            // Also where nothing is read the group has been from now on.
            committed: -1,
            ended: false,
            task: tokio::spawn(reader.read(next)),
        })
    }

    async fn commit(&mut self) {
        let mut queues = std::mem::take(&mut self.assigned);
        for (queue, assigned) in &mut queues {
            if self.commit_one(queue, assigned).await {
                assigned.committed = assigned.next;
            }
        }
        self.assigned = queues;
    }

    /// Says how far the group has come in a queue; returns whether the broker knows now.
    async fn commit_one(&mut self, queue: &Queue, assigned: &Assigned) -> bool {
        if assigned.next == assigned.committed {
            return true;
        }
        let group = self.member.group();
        let done = self
            .member
            .client()
            .commit(group, queue, assigned.next)
            .await;
        if let Err(error) = &done {
            self.troubles.tell(error);
        }
        done.is_ok()
    }

    /// Stops reading, says how far the group has come and leaves it.
    async fn leave(&mut self) {
        for assigned in self.assigned.values() {
            assigned.task.abort();
        }
        self.commit().await;
        self.member.leave().await;
    }
}

fn ticks(interval: Duration) -> time::Interval {
    let mut ticks = time::interval_at(time::Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Reads one queue until its task is aborted.
struct QueueReader {
    client: Client,
    group: String,
    queue: Queue,
    assignment: u64,
    expression: String,
    follow: bool,
    events: mpsc::Sender<Event>,
}

impl QueueReader {
    async fn read(self, mut next: i64) {
        loop {
            let pull = Pull {
                group: &self.group,
                expression: &self.expression,
                offset: next,
                hold: self.follow,
            };
            let pulled = self.client.pull(&self.queue, pull).await;
            let pulled = pulled.and_then(|pulled| {
                let messages = Message::read_all(&self.queue, next, &pulled.records)?;
                Ok((messages, pulled))
            });
            let (what, pause) = match pulled {
                Ok((messages, pulled)) => {
                    let (before, at_end) = (next, pulled.at_end);
                    next = pulled.next;
                    if next == before && at_end && !self.follow {
                        (What::End, false)
                    } else {
                        (What::Messages { messages, next }, false)
                    }
                }
                Err(error) => (What::Trouble(error), true),
            };
            let ended = matches!(what, What::End);
            let (queue, assignment) = (self.queue.clone(), self.assignment);
            if self
                .events
                .send(Event {
                    queue,
                    assignment,
                    what,
                })
                .await
                .is_err()
                || ended
            {
                return;
            }
            if pause {
                time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}
