//! Pulling: PULL_MESSAGE and LITE_PULL_MESSAGE (`PullMessageProcessor`).

use std::sync::Arc;

use store::{Arrival, GetMessages, GetStatus, MessageFilter, Queue};
use transport::{Connection, Outbox, Reply, Responder};
use wire::body::group::SubscriptionGroupConfig;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::frame::Frame;
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::message::sys_flag::pull as pull_flag;
use wire::message::{names, perm};

use crate::broadcast_offsets::Member;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::existing::illegal_queue;
use crate::filter::{self, Filter};
use crate::requested::Request;
use crate::routes::answer_soon;
use crate::static_topics::{LogicalPull, requests};
use crate::statistics::GroupStatistics;

/// Serves one pull: answers it now, or holds it.
pub(crate) fn pull(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    frame: &Frame,
    out: &mut Outbox,
) {
    let head = &frame.head;
    let (pull, hold_millis) = match accept(broker, connection, frame) {
        Ok(Accepted::Here(pull, hold_millis)) => (pull, hold_millis),
        Ok(Accepted::Elsewhere(logical)) => {
            let (broker, kept) = (Arc::clone(broker), frame.detached());
            return answer_soon(connection, head, out, async move {
                requests::pull(&broker, &logical, &kept).await
            });
        }
        Err(error) => return out.refuse(head, &error.into()),
    };
    let got = pull.read(broker).inspect(|got| pull.note(broker, got));
    match got {
        Ok(got)
            if hold_millis > 0
                && pull.answer(&got).0 == ResponseCode::PullNotFound
                && !broker.polling.is_full() =>
        {
            let deadline_millis = broker.now_millis().saturating_add(hold_millis);
            let asked_offset = pull.offset;
            let responder = connection.responder(head);
            let held = HeldPull {
                responder,
                pull,
                asked_offset,
                deadline_millis,
            };
            broker.polling.hold(broker, held);
        }
        Ok(got) => out.reply(head, pull.reply(broker, got)),
        Err(error) => out.refuse(head, &error.into()),
    }
}

/// A pull that was found to be in order.
enum Accepted {
    /// Of a queue of this broker, and how long it may wait, in milliseconds.
    Here(Pull, i64),
    /// Of a part of a logical queue that another broker has.
    Elsewhere(LogicalPull),
}

/// Checks a request, and commits the offset that came with it.
fn accept(
    broker: &Arc<Broker>,
    connection: &Connection,
    frame: &Frame,
) -> Result<Accepted, BrokerError> {
    let mut header: PullMessageRequest<'_> = frame.header()?;
    let settings = broker.settings();
    settings.broker.check_readable("pulling message")?;
    if RequestCode::of(&frame.head) == Ok(RequestCode::LitePullMessage) {
        let is_allowed = settings.broker.lite_pull_message_enable;
        settings
            .broker
            .check(is_allowed, "for lite pull consumer")?;
    }
    let group = broker.consuming_group(&header.consumer_group)?;
    let topic = broker.existing_topic(&header.topic)?;
    if !perm::is_readable(topic.config.perm) {
        return Err(BrokerError::NoPermission(format!(
            "the topic[{}] pulling message is forbidden",
            header.topic
        )));
    }
    let logical = broker
        .static_topics
        .find(&header.topic, header.queue_id, &header.rpc)?
        .map(|queue| LogicalPull::new(queue, header.queue_offset))
        .transpose()?;
    let logical = match logical {
        Some(logical) if !logical.is_here() => return Ok(Accepted::Elsewhere(logical)),
        logical => logical,
    };
    if let Some(logical) = &logical {
        header.queue_id = logical.queue_id();
        header.queue_offset = logical.asked;
        header.max_msg_nums = logical.limit(header.max_msg_nums);
    }
    if !(0..topic.config.read_queue_nums).contains(&header.queue_id) {
        let problem = illegal_queue(connection, &topic, header.queue_id);
        return Err(BrokerError::InvalidParameter(problem));
    }
    let filter = filter(broker, &header, group.consume_broadcast_enable)?;
    let lite = header.lite_topic.as_deref();
    let queue = match lite.and_then(|lite| names::lite_lmq_name(&header.topic, lite)) {
        Some(light_queue) => broker.store.light_queue(&light_queue)?,
        None => broker.queue(&header.topic, header.queue_id)?,
    };
    if pull_flag::has_commit_offset(header.sys_flag) {
        commit(broker, &header, logical.as_ref());
    }
    let member = Member::of_pull(broker, connection, &header, &queue);
    let reset_to = reset_to(broker, &header, member.as_ref(), &queue)?;
    let pull = Pull {
        queue,
        offset: header.queue_offset,
        max_count: header.max_msg_nums,
        filter,
        reset_to,
        member,
        topic_sys_flag: topic.config.topic_sys_flag,
        group,
        statistics: topic.statistics.group(&header.consumer_group),
        began_millis: broker.now_millis(),
        logical,
    };
    let hold_millis = match (pull_flag::has_suspend(header.sys_flag), &settings.broker) {
        (false, _) => 0,
        (true, broker) if broker.long_polling_enable => header.suspend_timeout_millis,
        (true, broker) => broker.short_polling_time_mills,
    };
    Ok(Accepted::Here(pull, hold_millis))
}

