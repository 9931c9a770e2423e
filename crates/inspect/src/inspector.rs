//! The inspector: from what a source saw to exchanges, sessions and notices.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::capture::{Chunk, Observed, Packet, Timestamp};
use crate::conversation::{Conversation, Ends};
use crate::exchange::{Exchange, Unanswered};
use crate::message::Reader;
use crate::notice::{Notice, Notices};
use crate::packet::{Packets, PassedOver, Segment};
use crate::session::Sessions;

/// How often what waits is looked at.
const TIDY_EVERY: Duration = Duration::from_millis(100);

/// How late packets of a connection that is over come.
const LATE: Duration = Duration::from_secs(2);

type Conversations = HashMap<Ends, Conversation, foldhash::fast::RandomState>;

/// What an inspector looks at, what it keeps, and how much memory it may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers' ports; empty: whatever speaks RocketMQ.
    pub ports: Vec<u16>,
    /// The first bytes of each frame that are kept with its exchange.
    pub keep_bytes: usize,
    /// The first bytes of each message's body that are kept with it, decompressed.
    pub keep_bodies: usize,
    /// How long a request waits for its response before it counts as unanswered.
    pub patience: Duration,
    /// Connections that are followed at a time; beyond, the one silent longest is dropped.
    pub max_connections: usize,
    /// Bytes of streams that wait for missing parts or whole frames; beyond, the connection silent
    /// longest is dropped.
    pub max_buffered: usize,
    /// Requests of a connection that wait for their responses; beyond, the oldest is given up.
    pub max_pending: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            keep_bytes: 0,
            keep_bodies: 0,
            patience: Duration::from_secs(60),
            max_connections: 65_536,
            max_buffered: 256 << 20,
            max_pending: 65_536,
        }
    }
}

/// What came in and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets of the source.
    pub packets: u64,
    /// Chunks of the source.
    pub chunks: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Packets or chunks that the source lost, since they came faster than they were read.
    pub lost: u64,
    /// Packets that are no TCP, or whose headers cannot be read.
    pub passed_over: u64,
    /// Packets of which the capture has not all.
    pub cut: u64,
    /// Frames of remoting and messages of gRPC.
    pub frames: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Packets sent again.
    pub retransmissions: u64,
    /// Packets that came out of their order.
    pub reordered: u64,
    /// Bytes of streams that the capture does not have.
    pub missing: u64,
    /// Bytes of RocketMQ streams that could not be understood.
    pub skipped: u64,
    /// Connections that speak something else.
    pub foreign: u64,
    /// Connections that are encrypted.
    pub encrypted: u64,
    /// Connections dropped because there were too many, or too much was waiting.
    pub dropped: u64,
}

/// What reading a connection needs of the inspector.
pub(crate) struct Context<'a> {
    pub(crate) options: &'a Options,
    /// The latest time seen.
    pub(crate) now: Timestamp,
    pub(crate) reader: &'a mut Reader,
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) counts: &'a mut Counts,
    pub(crate) notices: &'a mut Notices,
    sink: &'a mut dyn FnMut(Exchange),
}

impl Context<'_> {
    /// The first bytes of a frame, as many as are kept with its exchange.
    pub(crate) fn kept(&self, frame: &[u8]) -> Bytes {
        let kept = frame.get(..self.options.keep_bytes).unwrap_or(frame);
        Bytes::copy_from_slice(kept)
    }

    /// Hands over an exchange that has ended.
    pub(crate) fn finish(&mut self, mut exchange: Exchange) {
        self.counts.exchanges += 1;
        exchange.number = self.counts.exchanges;
        self.sessions.take(&exchange);
        (self.sink)(exchange);
    }
}

/// Makes exchanges of packets and chunks.
#[derive(Debug, Default)]
pub struct Inspector {
    options: Options,
    packets: Packets,
    conversations: Conversations,
    /// Bytes that the conversations keep for later.
    buffered: usize,
    reader: Reader,
    sessions: Sessions,
    counts: Counts,
    notices: Notices,
    now: Timestamp,
    /// When what waits was last looked at.
    tidied: Timestamp,
    /// Packets and chunks since then.
    since_tidied: usize,
}

impl Inspector {
    /// An inspector that has seen nothing yet.
    pub fn new(options: Options) -> Self {
        let mut inspector = Self {
            options,
            ..Self::default()
        };
        inspector.reader.keep_bodies = inspector.options.keep_bodies;
        inspector
    }

