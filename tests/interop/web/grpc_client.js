// RocketMQ's own client for Node, which speaks the gRPC API.

import rocketmq from "rocketmq-client-nodejs";

const RECEIVED_AT_ONCE = 32;
const HIDDEN_MILLIS = 60_000;

/** What the client has to say goes to its log, not here. */
const silent = { debug() {}, info() {}, warn() {}, error() {} };

async function send(options, topic, body, tag, key, colour) {
  const producer = new rocketmq.Producer({ ...options, topic });
  await producer.startup();
  const properties = new Map([["colour", colour]]);
  await producer.send({ topic, tag, keys: [key], properties, body: Buffer.from(body) });
  await producer.shutdown();
  console.log("sent");
}

/** Receives and acknowledges so many messages, each a line. */
async function receive(options, topic, count, consumerGroup) {
  const subscriptions = new Map([[topic, "*"]]);
  const consumer = new rocketmq.SimpleConsumer({ ...options, consumerGroup, subscriptions });
  await consumer.startup();
  for (let left = Number(count); left > 0; ) {
    for (const message of await consumer.receive(RECEIVED_AT_ONCE, HIDDEN_MILLIS)) {
      await consumer.ack(message);
      const { tag, keys } = message;
      const properties = { ...Object.fromEntries(message.properties), TAGS: tag, KEYS: keys.join(" ") };
      console.log(JSON.stringify({ body: message.body.toString(), properties }));
      left -= 1;
    }
  }
  await consumer.shutdown();
}

const [endpoints, action, ...more] = process.argv.slice(2);
await { send, receive }[action]({ endpoints, namespace: "", logger: silent }, ...more);