/// Commits the offset that came with a request.
fn commit(broker: &Broker, header: &PullMessageRequest<'_>, logical: Option<&LogicalPull>) {
    let place = match logical {
        // One in a part elsewhere has its own command.
        Some(logical) => logical.place_here(header.commit_offset),
        None => Some((header.queue_id, header.commit_offset)),
    };
    if let Some((queue_id, offset)) = place {
        let (group, topic) = (&header.consumer_group, &header.topic);
        broker.offsets.commit(group, topic, queue_id, offset);
    }
}

/// Where an administrator, or the consumer's change to or from a proxy, has reset its offset to.
fn reset_to(
    broker: &Broker,
    header: &PullMessageRequest<'_>,
    member: Option<&Member>,
    queue: &Queue,
) -> Result<Option<i64>, BrokerError> {
    if broker.settings().broker.use_server_side_reset_offset {
        let (group, topic) = (&header.consumer_group, &header.topic);
        let reset_to = broker.offsets.take_reset(group, topic, header.queue_id);
        if reset_to.is_some() {
            return Ok(reset_to);
        }
    }
    let asked = header.queue_offset;
    match member {
        Some(member) => broker.broadcast_offsets.moved(broker, member, asked, queue),
        None => Ok(None),
    }
}

/// What of the queue the consumer wants: as the request says, or as the group's heartbeat said.
fn filter(
    broker: &Broker,
    header: &PullMessageRequest<'_>,
    broadcast_allowed: bool,
) -> Result<Filter, BrokerError> {
    let group = &*header.consumer_group;
    if pull_flag::has_subscription(header.sys_flag) {
        let expression_type = header.expression_type.as_deref();
        filter::check_type(broker, expression_type.unwrap_or_default())?;
        let expression = header.subscription.as_deref().unwrap_or_default();
        let filter = Filter::parse(expression_type, expression)?;
        let requested = Request {
            group,
            topic: &header.topic,
            expression_type,
            expression,
            is_pop: false,
        };
        broker.requested.note(requested, broker.now_millis());
        return Ok(filter.in_topic(broker, group, &header.topic));
    }
    let subscription = broker.clients.subscription(group, &header.topic).ok_or_else(|| {
        BrokerError::SubscriptionNotExist(format!(
            "no heartbeat of group {group} has named topic {} yet; all consumers of a group must \
             subscribe to the same topics",
            header.topic
        ))
    })?;
    if !broadcast_allowed && broker.clients.is_broadcasting(group) {
        return Err(BrokerError::NoPermission(format!(
            "the consumer group[{group}] can not consume by broadcast way"
        )));
    }
    if broker.groups.is_read_forbidden(group, &header.topic) {
        return Err(BrokerError::NoPermission(format!(
            "the consumer group[{group}] is forbidden for topic[{}]",
            header.topic
        )));
    }
    let data = &subscription.data;
    filter::check_type(broker, &data.expression_type)?;
    let by_tag = filter::is_tag_type(&data.expression_type);
    if data.sub_version < header.sub_version {
        // The consumer knows a newer subscription than its last heartbeat told. The reference
        // refuses and lets it wait for the next heartbeat; consumers also filter by tag
        // themselves, so that too much of that does no harm.
        let asked = header.expression_type.as_deref().unwrap_or_default();
        return match by_tag && filter::is_tag_type(asked) {
            true => Ok(Filter::All),
            false => Err(BrokerError::SubscriptionNotLatest),
        };
    }
    if by_tag {
        return Ok(subscription.filter.clone());
    }
    let filter = Filter::of_group(broker, group, &header.topic, header.sub_version)?;
    Ok(filter.in_topic(broker, group, &header.topic))
}