    /// Takes what a source saw, and hands over the exchanges that it completes.
    pub fn observe(&mut self, observed: Observed<'_>, sink: &mut dyn FnMut(Exchange)) {
        match observed {
            Observed::Packet(packet) => self.packet(&packet, sink),
            Observed::Chunk(chunk) => self.chunk(&chunk, sink),
        }
        self.since_tidied += 1;
        // Looking at every connection is worth it after as many packets only.
        if self.tidied.until(self.now) >= TIDY_EVERY
            && self.since_tidied >= self.conversations.len() / 4
        {
            self.tidy(sink);
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, sink: &mut dyn FnMut(Exchange)) {
        self.counts.packets += 1;
        self.counts.bytes += packet.data.len() as u64;
        self.now = self.now.max(packet.time);
        let captured = packet.data.len() as u32;
        if captured < packet.original_len {
            self.counts.cut += 1;
            self.notices.say(Notice::Cut(captured));
        }
        let mut packets = std::mem::take(&mut self.packets);
        let read = packets.read(packet, |segment| self.segment(segment, sink));
        self.packets = packets;
        if let Err(why) = read {
            self.counts.passed_over += 1;
            if why == PassedOver::LinkType {
                self.notices.say(Notice::LinkType(packet.link.0));
            }
        }
    }

    fn segment(&mut self, segment: &Segment<'_>, sink: &mut dyn FnMut(Exchange)) {
        let ends = Ends::of(&segment.flow);
        // What begins nothing need not be looked up twice.
        let known = segment.syn.then(|| self.conversations.get(&ends)).flatten();
        let other = known.is_some_and(|one| one.is_other(segment));
        if other {
            self.drop_conversation(&ends, Unanswered::Closed, sink);
        }
        self.converse(ends, sink, |conversation, context| {
            conversation.segment(segment, context);
        });
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(Exchange)) {
        self.counts.chunks += 1;
        self.counts.bytes += chunk.data.len() as u64;
        self.now = self.now.max(chunk.time);
        let ends = Ends::of(&chunk.flow);
        self.converse(ends, sink, |conversation, context| {
            conversation.chunk(chunk, context);
        });
    }

    /// Has a conversation take something.
    fn converse(
        &mut self,
        ends: Ends,
        sink: &mut dyn FnMut(Exchange),
        take: impl FnOnce(&mut Conversation, &mut Context<'_>),
    ) {
        if !self.options.ports.is_empty() && !ends.has_port(&self.options.ports) {
            return;
        }
        if self.conversations.len() >= self.options.max_connections
            && !self.conversations.contains_key(&ends)
        {
            self.drop_oldest(sink);
        }
        let (conversations, mut context) = self.context(sink);
        let new = || Conversation::new(ends, context.now);
        let conversation = conversations.entry(ends).or_insert_with(new);
        let before = conversation.buffered();
        take(conversation, &mut context);
        let after = conversation.buffered();
        self.buffered = self.buffered + after - before;
        while self.buffered > self.options.max_buffered && !self.conversations.is_empty() {
            self.drop_oldest(sink);
        }
    }

    fn context<'a>(
        &'a mut self,
        sink: &'a mut dyn FnMut(Exchange),
    ) -> (&'a mut Conversations, Context<'a>) {
        let context = Context {
            options: &self.options,
            now: self.now,
            reader: &mut self.reader,
            sessions: &mut self.sessions,
            counts: &mut self.counts,
            notices: &mut self.notices,
            sink,
        };
        (&mut self.conversations, context)
    }

    fn drop_conversation(&mut self, ends: &Ends, why: Unanswered, sink: &mut dyn FnMut(Exchange)) {
        let (conversations, mut context) = self.context(sink);
        if let Some(mut conversation) = conversations.remove(ends) {
            let buffered = conversation.buffered();
            conversation.close(why, &mut context);
            self.buffered -= buffered;
        }
    }

    /// Drops the conversations silent longest, a few at a time, since looking for them takes long.
    fn drop_oldest(&mut self, sink: &mut dyn FnMut(Exchange)) {
        let count = self.conversations.len() / 16 + 1;
        let mut oldest: Vec<_> = self
            .conversations
            .iter()
            .map(|(ends, one)| (one.last(), *ends))
            .collect();
        if count < oldest.len() {
            oldest.select_nth_unstable_by_key(count, |(last, _)| *last);
        }
        for (_, ends) in oldest.iter().take(count) {
            self.counts.dropped += 1;
            self.drop_conversation(ends, Unanswered::Lost, sink);
        }
        self.notices.say(Notice::Full);
    }

    /// Says how many packets or chunks the source lost so far.
    pub fn set_lost(&mut self, lost: u64) {
        self.counts.lost = lost;
    }

    /// Says what time it is where nothing comes, so that what waits in vain is given up.
    pub fn tick(&mut self, now: Timestamp, sink: &mut dyn FnMut(Exchange)) {
        self.now = self.now.max(now);
        self.tidy(sink);
    }

    /// Gives up what waited for long enough.
    fn tidy(&mut self, sink: &mut dyn FnMut(Exchange)) {
        self.tidied = self.now;
        self.since_tidied = 0;
        let (conversations, mut context) = self.context(sink);
        let mut buffered = 0;
        conversations.retain(|_, conversation| {
            conversation.expire(&mut context);
            buffered += conversation.buffered();
            // What is over is remembered for a while: packets may come twice or late.
            !conversation.is_over() || conversation.last().until(context.now) < LATE
        });
        self.buffered = buffered;
    }

    /// Ends the capture: what waits for missing parts is read without them, and requests without a
    /// response are handed over.
    pub fn end(&mut self, sink: &mut dyn FnMut(Exchange)) {
        let (conversations, mut context) = self.context(sink);
        let mut all: Vec<Conversation> = conversations.drain().map(|(_, one)| one).collect();
        all.sort_by_key(Conversation::first);
        for conversation in &mut all {
            conversation.close(Unanswered::CaptureEnded, &mut context);
        }
        self.buffered = 0;
    }

    /// Who is there.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What came in and what became of it.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is to be said since this was last asked; each thing is said once.
    pub fn notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }

    /// The latest time seen.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }
}
