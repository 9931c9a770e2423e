//! Appending messages: one lock and one write for many.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wire::message::record::{BLANK_HEAD_SIZE, RecordFields, RecordVersion};
use wire::message::sys_flag::message as sys_flag;
use wire::message::{names, properties, property};

use crate::commit_log::LogTail;
use crate::consume_queue::{Queue, QueueEntry, QueueKind, QueueUnit};
use crate::dispatch::feeds_light_queues;
use crate::error::StoreError;
use crate::settings::StoreConfig;
use crate::store::Store;

/// What a queue entry says beside where the message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagsCode {
    /// This number; for most messages the hash of the tag.
    Known(i64),
    /// The message's store timestamp plus so many milliseconds: its delivery time, for the
    /// queues of delay levels.
    DeliverAfter(i64),
}

/// A message to append, and what became of it.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// Where it goes.
    pub queue: &'a Arc<Queue>,
    /// What its queue entry says.
    pub tags_code: TagsCode,
    /// The application's own flag.
    pub flag: i32,
    /// Bits of [`wire::message::sys_flag::message`]; those of the hosts' address families are
    /// set by the store.
    pub sys_flag: i32,
    /// The producer's clock, milliseconds since 1970.
    pub born_timestamp: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// This broker's address.
    pub store_host: SocketAddr,
    /// How often it was sent back by consumers.
    pub reconsume_times: i32,
    /// Physical offset of the half message, for a commit or rollback.
    pub prepared_transaction_offset: i64,
    /// The body, as it is to be stored.
    pub body: &'a [u8],
    /// The properties' string as the producer sent it.
    pub properties: &'a [u8],
    /// More properties in the same form, stored behind those.
    pub more_properties: &'a [u8],
    /// How many messages the body holds, if it is an inner batch: a [batch](wire::message::body)
    /// stored as one record, for a batch queue. The store adds the properties and flags that say
    /// so. 0 for any other message.
    pub inner_messages: i16,
    /// Whether this is one client batch with the message before it: the messages of a batch get
    /// consecutive places in one file, and either all are stored or none.
    pub with_previous: bool,
    /// What became of it; set by [`Store::append`].
    pub outcome: Option<Result<Appended, StoreError>>,
    /// Bytes of the record.
    size: usize,
    /// The light queues that its properties name, in their order; empty unless it names some and
    /// the settings allow them.
    light: Vec<Option<LightPlace>>,
}

/// A message's place in a light queue.
#[derive(Debug, Clone)]
struct LightPlace {
    queue: Arc<Queue>,
    /// The message's number there, once it has one.
    offset: i64,
}

/// Where a message was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Position of its record in the commit log.
    pub physical_offset: i64,
    /// Bytes of its record.
    pub size: i32,
    /// Its number in its queue.
    pub queue_offset: i64,
    /// The broker's clock, milliseconds since 1970.
    pub store_timestamp: i64,
}

impl Appended {
    /// Position behind the record: what has to be flushed for it to be on the disk.
    pub fn end(&self) -> i64 {
        self.physical_offset + i64::from(self.size)
    }
}

/// Tells which filters a message of a topic passes, by its properties, which stand in two parts:
/// bits that a [`MessageFilter`](crate::MessageFilter) understands. `None` where it has none to ask.
/// Called under the log's lock, after the message has got its time.
pub type FilterBits = dyn Fn(&str, [&[u8]; 2]) -> Option<Vec<u8>> + Send + Sync;

/// Told of messages that arrived.
pub trait ArrivalListener: Send + Sync {
    /// Messages of a queue arrived and can be read. Called by the thread that appends, without
    /// any lock of the store: it must be quick.
    fn arrived(&self, arrival: &Arrival<'_>);
}

/// Messages that arrived together in one queue.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The queue.
    pub queue: &'a Arc<Queue>,
    /// Number of the first of them.
    pub first_offset: i64,
    /// Number the queue's next message gets.
    pub max_offset: i64,
    /// The tags code of all of them; `None` if they differ.
    pub tags_code: Option<i64>,
    /// When they were stored, milliseconds since 1970.
    pub store_timestamp: i64,
}

