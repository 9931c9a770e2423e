// What every client here does, over a transport that asks commands by name.

import { messages, properties } from "./frame.js";

const SUCCESS = 0;
const PULL_NOT_FOUND = 19;

/** The bit of a pull's flags that has the pull itself say what is subscribed to. */
const SUBSCRIPTION = 4;

/** Does one of the things that the README tells; what there is to print. */
export async function run(transport, action, topic, ...more) {
  switch (action) {
    case "send":
      return send(transport, topic, ...more);
    case "receive":
      return (await receive(transport, topic)).map((message) => JSON.stringify(message)).join("\n");
    case "offend":
      return transport.offend();
    default:
      throw new Error(`no such action: ${action}`);
  }
}

async function send(transport, topic, text, tag, key, colour) {
  const fields = {
    producerGroup: "web",
    topic,
    defaultTopic: "TBW102",
    defaultTopicQueueNums: 1,
    queueId: 0,
    sysFlag: 0,
    bornTimestamp: Date.now(),
    flag: 0,
    properties: properties({ TAGS: tag, KEYS: key, colour }),
  };
  const answer = await transport.ask("SEND_MESSAGE", fields, text);
  if (answer.code !== SUCCESS) throw new Error(`${answer.code}: ${answer.remark}`);
  return "sent";
}

/** All messages of the topic's first queue. */
async function receive(transport, topic) {
  const found = [];
  for (let queueOffset = 0; ; ) {
    const fields = {
      consumerGroup: "web",
      topic,
      queueId: 0,
      queueOffset,
      maxMsgNums: 32,
      sysFlag: SUBSCRIPTION,
      commitOffset: 0,
      suspendTimeoutMillis: 0,
      subscription: "*",
      subVersion: 0,
      expressionType: "TAG",
    };
    const answer = await transport.ask("PULL_MESSAGE", fields);
    if (answer.code === PULL_NOT_FOUND) return found;
    if (answer.code !== SUCCESS) throw new Error(`${answer.code}: ${answer.remark}`);
    found.push(...messages(answer.body));
    queueOffset = answer.extFields.nextBeginOffset;
  }
}