/// A pull of a queue of this broker.
struct Pull {
    queue: Arc<Queue>,
    offset: i64,
    max_count: i32,
    filter: Filter,
    /// See [`reset_to`].
    reset_to: Option<i64>,
    /// Whose offsets the broker keeps.
    member: Option<Member>,
    topic_sys_flag: i32,
    group: Arc<SubscriptionGroupConfig>,
    statistics: Arc<GroupStatistics>,
    /// When it was begun to be served, in milliseconds since 1970.
    began_millis: i64,
    /// What is asked for in a static topic.
    logical: Option<LogicalPull>,
}

impl Pull {
    fn read(&self, broker: &Broker) -> Result<GetMessages, BrokerError> {
        let offset = self.reset_to.unwrap_or(self.offset);
        let got = broker.store.get_messages(
            &self.queue,
            offset,
            self.max_count.max(0) as usize,
            usize::MAX,
            &self.filter,
        )?;
        let has_found = got.status == GetStatus::Found;
        broker.statistics.traffic.looked(has_found);
        Ok(got)
    }

    /// Takes note of where a member of a broadcasting group is.
    fn note(&self, broker: &Broker, got: &GetMessages) {
        let Some(member) = &self.member else {
            return;
        };
        let offset = match self.code(got) {
            ResponseCode::PullOffsetMoved => self.reset_to.unwrap_or(got.next_begin_offset),
            _ => self.offset,
        };
        let now_millis = broker.now_millis();
        broker.broadcast_offsets.note(member, offset, now_millis);
    }

    /// The response code for what was found (`PullMessageProcessor.composeResponseHeader`).
    fn code(&self, got: &GetMessages) -> ResponseCode {
        if self.reset_to.is_some() {
            return ResponseCode::PullOffsetMoved;
        }
        match got.status {
            GetStatus::Found => ResponseCode::Success,
            GetStatus::MessageWasRemoving | GetStatus::NoMatchedMessage => {
                ResponseCode::PullRetryImmediately
            }
            GetStatus::NoMessageInQueue if self.offset == 0 => ResponseCode::PullNotFound,
            GetStatus::OffsetFoundNull | GetStatus::OffsetOverflowOne => ResponseCode::PullNotFound,
            GetStatus::NoMessageInQueue
            | GetStatus::OffsetOverflowBadly
            | GetStatus::OffsetTooSmall => ResponseCode::PullOffsetMoved,
        }
    }

    /// The response's code and header for what was found.
    fn answer(&self, got: &GetMessages) -> (ResponseCode, PullMessageResponse) {
        let offset = self.reset_to.unwrap_or(got.next_begin_offset);
        self.header(self.code(got), (offset, got.min_offset, got.max_offset))
    }

