//! A conversation: the connection of a client and a server, as packets or chunks show it.

mod calls;
mod line;
mod pending;
mod round_trip;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::capture::{Chunk, Flow, Timestamp};
use crate::exchange::Unanswered;
use crate::inspector::Context;
use crate::packet::Segment;
use crate::stream::{Given, Order, Stream};
use line::Line;
use round_trip::RoundTrip;

/// The two ends of a connection, the smaller address first, whoever sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends([SocketAddr; 2]);

impl Ends {
    /// The ends of a flow.
    pub(crate) fn of(flow: &Flow) -> Self {
        if flow.source <= flow.destination {
            Self([flow.source, flow.destination])
        } else {
            Self([flow.destination, flow.source])
        }
    }

    /// Whether one of the ends has one of these ports.
    pub(crate) fn has_port(&self, ports: &[u16]) -> bool {
        self.0.iter().any(|end| ports.contains(&end.port()))
    }
}

/// A connection, whatever is spoken on it.
#[derive(Debug)]
pub(crate) struct Conversation {
    ends: Ends,
    /// What each end sends.
    streams: [Stream; 2],
    /// What each end sends: from the place of the capture to the other end and back.
    round_trips: [RoundTrip; 2],
    /// Whose chunks of each direction are read: on one machine both ends tell of them.
    feeders: [Option<u32>; 2],
    line: Line,
    first: Timestamp,
    /// When it was last heard of.
    last: Timestamp,
}

impl Conversation {
    pub(crate) fn new(ends: Ends, now: Timestamp) -> Self {
        Self {
            ends,
            streams: Default::default(),
            round_trips: Default::default(),
            feeders: [None; 2],
            line: Line::new(ends.0, now),
            first: now,
            last: now,
        }
    }

    /// When it was first heard of.
    pub(crate) fn first(&self) -> Timestamp {
        self.first
    }

    /// When it was last heard of.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// Bytes of it that are kept for later.
    pub(crate) fn buffered(&self) -> usize {
        let streams = self.streams.iter().map(Stream::waiting_bytes);
        streams.sum::<usize>() + self.line.buffered()
    }

    /// Whether both directions ended, so that it need not be remembered.
    pub(crate) fn is_over(&self) -> bool {
        self.line.is_over()
    }

    /// Whether a segment with a SYN begins another connection between the same ends.
    pub(crate) fn is_other(&self, segment: &Segment<'_>) -> bool {
        self.streams[self.side(&segment.flow)].is_other_start(segment.sequence)
    }

    /// The end that sends what flows so.
    fn side(&self, flow: &Flow) -> usize {
        usize::from(self.ends.0[0] != flow.source)
    }

    /// Takes a segment of the connection.
    pub(crate) fn segment(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) {
        let side = self.side(&segment.flow);
        let other = 1 - side;
        self.last = context.now;
        if segment.syn {
            // The answer to a SYN acknowledges it.
            let opener = if segment.acknowledged.is_some() {
                other
            } else {
                side
            };
            self.line.opened_by(opener);
        }
        if let Some(number) = segment.acknowledged {
            self.streams[other].acknowledge(number);
            let bare = segment.payload.is_empty();
            if segment.syn {
                self.round_trips[other].syn_answered();
            }
            self.round_trips[other].acknowledged(number, segment.time, bare);
        }
        let len = segment.payload.len() + segment.cut;
        let taken = (len + usize::from(segment.syn)) as u32;
        if taken > 0 {
            self.round_trips[side].sent(segment.sequence.wrapping_add(taken), segment.time);
        }
        let trips = self.round_trips.each_ref().map(RoundTrip::estimate);
        self.line.round_trips = trips;
        let order = self.give(side, context, |stream, now, give| {
            stream.push(segment, now, give)
        });
        if segment.rst {
            self.finish(context);
        }
        let sent = &mut self.line.sent[side];
        sent.bytes += len as u64;
        match order {
            Order::Next | Order::Copy => {}
            Order::Ahead => {
                sent.reordered += 1;
                context.counts.reordered += 1;
            }
            Order::Again => {
                sent.retransmissions += 1;
                context.counts.retransmissions += 1;
                self.round_trips[side].sent_again();
            }
        }
        self.line.update(context);
    }

    /// Takes a chunk of the connection.
    pub(crate) fn chunk(&mut self, chunk: &Chunk<'_>, context: &mut Context<'_>) {
        let side = self.side(&chunk.flow);
        self.last = context.now;
        let feeder = chunk.process.map_or(0, |process| process.id);
        if *self.feeders[side].get_or_insert(feeder) != feeder {
            return;
        }
        if self.line.process.is_none() {
            self.line.process = chunk.process.map(Arc::clone);
        }
        if chunk.missing > 0 {
            self.line
                .take(side, false, Given::Missing(chunk.missing), context);
        }
        if !chunk.data.is_empty() {
            self.line.sent[side].bytes += chunk.data.len() as u64;
            let given = Given::Bytes(chunk.time, chunk.data);
            self.line.take(side, false, given, context);
        }
        if chunk.ends {
            self.line.take(side, false, Given::End, context);
        }
        self.line.update(context);
    }

    /// Gives up what has been waited for long enough.
    pub(crate) fn expire(&mut self, context: &mut Context<'_>) {
        for side in 0..2 {
            if self.streams[side].is_waiting() {
                self.give(side, context, |stream, now, give| stream.expire(now, give));
            }
        }
        self.line.expire(context);
    }

    /// Reads what waits for missing parts without them, and ends both directions.
    pub(crate) fn finish(&mut self, context: &mut Context<'_>) {
        for side in 0..2 {
            self.give(side, context, |stream, _, give| stream.finish(give));
        }
    }

    /// Ends what is under way, for a reason.
    pub(crate) fn close(&mut self, why: Unanswered, context: &mut Context<'_>) {
        for side in 0..2 {
            self.give(side, context, |stream, _, give| stream.skip_all(give));
        }
        self.line.close(why, context);
    }

    /// Has a stream give to the line.
    fn give<T>(
        &mut self,
        side: usize,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut Stream, Timestamp, &mut dyn FnMut(Given<'_>, bool)) -> T,
    ) -> T {
        let Self { streams, line, .. } = self;
        let now = context.now;
        let mut give = |given: Given<'_>, opened: bool| line.take(side, opened, given, context);
        act(&mut streams[side], now, &mut give)
    }
}
