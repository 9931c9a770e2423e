//! `kerolox store dump`.

mod index;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::{Value, json};
use store::{LogItem, OfflineQueue, OfflineStore, QueueKind, QueueUnit};
use wire::message::body::plain_body;
use wire::message::record::RecordRef;
use wire::message::{names, properties};

use super::{DirArgs, Lines};
use crate::consume::message::{MAX_BODY_SIZE, MessageBody};
use crate::consume::time::format_time;
use crate::error::CliError;

/// Options of `kerolox store dump`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    dir: DirArgs,
    #[command(subcommand)]
    what: Option<What>,
}

/// What is shown; without it, a summary.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// The messages, in the order of the log or of one queue
    Messages(Messages),
    /// The entries of a queue
    Queue(QueueEntries),
    /// The files of the index and their entries
    Index(index::Args),
    /// The file `checkpoint`
    Checkpoint,
    /// The messages with a time of their own, by the slots of the timer wheel
    Timer,
}

#[derive(Debug, clap::Args)]
struct Range {
    /// Begin here [default: the first]
    #[arg(long, value_name = "NUMBER")]
    from: Option<i64>,
    /// End before this one [default: behind the last]
    #[arg(long, value_name = "NUMBER")]
    to: Option<i64>,
    /// Show so many at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
}

#[derive(Debug, clap::Args)]
struct Messages {
    /// Only messages of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only messages of this queue; --from and --to are offsets in it then, otherwise positions
    /// in the log at which a message begins
    #[arg(long, value_name = "ID", requires = "topic")]
    queue: Option<i32>,
    #[command(flatten)]
    range: Range,
    /// Show the bodies, too
    #[arg(long)]
    body: bool,
}

#[derive(Debug, clap::Args)]
struct QueueEntries {
    /// Topic
    topic: String,
    /// Number of the queue
    queue: i32,
    #[command(flatten)]
    range: Range,
}

/// Shows what is asked for.
pub(super) fn run(args: Args) -> Result<(), CliError> {
    let store = args.dir.open()?;
    if store.is_in_use()? {
        eprintln!(
            "kerolox: a broker has {} open: what it writes meanwhile may be missing or half there",
            args.dir.dir.display()
        );
    }
    let mut lines = Lines::new(args.dir.output);
    let _ = match args.what {
        None => summary(&store, &mut lines)?,
        Some(What::Messages(args)) => match args.queue {
            Some(id) => queue_messages(&store, &args, id, &mut lines)?,
            None => log_messages(&store, &args, &mut lines)?,
        },
        Some(What::Queue(args)) => queue_entries(&store, &args, &mut lines)?,
        Some(What::Index(args)) => index::files(&store, &args, &mut lines)?,
        Some(What::Checkpoint) => checkpoint(&store, &mut lines)?,
        Some(What::Timer) => timer(&store, &mut lines)?,
    };
    lines.end()
}

type Flow = Result<ControlFlow<()>, CliError>;

/// Writes a line; ends the function where nobody reads any more.
macro_rules! put {
    ($lines:expr, $value:expr, $text:expr) => {
        if $lines.put($value, $text)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    };
}
use put;

