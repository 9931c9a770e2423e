//! A message to append: what it is made of, the record that it becomes and the queues it goes to.

use std::net::SocketAddr;
use std::sync::Arc;

use wire::message::record::{BLANK_HEAD_SIZE, RecordFields, RecordVersion};
use wire::message::sys_flag::message as sys_flag;
use wire::message::{names, properties, property};

use super::FilterBits;
use crate::consume_queue::{Queue, QueueKind};
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
    pub(super) size: usize,
    /// The light queues that its properties name, in their order; empty unless it names some and
    /// the settings allow them.
    pub(super) light: Vec<Option<LightPlace>>,
}

/// A message's place in a light queue.
#[derive(Debug, Clone)]
pub(super) struct LightPlace {
    pub(super) queue: Arc<Queue>,
    /// The message's number there, once it has one.
    pub(super) offset: i64,
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
    pub(super) fn filter_bits(&self, ask: Option<&FilterBits>) -> Vec<u8> {
        let asked = ask.filter(|_| self.queue.writes_ext());
        let bits =
            asked.and_then(|ask| ask(self.queue.topic(), [self.properties, self.more_properties]));
        bits.unwrap_or_default()
    }

    pub(super) fn record(&self, settings: &StoreConfig) -> RecordFields<'a> {
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
    pub(super) fn check(
        &mut self,
        store: &Store,
        settings: &StoreConfig,
    ) -> Result<(), StoreError> {
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
    pub(super) fn added_properties(&self, queue_offset: i64) -> Option<Vec<u8>> {
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
    pub(super) fn reserve(&mut self) -> i64 {
        for place in self.light.iter_mut().flatten() {
            place.offset = place.queue.reserve(1);
        }
        self.queue.reserve(i64::from(self.count()))
    }

    /// Gives back its numbers, the last ones that were taken. Under the log's lock.
    pub(super) fn unreserve(&self) {
        for place in self.light.iter().flatten() {
            place.queue.reserve(-1);
        }
        self.queue.reserve(-i64::from(self.count()));
    }

    /// All queues that it goes to.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        let light = self.light.iter().flatten();
        std::iter::once(self.queue).chain(light.map(|place| &place.queue))
    }

    /// How many numbers it takes in its queue.
    pub(super) fn count(&self) -> i16 {
        match self.queue.kind() {
            QueueKind::Simple => 1,
            QueueKind::Batch => self.inner_messages.max(1),
        }
    }

    pub(super) fn appended(&self) -> Option<Appended> {
        match self.outcome {
            Some(Ok(appended)) => Some(appended),
            _ => None,
        }
    }

    /// Whether consumers get it: the halves of old-style transactions are only in the log.
    pub(super) fn is_queued(&self) -> bool {
        is_queued(self.sys_flag)
    }

    pub(super) fn tags_code(&self, store_timestamp: i64) -> i64 {
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
