//! The way of one message, told from others that look much like it.

use bytes::BytesMut;
use kerolox_inspect::{Follow, Options, Step};
use wire::command::RequestCode;
use wire::frame::{Head, SerializeType};
use wire::message::record::{RecordFields, RecordVersion};

use crate::made::{ACK, frame, packet, send_fields};
use crate::support::{OwnPacket, inspect};

const ID: &str = "7F000001000051AF0000000000000001";
const OTHER: &str = "7F000001000051AF0000000000000002";

/// A connection of a client to a broker, each frame a packet.
#[derive(Default)]
pub(crate) struct Dialogue {
    pub(crate) packets: Vec<OwnPacket>,
    sequences: [u32; 2],
    opaque: i32,
}

type Fields<'a> = &'a [(&'a str, &'a str)];

impl Dialogue {
    fn say(&mut self, side: usize, head: &Head, fields: Fields<'_>, body: &[u8]) {
        let mut bytes = Vec::new();
        frame(head, fields, body, &mut bytes);
        let time = self.packets.len() as i64 * 1_000_000;
        let sequence = &mut self.sequences[side];
        self.packets
            .push(packet(side, time, *sequence, ACK, &bytes));
        *sequence += bytes.len() as u32;
    }

    fn head(&mut self, code: RequestCode) -> Head {
        self.opaque += 1;
        Head {
            opaque: self.opaque,
            ..Head::request(code as i32, SerializeType::Json)
        }
    }