    /// The same for where to go on, the queue's first offset and the one behind its last.
    fn header(
        &self,
        code: ResponseCode,
        (next_begin_offset, min_offset, max_offset): (i64, i64, i64),
    ) -> (ResponseCode, PullMessageResponse) {
        let mut header = PullMessageResponse {
            next_begin_offset,
            min_offset,
            max_offset,
            topic_sys_flag: Some(self.topic_sys_flag),
            group_sys_flag: Some(self.group.group_sys_flag),
            ..Default::default()
        };
        let code = match &self.logical {
            Some(logical) => logical.rewrite(code, &mut header),
            None => code,
        };
        (code, header)
    }

    fn reply(&self, broker: &Broker, got: GetMessages) -> Reply<PullMessageResponse> {
        let (code, header) = self.answer(&got);
        let status = if self.reset_to.is_some() {
            "OFFSET_RESET"
        } else {
            got.status.name()
        };
        let reply = Reply::ok(header).with_code(code).with_remark(status);
        if code != ResponseCode::Success {
            return reply;
        }
        broker.statistics.delivered(
            &self.statistics,
            self.queue.topic(),
            got.message_count,
            got.size,
        );
        let millis = broker.now_millis() - self.began_millis;
        broker
            .statistics
            .delivered_after(&self.statistics, self.queue.id(), millis.max(0));
        reply.with_body(got.slices)
    }
}

/// A pull that waits for a message.
pub(crate) struct HeldPull {
    responder: Responder,
    pull: Pull,
    /// The offset that the request named; `pull.offset` moves on over messages that it does not
    /// want.
    asked_offset: i64,
    /// When the client gets its answer at the latest, in milliseconds since 1970.
    pub(crate) deadline_millis: i64,
}

impl HeldPull {
    /// The queue it waits for.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.pull.queue
    }

    /// The offset it waits for.
    pub(crate) fn offset(&self) -> i64 {
        self.pull.offset
    }

    /// The consumer group that it is for.
    pub(crate) fn group(&self) -> &str {
        &self.pull.group.group_name
    }

    /// Whether the client is still there.
    pub(crate) fn is_wanted(&self) -> bool {
        self.responder.connection().is_open()
    }

    /// Answers if there is something to say now; gives the pull back if it has to wait on.
    pub(crate) fn try_answer(
        mut self,
        broker: &Broker,
        arrival: Option<&Arrival<'_>>,
    ) -> Option<Self> {
        let unwanted = arrival
            .filter(|arrival| arrival.first_offset == self.pull.offset)
            .filter(|arrival| {
                arrival
                    .tags_code
                    .is_some_and(|code| !self.pull.filter.matches_entry(code))
            });
        if let Some(unwanted) = unwanted {
            self.pull.offset = unwanted.max_offset;
            return Some(self);
        }
        self.pull.began_millis = broker.now_millis();
        let got = match self.pull.read(broker) {
            Ok(got) => got,
            Err(error) => {
                self.responder.refuse(&error.into());
                return None;
            }
        };
        match self.pull.answer(&got).0 {
            ResponseCode::PullNotFound => Some(self),
            // Behind more messages than one look takes it asks again, and others have their turn.
            ResponseCode::PullRetryImmediately
                if got.next_begin_offset > self.pull.offset
                    && got.next_begin_offset >= got.max_offset
                    && self.pull.logical.is_none() =>
            {
                self.pull.offset = got.next_begin_offset;
                Some(self)
            }
            _ => {
                self.responder.reply(self.pull.reply(broker, got));
                None
            }
        }
    }

    /// Answers that there was nothing, or with the offset behind what the consumer does not want.
    pub(crate) fn give_up(self) {
        let code = if self.pull.offset == self.asked_offset {
            ResponseCode::PullNotFound
        } else {
            ResponseCode::PullRetryImmediately
        };
        let queue = &self.pull.queue;
        let offsets = (self.pull.offset, queue.min_offset(), queue.max_offset());
        let (code, header) = self.pull.header(code, offsets);
        self.responder.reply(Reply::ok(header).with_code(code));
    }
}
