//! Transactions: each slot sends a half message and commits it, over and over.

use std::borrow::Cow;

use wire::command::EndTransaction;
use wire::frame::SerializeType;
use wire::header::send::SendMessageResponse;
use wire::header::transaction::EndTransactionRequest;
use wire::message::id::OffsetMessageId;
use wire::message::sys_flag::message as message_flag;

use super::engine::Work;
use super::frames::{Answer, Frames};
use super::sending::{PRODUCER_GROUP, Sending, Sends};
use super::tally::Recorder;

/// The transactions of one connection.
pub(super) struct Transacting {
    serialize: SerializeType,
    body_size: usize,
    /// What sends the half messages, and its frames.
    halves: (Frames, Sending),
    /// By slot: the half message that is to be committed, if it has been sent.
    open: Vec<Option<Half>>,
}

/// A half message.
struct Half {
    /// When it was meant to leave.
    started: u64,
    id: String,
    transaction_id: Option<String>,
    commit_log_offset: i64,
    queue_offset: i64,
}

impl Transacting {
    /// Connection number `lane` of `lanes` with so many slots.
    pub(super) fn lane(sends: &Sends, lane: usize, lanes: usize, slots: usize) -> (Frames, Self) {
        let mut frames = Frames::default();
        let open = (0..slots).map(|_| {
            frames.add_slot();
            None
        });
        let transacting = Self {
            serialize: sends.serialize,
            body_size: sends.body_size,
            open: open.collect(),
            halves: sends.lane(lane, lanes, slots),
        };
        (frames, transacting)
    }
}

impl Work for Transacting {
    fn prepare(&mut self, slot: usize, frames: &mut Frames, intended: u64) {
        let Some(half) = &self.open[slot] else {
            let (half_frames, halves) = &mut self.halves;
            halves.prepare(slot, half_frames, intended);
            return frames.put_frame(slot, half_frames.frame_mut(slot));
        };
        let header = EndTransactionRequest {
            producer_group: Cow::Borrowed(PRODUCER_GROUP),
            tran_state_table_offset: half.queue_offset,
            commit_log_offset: half.commit_log_offset,
            commit_or_rollback: message_flag::TRANSACTION_COMMIT_TYPE,
            from_transaction_check: Some(false),
            msg_id: Cow::Borrowed(&half.id),
            transaction_id: half.transaction_id.as_deref().map(Cow::Borrowed),
            ..EndTransactionRequest::default()
        };
        frames.put::<EndTransaction>(slot, self.serialize, &header, b"");
    }

    fn answered(&mut self, answer: &Answer<'_>, started: u64, now: u64, recorder: &mut Recorder) {
        let half = self.open[answer.slot].take();
        if answer.code != 0 {
            return recorder.error(answer.code, || answer.remark());
        }
        if let Some(half) = half {
            recorder.count(1, self.body_size as u64);
            return recorder.latency(half.started, now);
        }
        self.open[answer.slot] = sent(answer, started);
        if self.open[answer.slot].is_none() {
            recorder.error(answer.code, || "a half message without an id".to_owned());
        }
    }
}

/// The half message that was sent; `None` if the answer does not tell.
fn sent(answer: &Answer<'_>, started: u64) -> Option<Half> {
    let frame = answer.decode()?;
    let header: SendMessageResponse<'_> = frame.header().ok()?;
    Some(Half {
        started,
        commit_log_offset: OffsetMessageId::decode(&header.msg_id).ok()?.offset,
        queue_offset: header.queue_offset,
        transaction_id: header.transaction_id.map(Cow::into_owned),
        id: header.msg_id.into_owned(),
    })
}