impl<'a> Append<'a> {
    /// A message with these parts and everything else 0.
    pub fn new(
        queue: &'a Arc<Queue>,
        body: &'a [u8],
        properties: &'a [u8],
        born_host: SocketAddr,
        store_host: SocketAddr,
    ) -> Append<'a> {
        Append {
            queue,
            tags_code: TagsCode::Known(0),
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host,
            store_host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties,
            more_properties: &[],
            inner_messages: 0,
            with_previous: false,
            outcome: None,
            size: 0,
            light: Vec::new(),
        }
    }

    /// The bits of the filters that it passes, where they are kept and known.
    fn filter_bits(&self, ask: Option<&FilterBits>) -> Vec<u8> {
        let asked = ask.filter(|_| self.queue.writes_ext());
        let bits =
            asked.and_then(|ask| ask(self.queue.topic(), [self.properties, self.more_properties]));
        bits.unwrap_or_default()
    }

    fn record(&self, settings: &StoreConfig) -> RecordFields<'a> {
        let topic: &'a str = self.queue.topic();
        RecordFields {
            version: if settings.auto_message_version_on_topic_len {
                RecordVersion::for_topic_len(topic.len())
            } else {
                RecordVersion::V1
            },
            queue_id: self.queue.id(),
            flag: self.flag,
            queue_offset: 0,
            physical_offset: 0,
            sys_flag: match self.inner_messages {
                0 => self.sys_flag,
                _ => self.sys_flag | sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP,
            },
            born_timestamp: self.born_timestamp,
            born_host: self.born_host,
            store_timestamp: 0,
            store_host: self.store_host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.prepared_transaction_offset,
            body: self.body,
            topic,
            properties: self.properties,
            more_properties: self.more_properties,
            append_record_crc: settings.enabled_append_prop_crc,
        }
    }

    /// Finds its light queues, computes the record's size and refuses what is too large
    /// (`MessageExtEncoder.encode`).
    fn check(&mut self, store: &Store, settings: &StoreConfig) -> Result<(), StoreError> {
        let max = settings.max_message_size;
        if self.body.len() > max {
            return Err(StoreError::MessageTooLarge {
                size: self.body.len(),
                max,
            });
        }
        self.light = self.find_light_queues(store, settings)?;
        let mut record = self.record(settings);
        // Its numbers are known later, with as many digits at most.
        let added = self.added_properties(i64::MAX);
        record.more_properties = added.as_deref().unwrap_or(self.more_properties);
        self.size = record.encoded_len();
        let max = (max + (64 << 10)).min(settings.mapped_file_size_commit_log - BLANK_HEAD_SIZE);
        if self.size > max {
            return Err(StoreError::MessageTooLarge {
                size: self.size,
                max,
            });
        }
        Ok(())
    }

    /// The light queues that the properties name. Names that cannot be one are passed over, and
    /// so is a name that comes again (`LmqDispatch.wrapLmqDispatch`).
    fn find_light_queues(
        &self,
        store: &Store,
        settings: &StoreConfig,
    ) -> Result<Vec<Option<LightPlace>>, StoreError> {
        let wanted = settings.enters_light_queues()
            && self.queue.kind() == QueueKind::Simple
            && self.is_queued()
            && feeds_light_queues(self.queue.topic());
        let named = |properties| {
            let text = str::from_utf8(properties).ok()?;
            properties::get(text, property::INNER_MULTI_DISPATCH)
        };
        let names = wanted.then(|| named(self.more_properties).or_else(|| named(self.properties)));
        let Some(names) = names.flatten() else {
            return Ok(Vec::new());
        };
        let mut places: Vec<Option<LightPlace>> = Vec::new();
        for name in names.split(names::LMQ_DISPATCH_SEPARATOR) {
            let queue = match store.light_queue(name) {
                Err(error @ StoreError::LightQueues { .. }) => return Err(error),
                found => found.ok(),
            };
            let queue = queue.filter(|queue| {
                let mut known = places.iter().flatten();
                !known.any(|known| Arc::ptr_eq(&known.queue, queue))
            });
            places.push(queue.map(|queue| LightPlace {
                queue,
                offset: i64::MAX,
            }));
        }
        Ok(places)
    }

    /// The properties that the store adds to a message that gets this number: those of an inner
    /// batch (`SendMessageProcessor.sendBatchMessage`, `BatchConsumeQueue.assignQueueOffset`), and
    /// its numbers in light queues; with `more_properties` behind or in front of them.
    fn added_properties(&self, queue_offset: i64) -> Option<Vec<u8>> {
        if self.inner_messages == 0 && self.light.is_empty() {
            return None;
        }
        let mut inner = String::new();
        if self.inner_messages != 0 {
            let count = self.inner_messages.to_string();
            properties::put(&mut inner, property::INNER_NUM, &count);
            properties::put(&mut inner, property::INNER_BASE, &queue_offset.to_string());
        }
        let mut light = String::new();
        if !self.light.is_empty() {
            let offsets: Vec<String> = self
                .light
                .iter()
                .map(|place| place.as_ref().map(|place| place.offset.to_string()))
                .map(Option::unwrap_or_default)
                .collect();
            let offsets = offsets.join(&names::LMQ_DISPATCH_SEPARATOR.to_string());
            properties::put(&mut light, property::INNER_MULTI_QUEUE_OFFSET, &offsets);
        }
        // The last of the same name counts, and a client may have sent one.
        Some([inner.as_bytes(), self.more_properties, light.as_bytes()].concat())
    }

    /// Takes its numbers in its queues. Under the log's lock.
    fn reserve(&mut self) -> i64 {
        for place in self.light.iter_mut().flatten() {
            place.offset = place.queue.reserve(1);
        }
        self.queue.reserve(i64::from(self.count()))
    }

    /// Gives back its numbers, the last ones that were taken. Under the log's lock.
    fn unreserve(&self) {
        for place in self.light.iter().flatten() {
            place.queue.reserve(-1);
        }
        self.queue.reserve(-i64::from(self.count()));
    }

    /// All queues that it goes to.
    fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        let light = self.light.iter().flatten();
        std::iter::once(self.queue).chain(light.map(|place| &place.queue))
    }

    /// How many numbers it takes in its queue.
    fn count(&self) -> i16 {
        match self.queue.kind() {
            QueueKind::Simple => 1,
            QueueKind::Batch => self.inner_messages.max(1),
        }
    }

    fn appended(&self) -> Option<Appended> {
        match self.outcome {
            Some(Ok(appended)) => Some(appended),
            _ => None,
        }
    }

    /// Whether consumers get it: the halves of old-style transactions are only in the log.
    fn is_queued(&self) -> bool {
        is_queued(self.sys_flag)
    }

    fn tags_code(&self, store_timestamp: i64) -> i64 {
        match self.tags_code {
            TagsCode::Known(code) => code,
            TagsCode::DeliverAfter(millis) => store_timestamp + millis,
        }
    }
}