fn summary(store: &OfflineStore, lines: &mut Lines) -> Flow {
    let state = if store.is_in_use()? {
        "a broker has it open"
    } else if store.was_killed() {
        "not closed, the next start recovers it"
    } else {
        "closed"
    };
    let root = store.settings().root();
    put!(
        lines,
        &json!({"kind": "store", "root": root, "state": state}),
        || { format!("store         {}: {state}", root.display()) }
    );
    for (start, len) in store.log_files() {
        let first = store.record(start)?;
        let record = first
            .as_deref()
            .and_then(|bytes| RecordRef::parse(bytes).ok());
        let time = record.map(|record| record.store_timestamp());
        let value = json!({
            "kind": "logFile", "position": start, "length": len, "firstStoreTimestamp": time,
        });
        put!(lines, &value, || {
            let time = time.map_or("no message at its front".to_owned(), |time| {
                format!("first message of {}", format_time(time))
            });
            format!("log file      {start:020}  {len} bytes  {time}")
        });
    }
    if checkpoint(store, lines)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    for queue in store.queues()? {
        let (topic, id) = (queue.topic(), queue.id());
        let kind = match queue.kind() {
            QueueKind::Batch => "batch",
            QueueKind::Simple if names::is_lmq(topic) => "light",
            QueueKind::Simple => "simple",
        };
        let (first, end) = (queue.first(), queue.end());
        let value = json!({
            "kind": "queue", "type": kind, "topic": topic, "queueId": id,
            "minOffset": first, "maxOffset": end,
        });
        put!(lines, &value, || format!(
            "queue         {topic}:{id}  {kind}  offsets {first} to {end}"
        ));
    }
    for file in store.index_files()? {
        if index::put_file(&file?, lines)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if let Some(timer) = store.timer_checkpoint()? {
        let value = json!({
            "kind": "timerCheckpoint",
            "readTimestamp": timer.read_timestamp,
            "flushed": timer.flushed,
            "queueOffset": timer.queue_offset,
            "masterQueueOffset": timer.master_queue_offset,
        });
        put!(lines, &value, || format!(
            "timer         delivered up to {}, timer log on the disk up to {}, taken over up to offset {}",
            format_time(timer.read_timestamp),
            timer.flushed,
            timer.queue_offset
        ));
    }
    for name in store.config_files()? {
        put!(lines, &json!({"kind": "configFile", "name": name}), || {
            format!("config file   {name}")
        });
    }
    Ok(ControlFlow::Continue(()))
}

fn checkpoint(store: &OfflineStore, lines: &mut Lines) -> Flow {
    let checkpoint = store.checkpoint()?;
    let value = json!({
        "kind": "checkpoint",
        "logTimestamp": checkpoint.log_timestamp,
        "queuesTimestamp": checkpoint.queues_timestamp,
        "indexTimestamp": checkpoint.index_timestamp,
        "masterFlushedOffset": checkpoint.master_flushed_offset,
        "confirmedOffset": checkpoint.confirmed_offset,
    });
    lines.put(&value, || {
        format!(
            "checkpoint    on the disk: log up to {}, queues up to {}, index up to {}",
            format_time(checkpoint.log_timestamp),
            format_time(checkpoint.queues_timestamp),
            format_time(checkpoint.index_timestamp)
        )
    })
}

/// A message as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    kind: &'static str,
    position: i64,
    size: usize,
    topic: String,
    queue_id: i32,
    queue_offset: i64,
    store_timestamp: i64,
    born_timestamp: i64,
    store_host: String,
    born_host: String,
    flag: i32,
    sys_flag: i32,
    reconsume_times: i32,
    prepared_transaction_offset: i64,
    properties: BTreeMap<String, String>,
    body_length: usize,
    #[serde(flatten)]
    body: Option<MessageBody>,
}

impl Message {
    fn new(record: &RecordRef<'_>, position: i64, with_body: bool) -> Message {
        let texts = record.properties();
        Message {
            kind: "message",
            position,
            size: record.total_size(),
            topic: record.topic().into_owned(),
            queue_id: record.queue_id(),
            queue_offset: record.queue_offset(),
            store_timestamp: record.store_timestamp(),
            born_timestamp: record.born_timestamp(),
            store_host: record.store_host().to_string(),
            born_host: record.born_host().to_string(),
            flag: record.flag(),
            sys_flag: record.sys_flag(),
            reconsume_times: record.reconsume_times(),
            prepared_transaction_offset: record.prepared_transaction_offset(),
            properties: properties::iter(&texts)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body_length: record.body().len(),
            body: with_body.then(|| match plain_body(record, MAX_BODY_SIZE) {
                Ok(body) => MessageBody::new(&body),
                Err(_) => MessageBody::new(record.body()),
            }),
        }
    }

    fn line(&self) -> String {
        let mut line = format!(
            "{:>12}  {}  {}:{} offset {}  {} bytes",
            self.position,
            format_time(self.store_timestamp),
            self.topic,
            self.queue_id,
            self.queue_offset,
            self.size
        );
        for (name, value) in &self.properties {
            line.push_str(&format!("  {name}={}", value.escape_debug()));
        }
        if let Some(body) = &self.body {
            line.push_str(&format!("  {body}"));
        }
        line
    }
}