    /// A request with a body, and what answers it.
    fn ask(
        &mut self,
        code: RequestCode,
        (fields, body): (Fields<'_>, &[u8]),
        (answer, brought): (Fields<'_>, &[u8]),
    ) {
        let head = self.head(code);
        self.say(0, &head, fields, body);
        self.say(1, &head.response(0), answer, brought);
    }

    /// Sends a message to queue 1 of `orders`, where it gets an offset.
    fn send(&mut self, id: &str, offset: &str, properties: &str, sys_flag: &str) {
        let properties = format!("UNIQ_KEY\u{1}{id}\u{2}{properties}");
        let fields = send_fields(sys_flag, &properties);
        let answer = [("msgId", id), ("queueId", "1"), ("queueOffset", offset)];
        self.ask(
            RequestCode::SendMessageV2,
            (&fields, b"body"),
            (&answer, &[]),
        );
    }

    /// Pulls a record from a queue of a topic.
    pub(crate) fn pull(&mut self, topic: &str, queue: &str, brought: &[u8]) {
        let fields = [
            ("consumerGroup", "buyers"),
            ("topic", topic),
            ("queueId", queue),
            ("queueOffset", "0"),
            ("maxMsgNums", "32"),
            ("sysFlag", "2"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subVersion", "0"),
        ];
        let answer = [
            ("suggestWhichBrokerId", "0"),
            ("nextBeginOffset", "9"),
            ("minOffset", "0"),
            ("maxOffset", "9"),
        ];
        self.ask(RequestCode::PullMessage, (&fields, &[]), (&answer, brought));
    }

    fn pop(&mut self, brought: &[u8]) {
        let fields = [
            ("consumerGroup", "buyers"),
            ("topic", "orders"),
            ("queueId", "-1"),
            ("pollTime", "0"),
        ];
        self.ask(RequestCode::PopMessage, (&fields, &[]), (&[], brought));
    }

    /// Acknowledges what a topic has at a place, by its handle.
    fn acknowledge(&mut self, topic: &str, queue: &str, offset: &str, handle: &str) {
        let fields = [
            ("consumerGroup", "buyers"),
            ("topic", topic),
            ("queueId", queue),
            ("offset", offset),
            ("extraInfo", handle),
        ];
        self.ask(RequestCode::AckMessage, (&fields, &[]), (&[], &[]));
    }

    pub(crate) fn commit(&mut self, offset: &str) {
        let fields = [
            ("consumerGroup", "buyers"),
            ("topic", "orders"),
            ("queueId", "1"),
            ("commitOffset", offset),
        ];
        self.ask(
            RequestCode::UpdateConsumerOffset,
            (&fields, &[]),
            (&[], &[]),
        );
    }

    /// Gives a message back that lies at a place of the log.
    fn send_back(&mut self, place: &str, level: &str) {
        let fields = [
            ("offset", place),
            ("group", "buyers"),
            ("delayLevel", level),
            ("originTopic", "orders"),
        ];
        self.ask(RequestCode::ConsumerSendMsgBack, (&fields, &[]), (&[], &[]));
    }

    /// The steps of the message's way: what happened, in which topic, and what else is told.
    fn steps(&self) -> Vec<String> {
        let outcome = inspect(&self.packets, Options::default());
        assert_eq!(outcome.notices, []);
        let mut follow = Follow::new(ID);
        for exchange in &outcome.exchanges {
            follow.take(exchange);
        }
        let gist = |step: &&Step| {
            let topic = step.message.topic.as_ref().or(step.exchange.topic.as_ref());
            let detail = step.exchange.detail.as_deref().unwrap_or_default();
            let topic = topic.map_or("-", |topic| topic);
            let line = format!("{} {topic} {detail}", step.happening.name());
            line.trim_end().to_owned()
        };
        follow.steps().iter().map(gist).collect()
    }
}

/// A message as a broker keeps it at a place of its log, and of a queue.
pub(crate) fn record(
    topic: &str,
    (queue_id, queue_offset): (i32, i64),
    log: i64,
    more: &str,
) -> Vec<u8> {
    let properties = format!("UNIQ_KEY\u{1}{ID}\u{2}{more}");
    let fields = RecordFields {
        version: RecordVersion::V1,
        queue_id,
        flag: 0,
        queue_offset,
        physical_offset: log,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: "10.0.0.1:40000".parse().expect("an address"),
        store_timestamp: 1_700_000_000_001,
        store_host: "10.0.0.2:10911".parse().expect("an address"),
        reconsume_times: i32::from(topic.starts_with('%')),
        prepared_transaction_offset: 0,
        body: b"body",
        topic,
        properties: properties.as_bytes(),
        more_properties: b"",
        append_record_crc: false,
    };
    let mut bytes = BytesMut::new();
    fields.encode_into(&mut bytes).expect("a record");
    bytes.to_vec()
}

/// A message is popped, hidden for longer, comes again from the group's own topic, whose name and
/// handle both the record and who acknowledges it tell as the reference's do, and is acknowledged
/// alone or with others.
#[test]
fn a_popped_message_is_followed_by_its_handles() {
    const AGAIN: &str = "3 2000 30000 1 1 broker-a 0 3";
    for together in [false, true] {
        let mut dialogue = Dialogue::default();
        dialogue.send(ID, "5", "", "0");
        dialogue.send(OTHER, "6", "", "0");
        dialogue.pop(&record("orders", (1, 5), 100, ""));
        for offset in ["5", "6"] {
            let handle = format!("5 1000 30000 0 0 broker-a 1 {offset}");
            let fields = [
                ("consumerGroup", "buyers"),
                ("topic", "orders"),
                ("queueId", "1"),
                ("offset", offset),
                ("extraInfo", &handle),
                ("invisibleTime", "60000"),
            ];
            let code = RequestCode::ChangeMessageInvisibleTime;
            dialogue.ask(code, (&fields, &[]), (&[], &[]));
        }
        dialogue.acknowledge("parcels", "1", "5", "5 1000 30000 0 0 broker-a 1 5");
        dialogue.acknowledge("orders", "1", "6", "5 1000 60000 0 0 broker-a 1 6");
        let handle = format!("POP_CK\u{1}{AGAIN}");
        dialogue.pop(&record("orders", (0, 3), 200, &handle));
        // The same place of the topic itself is another message's.
        dialogue.acknowledge("orders", "0", "3", "3 2000 30000 1 0 broker-a 0 3");
        let retry = "%RETRY%buyers_orders";
        if together {
            let acks = r#"{"brokerName":"broker-a","acks":[
                {"c":"buyers","t":"orders","r":"0","so":3,"q":0,"rq":1,"pt":1,"it":1,"b":"Aw=="},
                {"c":"buyers","t":"orders","r":"1","so":2,"q":0,"rq":1,"pt":1,"it":1,"b":"Ag=="}]}"#;
            let code = RequestCode::BatchAckMessage;
            dialogue.ask(code, (&[], acks.as_bytes()), (&[], &[]));
        } else {
            dialogue.acknowledge(retry, "0", "3", AGAIN);
        }
        assert_eq!(
            dialogue.steps(),
            [
                "sent orders",
                "delivered orders",
                "hidden orders 60000 ms",
                "delivered orders",
                &format!("acknowledged {retry}"),
            ],
            "together: {together}"
        );
    }
}

#[test]
fn a_message_given_back_is_followed_to_the_dead_letters() {
    let mut dialogue = Dialogue::default();
    dialogue.send(ID, "5", "", "0");
    dialogue.pull("orders", "1", &record("orders", (1, 5), 100, ""));
    dialogue.send_back("100", "0");
    dialogue.send_back("101", "0");
    let retry = "%RETRY%buyers";
    dialogue.pull(retry, "0", &record(retry, (0, 0), 300, ""));
    dialogue.send_back("300", "3");
    dialogue.pull(retry, "0", &record(retry, (0, 1), 500, ""));
    dialogue.send_back("500", "-1");
    dialogue.pull("%DLQ%buyers", "0", &record("%DLQ%buyers", (0, 0), 700, ""));
    assert_eq!(
        dialogue.steps(),
        [
            "sent orders",
            "delivered orders",
            "sent back orders next delay level",
            "delivered %RETRY%buyers",
            "sent back orders delay level 3",
            "delivered %RETRY%buyers",
            "sent back orders dead letter",
            "delivered %DLQ%buyers",
        ]
    );
}

/// Half a message has its number in a queue of the broker's own: what others do with the message
/// of that number is not about it.
#[test]
fn a_transaction_is_followed_from_its_half_to_its_delivery() {
    let mut dialogue = Dialogue::default();
    dialogue.send(ID, "9", "TRAN_MSG\u{1}true", "4");
    let check = dialogue.head(RequestCode::CheckTransactionState).oneway();
    let half = record("orders", (1, 9), 100, "TRAN_MSG\u{1}true");
    let fields = [
        ("tranStateTableOffset", "9"),
        ("commitLogOffset", "100"),
        ("msgId", ID),
        ("transactionId", ID),
    ];
    dialogue.say(1, &check, &fields, &half);
    dialogue.commit("10");
    dialogue.acknowledge("orders", "1", "9", "9 1000 30000 0 0 broker-a 1 9");
    for id in [OTHER, ID] {
        let end = dialogue.head(RequestCode::EndTransaction).oneway();
        let fields = [
            ("topic", "orders"),
            ("producerGroup", "shop"),
            ("tranStateTableOffset", "9"),
            ("commitLogOffset", "100"),
            ("commitOrRollback", "8"),
            ("fromTransactionCheck", "true"),
            ("msgId", id),
            ("transactionId", id),
        ];
        dialogue.say(0, &end, &fields, &[]);
    }
    dialogue.pull("orders", "1", &record("orders", (1, 2), 300, ""));
    dialogue.commit("2");
    dialogue.commit("3");
    assert_eq!(
        dialogue.steps(),
        [
            "sent orders",
            "transaction checked orders",
            "transaction ended orders commit",
            "delivered orders",
            "committed orders",
        ]
    );
}

#[test]
fn a_message_taken_back_is_followed() {
    let mut dialogue = Dialogue::default();
    dialogue.send(ID, "0", "TIMER_DELAY_SEC\u{1}60", "0");
    for id in [OTHER, ID] {
        let fields = [("topic", "orders"), ("recallHandle", "a handle")];
        let answer = [("msgId", id)];
        dialogue.ask(RequestCode::RecallMessage, (&fields, &[]), (&answer, &[]));
    }
    assert_eq!(dialogue.steps(), ["sent orders", "recalled orders"]);
}