/// Whether a record with this system flag has an entry in its queue
/// (`CommitLogDispatcherBuildConsumeQueue`).
pub(crate) fn is_queued(flag: i32) -> bool {
    !matches!(
        sys_flag::transaction_type(flag),
        sys_flag::TRANSACTION_PREPARED_TYPE | sys_flag::TRANSACTION_ROLLBACK_TYPE
    )
}

/// The first client batch of a slice of messages: most often one message.
fn first_group(batch: &[Append<'_>]) -> usize {
    let others = batch.iter().skip(1);
    1 + others.take_while(|append| append.with_previous).count()
}

impl Store {
    /// Stores messages in order and makes them readable; their outcomes tell where they are or
    /// why they were refused. Messages that are refused do not affect the others.
    ///
    /// Returns the position behind the last message stored, or the log's end: what to give to
    /// [`Store::flushed`] for all of them to be on the disk.
    pub fn append(&self, batch: &mut [Append<'_>]) -> i64 {
        let settings = self.settings();
        let mut size = 0;
        let mut rest = &mut *batch;
        while !rest.is_empty() {
            let (group, others) = rest.split_at_mut(first_group(rest));
            size += check_group(group, self, &settings);
            rest = others;
        }

        let limit = Duration::from_millis(settings.os_page_cache_busy_time_out_mills.into());
        let end = {
            let mut tail = match self.log.lock_within(limit, &*self.clock) {
                Ok(tail) => tail,
                Err(busy) => {
                    refuse(batch, &busy);
                    return self.log.end();
                }
            };
            tail.reserve((size + BLANK_HEAD_SIZE).min(settings.mapped_file_size_commit_log));
            self.append_in_order(&mut tail, batch, &settings);
            self.log.set_appending_since(0);
            tail.end()
        };
        self.flusher.appended(end);
        self.notify(batch);
        end
    }

    fn append_in_order(
        &self,
        tail: &mut LogTail,
        batch: &mut [Append<'_>],
        settings: &StoreConfig,
    ) {
        // The time is taken under the lock, so that it grows along the log.
        let now = self.clock.now_millis();
        self.log.set_appending_since(now);
        // Asked again under the lock: whoever closes the store takes it once.
        let ready = self
            .check_writable()
            .and_then(|()| self.log.prepare(tail))
            .and_then(|()| self.note_time(tail, now));
        if let Err(error) = ready {
            return refuse(batch, &error);
        }
        // Messages from `written` to `at` are in the buffer.
        let (mut written, mut at) = (0, 0);
        while let Some(rest) = batch.get(at..).filter(|rest| !rest.is_empty()) {
            let count = first_group(rest);
            let size: usize = rest.iter().take(count).map(|append| append.size).sum();
            let refused = rest.first().is_some_and(|append| append.outcome.is_some());
            if !refused && size as i64 > self.log.room(tail) {
                let rolled = self.log.roll(tail, now);
                let ready = rolled.clone().and_then(|()| self.log.prepare(tail));
                self.finish(batch.get_mut(written..at).unwrap_or_default(), rolled);
                written = at;
                if let Err(error) = ready {
                    return refuse(batch.get_mut(at..).unwrap_or_default(), &error);
                }
            }
            if let (false, Some(group)) = (refused, batch.get_mut(at..at + count)) {
                encode_group(tail, group, now, settings);
            }
            at += count;
        }
        let wrote = self.log.write(tail, now);
        self.finish(batch.get_mut(written..).unwrap_or_default(), wrote);
    }

    /// Enters what was written into the queues, or takes its numbers back.
    fn finish(&self, segment: &mut [Append<'_>], wrote: Result<(), StoreError>) {
        if let Err(error) = wrote {
            for append in segment
                .iter_mut()
                .filter(|append| append.appended().is_some())
            {
                append.queues().for_each(|queue| queue.unreserve());
                append.outcome = Some(Err(error.clone()));
            }
            return;
        }
        for append in segment.iter() {
            let Some(appended) = append.appended().filter(|_| append.is_queued()) else {
                continue;
            };
            let entry = QueueEntry {
                physical_offset: appended.physical_offset,
                size: appended.size,
                tags_code: append.tags_code(appended.store_timestamp),
            };
            let bits = append.filter_bits(self.filter_bits.get().map(|ask| &**ask));
            let enter = |queue: &Arc<Queue>, queue_offset, count| {
                let unit = QueueUnit {
                    queue_offset,
                    count,
                    entry,
                };
                let pushed = queue.push(&unit, appended.store_timestamp, bits.clone());
                if pushed.list {
                    self.list(queue);
                }
                if pushed.urgent {
                    self.hurry();
                }
            };
            enter(append.queue, appended.queue_offset, append.count());
            for place in append.light.iter().flatten() {
                enter(&place.queue, place.offset, 1);
            }
        }
    }

    /// Tells the listener, once for each queue and few messages.
    fn notify(&self, batch: &[Append<'_>]) {
        let Some(listener) = self.listener() else {
            return;
        };
        // A batch of one connection goes to few queues; a small table saves sorting.
        let mut arrivals: [Option<Arrival<'_>>; 16] = [None; 16];
        let tell = |arrivals: &mut [Option<Arrival<'_>>; 16]| {
            for slot in arrivals.iter_mut() {
                match slot.take() {
                    Some(arrival) => listener.arrived(&arrival),
                    None => break,
                }
            }
        };
        for append in batch.iter().filter(|append| append.is_queued()) {
            let Some(appended) = append.appended() else {
                continue;
            };
            let tags_code = append.tags_code(appended.store_timestamp);
            let mut arrived = |queue, first_offset, count| {
                let mine = |slot: &&mut Option<Arrival<'_>>| {
                    slot.is_none_or(|arrival| Arc::ptr_eq(arrival.queue, queue))
                };
                if arrivals.iter_mut().find(mine).is_none() {
                    tell(&mut arrivals);
                }
                if let Some(slot) = arrivals.iter_mut().find(mine) {
                    let arrival = slot.get_or_insert(Arrival {
                        queue,
                        first_offset,
                        max_offset: first_offset,
                        tags_code: Some(tags_code),
                        store_timestamp: appended.store_timestamp,
                    });
                    arrival.max_offset = first_offset + i64::from(count);
                    if arrival.tags_code != Some(tags_code) {
                        arrival.tags_code = None;
                    }
                }
            };
            arrived(append.queue, appended.queue_offset, append.count());
            for place in append.light.iter().flatten() {
                arrived(&place.queue, place.offset, 1);
            }
        }
        tell(&mut arrivals);
    }
}

/// Checks the messages of a client batch and returns the size of their records; if one is
/// refused, all are and the size is 0.
fn check_group(group: &mut [Append<'_>], store: &Store, settings: &StoreConfig) -> usize {
    let mut size = 0;
    let mut checked = Ok(());
    for append in group.iter_mut() {
        append.outcome = None;
        checked = checked.and_then(|()| append.check(store, settings));
        size += append.size;
    }
    let max = settings.mapped_file_size_commit_log - BLANK_HEAD_SIZE;
    if checked.is_ok() && size > max {
        checked = Err(StoreError::MessageTooLarge { size, max });
    }
    match checked {
        Ok(()) => size,
        Err(error) => {
            refuse(group, &error);
            0
        }
    }
}

/// Encodes the messages of a client batch into the buffer, where there is room for them.
fn encode_group(tail: &mut LogTail, group: &mut [Append<'_>], now: i64, settings: &StoreConfig) {
    let before = tail.buffer.len();
    for index in 0..group.len() {
        let Some(append) = group.get_mut(index) else {
            return;
        };
        match encode(tail, append, now, settings) {
            Ok(appended) => append.outcome = Some(Ok(appended)),
            Err(error) => {
                tail.buffer.truncate(before);
                for done in group.iter().take(index).filter(|append| append.is_queued()) {
                    done.unreserve();
                }
                return refuse(group, &error);
            }
        }
    }
}

fn encode(
    tail: &mut LogTail,
    append: &mut Append<'_>,
    now: i64,
    settings: &StoreConfig,
) -> Result<Appended, StoreError> {
    for queue in append.queues() {
        if queue.is_deleted() {
            return Err(StoreError::QueueDeleted {
                topic: Arc::clone(queue.topic()),
                queue_id: queue.id(),
            });
        }
        queue.relieve()?;
    }
    let mut record = append.record(settings);
    record.physical_offset = tail.position();
    record.store_timestamp = now;
    if append.is_queued() {
        record.queue_offset = append.reserve();
    }
    let added = append.added_properties(record.queue_offset);
    if let Some(added) = &added {
        record.more_properties = added;
    }
    match record.encode_into(&mut tail.buffer) {
        Ok(size) => Ok(Appended {
            physical_offset: record.physical_offset,
            size: size as i32,
            queue_offset: record.queue_offset,
            store_timestamp: now,
        }),
        Err(error) => {
            if append.is_queued() {
                append.unreserve();
            }
            Err(error.into())
        }
    }
}

fn refuse(batch: &mut [Append<'_>], error: &StoreError) {
    for append in batch {
        append.outcome = Some(Err(error.clone()));
    }
}