fn log_messages(store: &OfflineStore, args: &Messages, lines: &mut Lines) -> Flow {
    let to = args.range.to.unwrap_or(i64::MAX);
    let mut left = args.range.limit;
    let mut scan = store.scan(args.range.from.unwrap_or(store.log_begin()));
    while let Some(item) = scan.next()? {
        let (record, at) = match item {
            LogItem::Record(record, at) => (record, at),
            LogItem::Damage { from, to, fault } => {
                let what = fault.to_string();
                let value = json!({"kind": "damage", "position": from, "to": to, "what": what});
                put!(lines, &value, || format!(
                    "{from:>12}  damaged up to {to}: {what}"
                ));
                continue;
            }
        };
        if at >= to || left == 0 {
            break;
        }
        if args
            .topic
            .as_deref()
            .is_none_or(|topic| record.topic() == topic)
        {
            left -= 1;
            let message = Message::new(&record, at, args.body);
            put!(lines, &message, || message.line());
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// A queue of the directory, and the part of it that is asked for.
fn find(
    store: &OfflineStore,
    topic: &str,
    id: i32,
    range: &Range,
) -> Result<(OfflineQueue, std::ops::Range<i64>), CliError> {
    let queues = store.queues()?;
    let found = queues
        .into_iter()
        .find(|queue| queue.topic() == topic && queue.id() == id);
    let queue = found.ok_or_else(|| CliError::NoQueue {
        topic: topic.to_owned(),
        id,
    })?;
    let from = range.from.unwrap_or(queue.first()).max(queue.first());
    let to = range.to.unwrap_or(queue.end()).min(queue.end());
    let most = i64::try_from(range.limit).unwrap_or(i64::MAX);
    let to = to.min(from.saturating_add(most));
    Ok((queue, from..to))
}

fn queue_messages(store: &OfflineStore, args: &Messages, id: i32, lines: &mut Lines) -> Flow {
    let topic = args.topic.as_deref().unwrap_or_default();
    let (mut queue, range) = find(store, topic, id, &args.range)?;
    let mut offset = range.start;
    while offset < range.end {
        let unit = queue.unit_of(offset)?;
        let position = unit.map(|unit| unit.entry.physical_offset);
        let bytes = match position {
            Some(position) => store.record(position)?,
            None => None,
        };
        let record = bytes
            .as_deref()
            .and_then(|bytes| RecordRef::parse(bytes).ok());
        match record.zip(position) {
            Some((record, position)) => {
                let message = Message::new(&record, position, args.body);
                put!(lines, &message, || message.line());
            }
            None => {
                let value = json!({"kind": "missing", "queueOffset": offset});
                put!(lines, &value, || format!(
                    "{topic}:{id} offset {offset}: no message"
                ));
            }
        }
        offset = unit.map_or(offset + 1, |unit| unit.end());
    }
    Ok(ControlFlow::Continue(()))
}

fn queue_entries(store: &OfflineStore, args: &QueueEntries, lines: &mut Lines) -> Flow {
    let (mut queue, range) = find(store, &args.topic, args.queue, &args.range)?;
    let mut offset = range.start;
    while offset < range.end {
        let unit = queue.unit_of(offset)?;
        let value = json!({
            "kind": "queueEntry",
            "queueOffset": unit.map_or(offset, |unit| unit.queue_offset),
            "count": unit.map(|unit| unit.count),
            "position": unit.map(|unit| unit.entry.physical_offset),
            "size": unit.map(|unit| unit.entry.size),
            "tagsCode": unit.map(|unit| unit.entry.tags_code),
        });
        put!(lines, &value, || match unit {
            None => format!("offset {offset}  not written"),
            Some(unit) if unit.entry.is_blank() => format!("offset {offset}  lost"),
            Some(QueueUnit {
                queue_offset,
                count,
                entry,
            }) => {
                let messages = match count {
                    1 => String::new(),
                    _ => format!("  {count} messages"),
                };
                format!(
                    "offset {queue_offset}{messages}  position {}  {} bytes  tags code {}",
                    entry.physical_offset, entry.size, entry.tags_code
                )
            }
        });
        offset = unit.map_or(offset + 1, |unit| unit.end());
    }
    Ok(ControlFlow::Continue(()))
}

fn timer(store: &OfflineStore, lines: &mut Lines) -> Flow {
    let precision = i64::from(store.settings().timer_precision_ms);
    for slot in store.timer_slots()? {
        let (index, slot, entries) = slot?;
        let time = slot.time.saturating_mul(precision);
        let shown: Vec<Value> = entries
            .iter()
            .map(|(position, entry)| {
                json!({
                    "timerPosition": position,
                    "previous": entry.previous,
                    "magic": entry.magic,
                    "written": entry.written,
                    "delay": entry.delay,
                    "position": entry.physical_offset,
                    "size": entry.size,
                    "topicHash": entry.topic_hash,
                })
            })
            .collect();
        let value = json!({
            "kind": "timerSlot", "slot": index, "timestamp": time,
            "first": slot.first, "last": slot.last, "count": slot.count, "entries": shown,
        });
        put!(lines, &value, || {
            let mut text = format!(
                "slot {index}  {}  {} messages, timer log {} to {}",
                format_time(time),
                slot.count,
                slot.first,
                slot.last
            );
            for (position, entry) in &entries {
                text.push_str(&format!(
                    "\n  {position:>10}  message at position {}, {} bytes, due {}",
                    entry.physical_offset,
                    entry.size,
                    format_time(entry.due())
                ));
            }
            text
        });
    }
    Ok(ControlFlow::Continue(()))
}
