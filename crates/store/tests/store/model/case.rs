//! What happens to a store, chosen at random.

use kerolox_store::Operation;
use proptest::prelude::*;

/// A life of a store.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Whether records carry a CRC of the whole of them.
    pub(super) crc: bool,
    /// Whether queue entries have units in `consumequeue_ext`.
    pub(super) ext: bool,
    /// Bytes of a commit log file.
    pub(super) log_file: usize,
    pub(super) steps: Vec<Step>,
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Messages that come together.
    Append(Vec<Message>),
    /// A client batch.
    Batch(Vec<Message>),
    /// Messages of a queue are read from a place in it.
    Read(u8, u8),
    Flush,
    Housekeeping,
    /// Time passes, seldom backwards.
    Time(i64),
    /// Files that are an hour old are removed.
    Expire,
    DeleteTopic(u8),
    /// The disk is full but for so many bytes.
    Full(u64),
    Room,
    /// One operation is going to fail.
    Fault(Trouble),
    Close,
    Crash(Crash),
    /// The process is going to die in the middle of an operation.
    Die(u32, usize, Crash),
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Which of the queues.
    pub(super) queue: u8,
    /// Bytes of the body behind its number.
    pub(super) size: usize,
    pub(super) kind: Kind,
    /// Messages of its inner batch, if it goes to a batch queue.
    pub(super) inner: i16,
    /// Whether born and stored at an IPv6 address.
    pub(super) v6: (bool, bool),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Plain,
    Tagged,
    /// In the queue of a delay level, from 1.
    Delayed(u8),
    /// In the log only, until it is committed.
    Half,
    /// Committed: an ordinary message that says where its half is.
    Commit,
    /// In the log only.
    Rollback,
    /// In a light queue, too, whose number the record gets.
    Light,
}

/// An operation that fails, and how many of its kind go well before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    pub(super) operation: Operation,
    pub(super) after: u32,
    /// Bytes a write leaves all the same.
    pub(super) partial: usize,
}

/// The process or the machine stops.
#[derive(Debug, Clone)]
pub(super) struct Crash {
    /// What happens to what was not flushed; nothing if only the process is killed.
    pub(super) power: Option<Loss>,
    /// The next start ends like this, too, after so many changes.
    pub(super) while_opening: Option<(u32, usize)>,
    /// The start after that fails.
    pub(super) fault: Option<Trouble>,
}

/// What of the unflushed reaches the disk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    /// Any sectors: a bit for each, over and over.
    Sectors(u64),
    /// So many bytes and names, and nothing behind them.
    Behind(u32),
    /// Any bytes, in runs. Only where records carry a CRC of the whole of them, since nobody
    /// could tell what is left from a record otherwise; else as `Sectors`.
    Bytes(u64),
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    (
        any::<bool>(),
        any::<bool>(),
        prop_oneof![Just(2048_usize), Just(4096), Just(16 << 10)],
        prop::collection::vec(step(), 1..60),
    )
        .prop_map(|(crc, ext, log_file, steps)| Case {
            crc,
            ext,
            log_file,
            steps,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => prop::collection::vec(message(), 1..8).prop_map(Step::Append),
        6 => (any::<u8>(), prop::collection::vec(message(), 1..5)).prop_map(|(queue, mut batch)| {
            batch.iter_mut().for_each(|message| message.queue = queue);
            Step::Batch(batch)
        }),
        6 => (any::<u8>(), any::<u8>()).prop_map(|(queue, at)| Step::Read(queue, at)),
        6 => Just(Step::Flush),
        6 => Just(Step::Housekeeping),
        6 => prop_oneof![9 => 0_i64..40_000, 1 => -100_000_i64..0].prop_map(Step::Time),
        1 => Just(Step::Expire),
        1 => any::<u8>().prop_map(Step::DeleteTopic),
        1 => (0_u64..8000).prop_map(Step::Full),
        1 => Just(Step::Room),
        4 => trouble().prop_map(Step::Fault),
        2 => Just(Step::Close),
        3 => crash().prop_map(Step::Crash),
        4 => (0_u32..40, 0_usize..2000, crash())
            .prop_map(|(after, partial, crash)| Step::Die(after, partial, crash)),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let size = prop_oneof![8 => 0_usize..60, 2 => 0_usize..700, 1 => 0_usize..1500];
    let kind = prop_oneof![
        6 => Just(Kind::Plain),
        3 => Just(Kind::Tagged),
        2 => (1_u8..4).prop_map(Kind::Delayed),
        1 => Just(Kind::Half),
        1 => Just(Kind::Commit),
        1 => Just(Kind::Rollback),
        1 => Just(Kind::Light),
    ];
    let v6 = prop_oneof![3 => Just((false, false)), 1 => any::<(bool, bool)>()];
    (any::<u8>(), size, kind, 1_i16..5, v6).prop_map(|(queue, size, kind, inner, v6)| Message {
        queue,
        size,
        kind,
        inner,
        v6,
    })
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let operation = prop_oneof![
        3 => Just(Operation::Write),
        1 => Just(Operation::Read),
        1 => Just(Operation::Sync),
        2 => Just(Operation::Create),
        2 => Just(Operation::Change),
    ];
    (operation, 0_u32..6, 0_usize..1000).prop_map(|(operation, after, partial)| Trouble {
        operation,
        after,
        partial,
    })
}

fn crash() -> impl Strategy<Value = Crash> {
    let loss = prop_oneof![
        2 => any::<u64>().prop_map(Loss::Sectors),
        1 => (0_u32..14, any::<u32>()).prop_map(|(bits, any)| Loss::Behind(any % (1 << bits))),
        2 => any::<u64>().prop_map(Loss::Bytes),
    ];
    (
        prop::option::of(loss),
        prop::option::weighted(0.3, (0_u32..60, 0_usize..600)),
        prop::option::weighted(0.2, trouble()),
    )
        .prop_map(|(power, while_opening, fault)| Crash {
            power,
            while_opening,
            fault,
        })
}
